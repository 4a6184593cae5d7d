"""Adjusted p-values against statsmodels and SciPy; Storey's share of true nulls against its definition and the truth.

Tolerance 1e-13: the same products in another order.
"""

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from statsmodels.stats.multitest import multipletests

import xdelnx as xd
from xdelnx.adjustment import METHODS, adjust_pvalues, null_share
from xdelnx.stores import write_store

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
