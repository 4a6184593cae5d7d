"""Adjusted p-values against statsmodels and SciPy; Storey's share of true nulls against its definition and the truth.

Tolerance 1e-13: the same products in another order.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import xarray as xr
from statsmodels.stats.multitest import multipletests

import xdelnx as xd
from xdelnx.algorithms.adjustment import METHODS, adjust_pvalues, null_share
from xdelnx.algorithms.independent_filtering import lowess
from xdelnx.storage.stores import write_store

NAMES = {"bh": "fdr_bh", "by": "fdr_by", "holm": "holm"}


def pvalues(seed=0, n=400, nulls=0.7):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < nulls, rng.random(n), rng.beta(0.2, 8.0, n))


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize(
    "pval", [pvalues(), np.round(pvalues(1), 1), np.array([0.03]), np.array([0.0, 0.0, 1.0, 1.0]), np.ones(7)]
)
def test_against_statsmodels(method, pval):
    expected = multipletests(pval, method=NAMES[method])[1]
    np.testing.assert_allclose(adjust_pvalues(pval, method), expected, rtol=1e-13)
    gaps = np.insert(pval, [0, pval.size // 2], np.nan)
    adjusted = adjust_pvalues(np.stack([gaps, gaps[::-1]]), method)
    np.testing.assert_allclose(adjusted[0][np.isfinite(gaps)], expected, rtol=1e-13)
    np.testing.assert_array_equal(np.isnan(adjusted[0]), np.isnan(gaps))
    np.testing.assert_allclose(adjusted[1], adjusted[0][::-1], rtol=1e-13)


@pytest.mark.parametrize(("method", "name"), [("bh", "bh"), ("by", "by")])
def test_against_scipy(method, name):
    expected = scipy.stats.false_discovery_control(pvalues(), method=name)
    np.testing.assert_allclose(adjust_pvalues(pvalues(), method), expected, rtol=1e-13)


def plain_null_share(pval):
    """The steps of Storey, Taylor & Siegmund 2004, one threshold at a time."""
    m, thresholds = len(pval), [0.05 * k for k in range(1, 20)]
    shares = [sum(p >= t for p in pval) / (m * (1.0 - t)) for t in thresholds]
    least = np.percentile(shares, 10)
    errors = []
    for t, share in zip(thresholds, shares, strict=True):
        w = sum(p >= t for p in pval)
        errors.append(w / (m**2 * (1.0 - t) ** 2) * (1.0 - w / m) + (share - least) ** 2)
    return min(shares[int(np.argmin(errors))], 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_null_share_is_as_defined(seed):
    pval = pvalues(seed)
    assert null_share(pval) == pytest.approx(plain_null_share(pval), rel=1e-12)
    expected = plain_null_share(pval) * multipletests(pval, method="fdr_bh")[1]
    np.testing.assert_allclose(adjust_pvalues(pval, "storey"), expected, rtol=1e-12)


@pytest.mark.parametrize("nulls", [0.5, 0.8, 1.0])
def test_null_share_is_near_the_truth_and_its_q_values_hold(nulls):
    rng = np.random.default_rng(3)
    shares, wrong = [], []
    for _ in range(40):
        null = rng.random(3000) < nulls
        pval = np.where(null, rng.random(3000), rng.beta(0.2, 8.0, 3000))
        shares.append(null_share(pval))
        found = adjust_pvalues(pval, "storey") < 0.05
        wrong.append(null[found].mean() if found.any() else 0.0)
    # a standard error of a share is about 0.02; the method leans towards too small a share, by less than that
    assert np.mean(shares) == pytest.approx(nulls, abs=0.03)
    if nulls < 1.0:
        assert 0.035 < np.mean(wrong) < 0.06


def test_extremes_of_the_null_share():
    assert null_share(np.zeros(50)) == 1 / 50  # never no null at all: q-values of 0 would claim certainty
    assert null_share(np.ones(50)) == 1.0
    assert null_share(np.empty(0)) == 1.0


@pytest.fixture(scope="module")
def three():
    return xd.simulate(12, 300, levels=("A", "B", "C"), seed=5)


@pytest.mark.parametrize("method", METHODS)
def test_in_a_fit_a_test_and_afterwards(three, method, tmp_path):
    fit = xd.fit(three, "~ condition", adjust=method)
    plain = xd.fit(three, "~ condition")
    expected = [adjust_pvalues(row, method) for row in plain["pval"].values]
    np.testing.assert_array_equal(fit["padj"], expected)
    xr.testing.assert_identical(xd.adjust(plain, method)["padj"], fit["padj"])
    xr.testing.assert_identical(plain.drop_vars("padj"), fit.drop_vars("padj").assign_attrs(plain.attrs))
    lazy = xd.fit(three, "~ condition", adjust=method, compute=False)
    assert lazy["padj"].chunks
    np.testing.assert_allclose(lazy["padj"], expected, rtol=1e-10)
    contrast = xd.test(three, fit, "condition[T.B]")  # as in the fit
    np.testing.assert_allclose(contrast["padj"], expected[:1], rtol=1e-6)  # reduced fits begin elsewhere
    other = xd.test(three, fit, "condition[T.B]", adjust="bh")
    np.testing.assert_allclose(other["padj"], xd.adjust(plain)["padj"][:1], rtol=1e-6)
    write_store(fit, tmp_path / "fit.zarr")
    stored = xr.open_zarr(tmp_path / "fit.zarr")
    xr.testing.assert_equal(xd.adjust(stored, method)["padj"].compute(), fit["padj"])


def test_across_contrasts(three):
    fit = xd.fit(three, "~ condition")
    pval = fit["pval"].values
    expected = adjust_pvalues(pval.ravel(), "bh").reshape(pval.shape)
    result = xd.adjust(fit, across="contrast")
    np.testing.assert_array_equal(result["padj"], expected)
    assert result["padj"].attrs["long_name"].endswith("(Benjamini-Hochberg, over contrast)")
    turned = xd.adjust(fit.transpose("gene", ...), across=["contrast"])
    np.testing.assert_allclose(turned["padj"].transpose("contrast", "gene"), expected, rtol=1e-14)
    assert "padj" in xd.adjust(fit.isel(contrast=0))


# ---- independent filtering -------------------------------------------------------------------------------


def golden(name):
    return pd.read_csv(Path(__file__).parent / "data" / name, skipinitialspace=True)


def test_lowess_against_r():
    """With an outlier, so that the robust rounds matter. 1e-9: R takes the same steps in another order."""
    table = golden("lowess.csv")
    found = lowess(table["x"].to_numpy(), table["y"].to_numpy(float))
    np.testing.assert_allclose(found, table["lowess"], rtol=0.0, atol=1e-9)


def test_independent_filtering_against_deseq2():
    """DESeq2 1.38.3 on its own p-values and means, at its level of 0.1: the same genes, and a rounding."""
    table = golden("independent_filtering.csv")
    coords = {"gene": np.arange(len(table)).astype(str)}
    result = xr.Dataset(
        {"pval": (("contrast", "gene"), [table["pval"]]), "mean": ("gene", table["mean"])}, coords
    )
    padj = xd.adjust(result, filter_by="mean", alpha=0.1)["padj"].values[0]
    np.testing.assert_array_equal(np.isnan(padj), table["padj"].isna())
    assert 20 < np.isnan(padj).sum() < 580
    np.testing.assert_allclose(padj, table["padj"], rtol=1e-13)


@pytest.fixture(scope="module")
def weak():
    """Half of the genes with few counts, among which nothing can be found."""
    rng = np.random.default_rng(4)
    mean = np.where(np.arange(2000) < 1000, rng.uniform(0.1, 2.0, 2000), rng.uniform(50.0, 500.0, 2000))
    pval = np.where(
        mean > 50.0,
        np.where(rng.random(2000) < 0.2, rng.beta(0.05, 8.0, 2000), rng.random(2000)),
        rng.random(2000),
    )
    pval[::50] = np.nan
    coords = {"gene": np.arange(2000).astype(str), "contrast": ["a", "b"]}
    return xr.Dataset({"pval": (("contrast", "gene"), [pval, pval[::-1]]), "mean": ("gene", mean)}, coords)


def test_filtering_finds_more_and_leaves_out_only_genes_of_low_mean(weak):
    plain, filtered = xd.adjust(weak)["padj"][0], xd.adjust(weak, filter_by="mean")["padj"][0]
    assert int((filtered < 0.05).sum()) > int((plain < 0.05).sum())
    out = np.isnan(filtered) & np.isfinite(plain)
    assert float(weak["mean"].where(out).max()) < float(weak["mean"].where(np.isfinite(filtered)).min())


def test_filtering_by_an_array_lazily_and_across_contrasts(weak):
    expected = xd.adjust(weak, filter_by="mean")
    by_array = xd.adjust(weak.drop_vars("mean"), filter_by=weak["mean"])
    xr.testing.assert_equal(by_array["padj"], expected["padj"])
    lazy = xd.adjust(weak.chunk(gene=300), filter_by="mean")
    np.testing.assert_array_equal(lazy["padj"].compute(), expected["padj"])
    together = xd.adjust(weak, filter_by="mean", across="contrast")["padj"]
    assert "after independent filtering" in together.attrs["long_name"]
    # the second contrast's small p-values are at low means, and the cut is one for both
    tested, kept = np.isfinite(weak["pval"]), np.isfinite(together)
    cut = weak["mean"].where(kept).min(["gene", "contrast"])
    xr.testing.assert_equal(kept, (tested & (weak["mean"] >= cut)).transpose(*kept.dims))


def test_nothing_is_filtered_where_little_is_found(weak):
    few = weak.assign(pval=weak["pval"].clip(0.01))
    xr.testing.assert_equal(xd.adjust(few, filter_by="mean")["padj"], xd.adjust(few)["padj"])


def test_filtering_of_a_fit_and_its_test():
    ds = xd.simulate(n_samples=12, n_genes=300, seed=2)
    fit = xd.fit(ds, "~ condition")
    filtered = xd.adjust(fit, filter_by="mean")
    tested = xd.adjust(xd.test(ds, fit, "condition[T.B]"), filter_by=fit["mean"])
    np.testing.assert_allclose(tested["padj"], filtered["padj"], rtol=1e-8)  # of another start's p-values
