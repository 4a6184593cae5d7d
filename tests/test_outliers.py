"""Outliers among the counts against DESeq2, statsmodels and what must hold of them.

Fits with DESeq2's own dispersions and size factors: the distances, and what follows from them, are compared, not how
dispersions are estimated.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
import xarray as xr

import xdelnx as xd
from xdelnx.algorithms.basis import layout_of
from xdelnx.algorithms.influence import cooks_distance, robust_dispersion
from xdelnx.errors import XdelnxWarning
from xdelnx.status import Status
from xdelnx.steps.outliers import cutoff, replace_counts, with_replicates

GOLDEN = Path(__file__).parent / "data" / "cooks"
FEW = [0, 1, 2, 8, 9, 10]


def read(name):
    return pd.read_csv(GOLDEN / f"{name}.csv.gz", index_col=0)


@pytest.fixture(scope="module")
def data():
    counts, obs = read("counts"), read("obs")
    names = {"gene": list(counts.index), "sample": list(counts.columns)}
    ds = xr.Dataset({"counts": (("gene", "sample"), counts.values)}, names)
    ds["sf"] = ("sample", read("samples")["size_factor"].values)
    return ds.assign({name: ("sample", obs[name].values.astype(object)) for name in obs})


def fit(data, dispersion="dispersion", design="~ group", **options):
    given = read("genes")[dispersion].values
    return xd.fit(data, design, size_factors="sf", overdispersion=given, shrinkage=False, **options)


# ---- DESeq2 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("samples", "prefix"), [(slice(None), ""), (FEW, "few_")])
def test_largest_distance_is_deseq2s(data, samples, prefix):
    """Half a percent: it multiplies the trimmed variance by 1.86 or 2.04, rounded where ours are not."""
    found = fit(data.isel(sample=samples), f"{prefix}dispersion", cooks="flag")
    np.testing.assert_allclose(found["max_cooks"], read("genes")[f"{prefix}max_cooks"], rtol=5e-3)


def test_flags_are_deseq2s_missing_p_values(data):
    found = fit(data.isel(sample=FEW), "few_dispersion", cooks="flag")
    missing = read("genes")["few_missing"].values
    np.testing.assert_array_equal(found["status"] == Status.OUTLIER_COUNT, missing)
    assert 0 < missing.sum() < 20
    plain = fit(data.isel(sample=FEW), "few_dispersion")
    for name in ("pval", "beta", "deviance"):  # a flag changes no number
        np.testing.assert_array_equal(found[name], plain[name])
    assert {*found.variables} - {*plain.variables} == {"max_cooks"}


def test_replaced_counts_are_deseq2s(data):
    found = fit(data, cooks="replace")
    theirs = read("replaced").values
    np.testing.assert_array_equal(found["replaced"].values, (theirs != read("counts").values).T)
    again = fit(data.assign(counts=(("gene", "sample"), theirs)))
    for name in ("beta", "deviance", "pval", "library_size"):
        np.testing.assert_allclose(found[name], again[name], rtol=1e-10)
    assert (found["status"] == Status.OUTLIER_COUNT).sum() == 0
    outlying = found["replaced"].values.any(0)
    before = fit(data, cooks="flag")
    assert (found["deviance"].values[outlying] < before["deviance"].values[outlying]).all()


# ---- definitions -----------------------------------------------------------------------------------------


def test_distance_is_that_of_statsmodels_but_for_the_variance(make_problem):
    """A design with a covariate; statsmodels' Pearson residuals have the dispersion of the fit."""
    rng = np.random.default_rng(1)
    x = np.stack([np.ones(12), np.arange(12) % 2.0, rng.normal(size=12)], 1)
    scale, theta = rng.lognormal(0.0, 0.3, 12), 0.2
    y = rng.negative_binomial(5, 5 / (5 + 30.0 * scale)).astype(float)
    problem = make_problem(y, x, scale)
    family = sm.families.NegativeBinomial(alpha=theta)
    found = sm.GLM(y, x, family, offset=np.log(scale)).fit(maxiter=100, tol=1e-14)
    m = np.exp(problem.layout.design @ found.params)[None, :]
    ours = np.empty(12)
    ours[problem.layout.order] = cooks_distance(problem.model, problem.observations, m, np.array([theta]))[0]
    robust = robust_dispersion(problem.observations)[0]
    h, mu = found.get_hat_matrix_diag(observed=False), found.fittedvalues
    np.testing.assert_allclose(ours, (y - mu) ** 2 / (mu + robust * mu**2) * h / (1 - h) ** 2 / 3, rtol=1e-8)


def test_robust_dispersion_estimates_the_overdispersion(make_problem):
    """Without outliers and with many samples, within 10 % in the mean: the trimmed variance of skewed counts."""
    rng = np.random.default_rng(2)
    mu, theta = 2000.0, 0.06
    y = rng.negative_binomial(1 / theta, 1 / (1 + theta * mu), (300, 40)).astype(float)
    x = np.ones((40, 1))
    clean = robust_dispersion(make_problem(y, x).observations)
    assert clean.mean() == pytest.approx(theta, rel=0.1)
    y[:, 5] *= 50.0
    dirty = robust_dispersion(make_problem(y, x).observations)
    assert dirty.mean() < 2.0 * theta  # the plain variance is over a hundred times larger


def test_cutoff_and_replicates():
    layout = layout_of(np.stack([np.ones(12), np.array([0] * 2 + [1] * 3 + [2] * 7)], 1))
    assert cutoff(layout) == pytest.approx(scipy.stats.f.ppf(0.99, 2, 10))
    np.testing.assert_array_equal(with_replicates(layout), [False] * 2 + [True] * 10)
    np.testing.assert_array_equal(with_replicates(layout, 7), [False] * 5 + [True] * 7)
    assert np.isinf(cutoff(layout_of(np.eye(3))))


@pytest.mark.parametrize("kind", ["array", "sparse", "offset"])
def test_replaced_counts(kind):
    from scipy.sparse import csc_array

    rng = np.random.default_rng(3)
    counts, scale = rng.poisson(3.0, (10, 6)), rng.lognormal(size=10)
    replaced = np.zeros((6, 10), dtype=bool)
    replaced[1, 4] = replaced[4, [0, 9]] = True
    offset = rng.normal(size=(10, 6)) if kind == "offset" else None
    before = counts.copy()
    found = replace_counts(csc_array(counts) if kind == "sparse" else counts, offset, replaced, scale)
    np.testing.assert_array_equal(counts, before)
    found = found.toarray() if kind == "sparse" else found
    assert found.dtype == counts.dtype
    entries = scale[:, None] * (np.ones((10, 6)) if offset is None else np.exp(offset))
    for i, g in np.ndindex(counts.shape):
        instead = np.floor(scipy.stats.trim_mean(counts[:, g] / entries[:, g], 0.2) * entries[i, g])
        assert found[i, g] == (instead if replaced[g, i] else counts[i, g])


# ---- fits ------------------------------------------------------------------------------------------------


def test_an_outlier_is_found_and_a_hypervariable_gene_is_not():
    rng = np.random.default_rng(5)
    mu, theta = 100.0, np.full(400, 0.1)
    theta[:40] = 1.5
    counts = rng.negative_binomial(1 / theta, 1 / (1 + theta * mu), (16, 400))
    where = np.arange(100, 120)
    counts[where % 16, where] += 1500
    names = {"sample": [f"s{i}" for i in range(16)], "gene": [f"g{i}" for i in range(400)]}
    data = xr.Dataset(
        {"counts": (("sample", "gene"), counts), "group": ("sample", np.arange(16) // 8)}, names
    )
    flagged = xd.fit(data, "~ C(group)", size_factors=None, cooks="flag")["status"].values == 7
    assert flagged[where].all()
    assert flagged[:40].mean() < 0.2  # variable throughout, so no count stands out by much
    assert np.delete(flagged, [*range(40), *where]).sum() <= 4  # of 340, by chance
    replaced = xd.fit(data, "~ C(group)", size_factors=None, cooks="replace")
    assert replaced["replaced"].values[where % 16, where].all()
    clean = xd.fit(data, "~ C(group)", size_factors=None)
    dispersion = {name: r["dispersion"].values[where] for name, r in (("r", replaced), ("c", clean))}
    assert np.median(dispersion["r"]) < 0.2 < np.median(dispersion["c"])


@pytest.mark.parametrize("cooks", ["flag", "replace"])
@pytest.mark.parametrize("factors", ["sf", "invariant"])
@pytest.mark.parametrize("kind", ["chunked", "sparse", "lazy"])
def test_chunks_change_nothing(data, cooks, factors, kind):
    import dask.array as da
    import sparse

    expected = xd.fit(data, "~ group", cooks=cooks, size_factors=factors)
    other = data.chunk(gene=25)
    if kind == "sparse":
        array = da.from_array(sparse.COO(data["counts"].values), chunks=(25, 16))
        other["counts"] = (("gene", "sample"), array)
    found = xd.fit(other, "~ group", cooks=cooks, size_factors=factors, compute=kind != "lazy")
    names = ["max_cooks", "status", "pval", "library_size", "size_factor"]
    for name in names + (["replaced"] if cooks == "replace" else []):
        assert bool(found[name].chunks) == (kind == "lazy")
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-10)


@pytest.mark.parametrize("factors", ["sf", "invariant"])
def test_a_stored_fit_with_replaced_counts_is_tested_alike(data, factors, tmp_path):
    data = data.assign(o=("sample", np.linspace(-0.2, 0.2, 16)))
    found = xd.fit(data, "~ group", cooks="replace", offset="o", robust=True, size_factors=factors)
    assert found["replaced"].sum() > 5
    found.to_zarr(tmp_path / "fit.zarr")
    with xr.open_zarr(tmp_path / "fit.zarr") as stored:
        for again in (xd.test(data, stored), xd.test(data.chunk(gene=50), stored, compute=False)):
            np.testing.assert_allclose(again["pval"], found["pval"], rtol=1e-10)
            np.testing.assert_array_equal(again["status"], found["status"])
        some = ["g6", "g7", "g100"]
        covariance = xd.covariance(data, stored, some)
    diagonal = np.diagonal(covariance.values, axis1=1, axis2=2)
    np.testing.assert_allclose(np.sqrt(diagonal), found["standard_error"].sel(gene=some), rtol=1e-10)


@pytest.mark.filterwarnings("ignore:cooks=.replace. replaces no count")  # 4 replicates each
def test_groups(data):
    result = xd.fit(data, "~ group", cooks="replace", by="batch", size_factors="sf")
    assert "replaced" not in result
    assert result["max_cooks"].dims == ("batch", "gene")
    assert (result["status"] == Status.OUTLIER_COUNT).sum() > 3  # 4 replicates: flagged, not replaced


def test_designs_without_replicates(data):
    few = data.isel(sample=[0, 1, 8, 9])
    with pytest.warns(XdelnxWarning, match="finds no outliers here.*no 3 samples share a row"):
        result = xd.fit(few, "~ group", cooks="flag", size_factors="sf")
    assert np.isnan(result["max_cooks"]).all()
    with pytest.warns(XdelnxWarning, match="replaces no count here.*no 7 samples share"):
        result = xd.fit(data.isel(sample=FEW), "~ group", cooks="replace", size_factors="sf")
    assert not result["replaced"].any()
    assert (result["status"] == Status.OUTLIER_COUNT).sum() > 0
