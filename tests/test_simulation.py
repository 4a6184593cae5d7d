"""Simulated counts: reproducible, of the promised shape, and with moments that match their own truth."""

import numpy as np
import pytest

from xdelnx.verbs.simulation import simulate


def test_walk_through_shape():
    ds = simulate(28, 300, condition="GLI3_KO", levels=(False, True))
    assert dict(ds.sizes) == {"sample": 28, "gene": 300}
    assert ds["counts"].dtype == np.int32
    assert ds["counts"].dims == ("sample", "gene")
    assert ds["GLI3_KO"].dtype == bool
    assert int(ds["GLI3_KO"].sum()) == 14


def test_defaults_are_the_documented_size():
    ds = simulate()
    assert ds["counts"].shape == (28, 16_199)
    # 10 % of the 95 % of genes that are not silent: 9.5 %, binomial sd 0.23 points, four of them either side
    assert float(ds["is_de"].mean()) == pytest.approx(0.095, abs=0.0092)
    silent = ds["base_mean"] == 0
    assert float(silent.mean()) == pytest.approx(0.05, abs=0.007)  # 4 binomial sd
    assert not ds["counts"].where(silent, drop=True).any()
    assert bool((ds["lfc"] == 0).where(~ds["is_de"], other=True).all())


@pytest.mark.parametrize("chunks", [1, 7, 600, 2000])
def test_chunks_change_nothing_and_are_lazy(chunks):
    eager = simulate(6, 1100, seed=3)
    lazy = simulate(6, 1100, seed=3, chunks=chunks)
    assert lazy["counts"].chunks[0] == (6,)
    assert max(lazy["counts"].chunks[1]) <= chunks
    assert lazy.identical(eager)


def test_seed():
    assert simulate(4, 50, seed=1).identical(simulate(4, 50, seed=1))
    assert not simulate(4, 50, seed=1).equals(simulate(4, 50, seed=2))


def test_moments_match_the_truth():
    """Over many samples the mean and variance of the scaled counts are those of a negative binomial."""
    ds = simulate(4000, 200, de_fraction=0.0, seed=5)
    ds = ds.where((ds["base_mean"] > 5) & (ds["dispersion"] < 0.5), drop=True)
    sf, mean = ds["size_factor_true"], ds["base_mean"]
    observed = (ds["counts"] / sf).mean("sample")
    variance = (mean / sf + ds["dispersion"] * mean**2).mean("sample")
    z = (observed - mean) / np.sqrt(variance / ds.sizes["sample"])
    assert float(np.abs(z).max()) < 4.5  # 100 or so standard normals
    spread = ((ds["counts"] / sf - mean) ** 2).mean("sample") / variance
    # relative sd of a variance from 4,000 gamma-like draws: 3 to 5 %; the median over genes is far tighter
    assert float(spread.median()) == pytest.approx(1.0, abs=0.03)


def test_effects_are_log2_of_last_level_against_first():
    ds = simulate(3000, 400, levels=("low", "mid", "high"), de_fraction=1.0, seed=2)
    ds = ds.set_coords("condition")
    keep = (ds["base_mean"] > 20) & (ds["dispersion"] < 0.3)
    scaled = (ds["counts"] / ds["size_factor_true"]).where(keep, drop=True).groupby("condition").mean()
    lfc = ds["lfc"].where(keep, drop=True)
    # sd of a log2 ratio of two means of 1,000 samples at most ~0.04
    for level, share in (("high", 1.0), ("mid", 0.5)):
        estimate = np.log2(scaled.sel(condition=level) / scaled.sel(condition="low"))
        assert float(np.abs(estimate - share * lfc).max()) < 0.2
    assert list(dict.fromkeys(ds["condition"].values)) == ["low", "mid", "high"]


def test_batches_and_covariate():
    ds = simulate(12, 100, n_batches=3, covariate="age", seed=1)
    cells = {(c, b) for c, b in zip(ds["condition"].values, ds["batch"].values, strict=True)}
    assert len(cells) == 6  # crossed
    assert ds["age"].dims == ("sample",)
    assert "lfc_covariate" in ds


def test_cells_are_sparse():
    ds = simulate(200, 300, kind="cells")
    assert 0.7 < float((ds["counts"] == 0).mean()) < 0.9


def test_truth_keeps_its_own_description():
    ds = simulate(4, 10)
    assert ds["dispersion"].attrs["long_name"] == "true overdispersion"
    assert ds["counts"].attrs["long_name"] == "read or molecule count"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 1}, "n_samples must be at least the number of levels"),
        ({"n_genes": 0}, "n_genes must be at least 1; received 0"),
        ({"levels": ("A",)}, "at least two different levels"),
        ({"levels": ("A", "A")}, "at least two different levels"),
        ({"n_batches": 0}, "n_batches"),
        ({"kind": "tissue"}, "kind must be one of bulk, cells; received 'tissue'"),
        ({"de_fraction": 2.0}, "de_fraction must be between 0 and 1"),
        ({"seed": -1}, "seed must not be negative"),
        ({"chunks": 0}, "chunks must be at least 1"),
        ({"condition": "size_factor_true"}, "clash"),
        ({"condition": "x", "covariate": "x"}, "clash"),
        ({"covariate": "counts"}, "clash"),
        ({"condition": "batch", "n_batches": 2}, "clash"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**{"n_samples": 6, "n_genes": 20} | arguments)
