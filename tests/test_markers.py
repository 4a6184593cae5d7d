"""Rank-sum tests of groups of cells against scipy.stats.mannwhitneyu, and the AUROC by counting pairs."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse
import scipy.stats
import xarray as xr

import xdelnx as xd
from xdelnx.algorithms.ranks import mann_whitney
from xdelnx.cli import main
from xdelnx.storage.stores import write_store


@pytest.fixture(scope="module")
def cells():
    cells = xd.simulate(173, 70, kind="cells", levels=("A", "B", "C"), seed=4)
    counts = cells["counts"].values.copy()
    counts[:, 3] = 0
    counts[:, 4] = 2
    counts[:, 5] = (cells["condition"].values == "B") * 1  # in one group alone
    cells["counts"] = ("sample", "gene"), counts
    cells["depth"] = "sample", np.full(173, 2.0)
    return cells


def expected(cells, factors, group, reference):
    """By SciPy, one gene at a time: AUROC, z by its p-value, p-value, log2 fold change and fractions."""
    scaled = cells["counts"].values / np.asarray(factors)[:, None]
    labels = cells["condition"].values
    x, y = scaled[labels == group], scaled[labels != group if reference == "rest" else labels == reference]
    test = scipy.stats.mannwhitneyu(x, y, axis=0, method="asymptotic", use_continuity=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.clip(np.log2(x.mean(axis=0) / y.mean(axis=0)), -10, 10)
    return test, change, (x > 0).mean(axis=0), (y > 0).mean(axis=0)


KINDS = {
    "NumPy": lambda y: y,
    "in chunks": lambda y: da.from_array(y, chunks=(50, 16)),
    "8 bits": lambda y: da.from_array(np.minimum(y, 255).astype("u1"), chunks=(-1, 33)),
    "sparse": lambda y: da.from_array(y, chunks=(60, 16)).map_blocks(
        scipy.sparse.csr_array, dtype=y.dtype, meta=scipy.sparse.csr_array((0, 0), dtype=y.dtype)
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reference", ["rest", "B"])
@pytest.mark.parametrize("size_factors", ["normed_sum", "none"])
def test_against_scipy(cells, kind, reference, size_factors):
    data = cells.assign(counts=(("sample", "gene"), KINDS[kind](cells["counts"].values)))
    result = xd.rank_genes(data, "condition", reference=reference, size_factors=size_factors)
    assert list(result["contrast"].values) == [group for group in "ABC" if group != reference]
    factors = xd.size_factors(cells) if size_factors == "normed_sum" else np.ones(173)
    for group in result["contrast"].values:
        compared = np.isin(cells["condition"], [group, reference] if reference != "rest" else list("ABC"))
        counted = cells["counts"].values[compared].any(axis=0)
        assert result.sel(contrast=group).isel(gene=~counted)["pval"].isnull().all()
        found = result.sel(contrast=group).isel(gene=counted)
        test, change, inside, outside = expected(cells.isel(gene=counted), factors, group, reference)
        n, m = int(found["group_size"]), int(found["reference_size"])
        np.testing.assert_allclose(found["auroc"], test.statistic / n / m, rtol=1e-14)  # halves are exact
        # the variance loses some digits where nearly all cells are tied; where all are, SciPy has 1 or, since 1.18, NaN
        pvalue = np.where(np.isnan(test.pvalue), 1.0, test.pvalue)
        np.testing.assert_allclose(found["pval"], pvalue, rtol=1e-10)
        np.testing.assert_allclose(2 * scipy.stats.norm.sf(np.abs(found["stat"])), pvalue, rtol=1e-10)
        assert not ((found["stat"] > 0.0) & (found["auroc"] < 0.5)).any()
        assert not ((found["stat"] < 0.0) & (found["auroc"] > 0.5)).any()
        np.testing.assert_allclose(found["log2fc"], change, rtol=1e-9, atol=1e-12)  # sums in another order
        np.testing.assert_allclose(found["fraction"], inside, rtol=1e-14)
        np.testing.assert_allclose(found["fraction_reference"], outside, rtol=1e-14)
        padj = scipy.stats.false_discovery_control(found["pval"])
        np.testing.assert_allclose(found["padj"], padj, rtol=1e-12)
    assert (
        result.isel(gene=3)[["auroc", "stat", "pval", "padj", "log2fc", "fraction"]]
        .isnull()
        .all()
        .to_array()
        .all()
    )


def test_auroc_is_the_share_of_pairs(cells):
    result = xd.rank_genes(cells, "condition", size_factors=None, groups=["C"])
    y, group = cells["counts"].values, cells["condition"].values == "C"
    for gene in np.flatnonzero(y.any(axis=0))[::7]:
        difference = y[group, gene][:, None] - y[~group, gene][None, :]
        share = np.mean((difference > 0) + 0.5 * (difference == 0))
        assert float(result["auroc"][0, gene]) == pytest.approx(share, rel=1e-12)


def test_a_gene_of_one_group_and_a_constant_gene(cells):
    result = xd.rank_genes(cells, "condition", size_factors="depth")
    b = result.sel(contrast="B")
    assert float(b["auroc"][5]) == 1.0
    assert float(b["log2fc"][5]) == 10.0
    assert (result["pval"][:, 4] == 1.0).all()
    assert (result["auroc"][:, 4] == 0.5).all()
    assert (result["stat"][:, 4] == 0.0).all()
    assert xd.top_table(result, "B")["feature"][0] == "g5"


def test_the_null_is_uniform():
    ds = xd.simulate(400, 2000, kind="cells", de_fraction=0.0, seed=11)
    result = xd.rank_genes(ds, "condition")
    pval = result["pval"].sel(contrast="B").isel(gene=(ds["counts"].mean("sample") > 0.2).values).values
    # 0.05 within four standard errors of a binomial of about 900 genes
    assert np.mean(pval < 0.05) == pytest.approx(0.05, abs=0.03)


def test_large_groups_keep_their_digits():
    """A quarter of a million cells: the cubes of ties are near 2^53."""
    n = m = 125_000.0
    zeros = 240_000.0
    ties = np.array([zeros**3 - zeros])
    _, pval = mann_whitney(np.array([0.5 * n * m + 4e6]), ties, n, m)
    exact = n * m / 12 * ((n + m + 1) - (240_000**3 - 240_000) / ((n + m) * (n + m - 1)))
    np.testing.assert_allclose(pval, 2 * scipy.stats.norm.sf((4e6 - 0.5) / np.sqrt(exact)), rtol=1e-9)


def test_several_columns_and_chosen_groups(cells):
    data = cells.assign(batch=("sample", np.tile(["x", "y"], 87)[:173].astype(object)))
    result = xd.rank_genes(data, ["condition", "batch"], groups=["C_y", "A_x"], reference="B_x")
    assert list(result["contrast"].values) == ["C_y", "A_x"]
    both = data.isel(sample=np.isin(data["condition"] + data["batch"], ["Ax", "Bx"]))
    one = xd.rank_genes(
        both.assign(f=xd.size_factors(data).sel(sample=both["sample"])), "condition", size_factors="f"
    )
    np.testing.assert_allclose(result["pval"][1], one["pval"].sel(contrast="A"), rtol=1e-12)


def test_command_line(cells, tmp_path):
    write_store(cells, tmp_path / "cells.zarr")
    command = ["rank-genes", str(tmp_path / "cells.zarr"), str(tmp_path / "markers.zarr")]
    words = ["--by", "condition", "--groups", "A", "--groups", "C", "--table", str(tmp_path / "markers.csv")]
    assert main([*command, *words, "--scheduler", "synchronous"]) == 0
    with xr.open_zarr(tmp_path / "markers.zarr") as written:
        expected = xd.rank_genes(cells, "condition", groups=["A", "C"])
        xr.testing.assert_allclose(written.compute(), expected, rtol=1e-10)
    assert (tmp_path / "markers.csv").read_text().startswith("feature,")
