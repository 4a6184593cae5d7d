"""Bias-adjusted deviances by the property they are made for, and fits with method="edger"."""

import dask.array as da
import numpy as np
import pytest
import scipy.stats
import sparse
import xarray as xr

import xdelnx as xd
from xdelnx.algorithms.bias_adjustment import adjusted_deviance, moments_at
from xdelnx.kernels.moments import shared_total_means, unit_deviances
from xdelnx.scalars.negative_binomial import unit_deviance
from xdelnx.steps.bias_adjusted import abundant_dispersion


def draw(rng, mu, theta, shape):
    """Negative binomial counts, Poisson without overdispersion."""
    if np.ndim(theta) == 0 and theta == 0:
        return rng.poisson(mu, shape).astype(float)
    return rng.poisson(mu * rng.gamma(1 / theta, theta, shape)).astype(float)


# ---- moments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theta", [0.0, 0.02, 0.3, 2.0])
def test_moments_are_sums_over_counts(theta):
    """Against SciPy's probabilities; 1e-4 is what a straight line between the points of the table costs."""
    moments = moments_at(theta)
    for mu in (0.0123, 0.31, 1.7, 9.4, 88.0, 590.0):
        law = scipy.stats.nbinom(1 / theta, 1 / (1 + theta * mu)) if theta else scipy.stats.poisson(mu)
        y = np.arange(float(law.isf(1e-14)) + 40)
        d, p = np.array([unit_deviance(k, mu, theta) for k in y]), law.pmf(y)
        k1 = p @ d
        k2 = p @ (d - k1) ** 2
        assert moments.weight(np.array(mu)) == pytest.approx(2 * k1 / k2, rel=5e-4)
        assert moments.expected(np.array(mu), np.array(1e-9)) == pytest.approx(k1, rel=5e-4)


def test_large_means_reach_the_gamma_limit():
    """Means of 3e3 to 1e7 by simulation of the limit: 4e5 draws, 0.5 % of a variance."""
    rng = np.random.default_rng(0)
    for theta in (0.05, 0.7):
        x = rng.gamma(1 / theta, theta, 400_000)
        d = 2 / theta * (x - 1 - np.log(x))
        moments = moments_at(theta)
        for mu in (1e5, 1e7):
            assert moments.expected(np.array(mu), np.array(1e-9)) == pytest.approx(d.mean(), rel=0.01)
            assert moments.weight(np.array(mu)) == pytest.approx(2 * d.mean() / d.var(), rel=0.02)


@pytest.mark.parametrize(
    ("theta", "total", "share"), [(0.0, 7, 0.3), (0.4, 7, 0.3), (0.4, 90, 0.05), (3.0, 1, 0.5)]
)
def test_mean_given_a_total(theta, total, share):
    y = np.arange(total + 1)
    law = (
        scipy.stats.betabinom(total, 1 / theta, (1 / share - 1) / theta)
        if theta
        else scipy.stats.binom(total, share)
    )
    expected = law.pmf(y) @ np.array([unit_deviance(k, share * total, theta) for k in y])
    found = shared_total_means(np.array([float(total)]), np.array([share]), theta)
    np.testing.assert_allclose(found, expected, rtol=1e-10)  # rounding of sums of logarithms


# ---- the property: the adjusted deviance's expectation is its degrees of freedom -------------------------


@pytest.mark.parametrize(("theta", "mu"), [(0.1, 0.1), (0.1, 1.0), (0.5, 0.4), (0.0, 3.0), (0.5, 30.0)])
def test_at_true_means(theta, mu):
    """Without a fit: mean, and variance twice as large. 200,000 counts: 2 % of the mean, 5 % of the variance."""
    rng = np.random.default_rng(1)
    y = draw(rng, mu, theta, (50_000, 4))
    means = np.full(y.shape, mu)
    deviance, df = adjusted_deviance(y, means, np.full(y.shape, 1e-12), theta)
    assert deviance.mean() == pytest.approx(df[0], rel=0.02)
    assert deviance.var() == pytest.approx(2 * df[0], rel=0.05)


@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize(
    ("theta", "mu"), [(0.1, 0.1), (0.1, 0.3), (0.1, 1.0), (0.5, 3.0), (0.0, 1.0), (0.3, 20.0)]
)
def test_at_fitted_means_of_groups(theta, mu, n):
    """Two groups of n replicates, leverage 1 / n: 2 %."""
    y = draw(np.random.default_rng(2), mu, theta, (40_000, 2 * n))
    means = np.repeat(np.stack([y[:, :n].mean(1), y[:, n:].mean(1)], 1), n, axis=1)
    deviance, df = adjusted_deviance(y, means, np.full(y.shape, 1 / n), theta)
    assert deviance.mean() / df.mean() == pytest.approx(1.0, abs=0.02)


def counts_of(rng, n, mean, theta, design_effect=0.0):
    """Dataset of 2 n samples of two conditions, with size factors and a covariate; nothing changes by condition."""
    x, sf = rng.normal(size=2 * n), rng.lognormal(0.0, 0.3, 2 * n)
    mu = np.outer(sf * np.exp(design_effect * x), mean)
    names = {"sample": [f"s{i}" for i in range(2 * n)], "gene": [f"g{i}" for i in range(mean.size)]}
    ds = xr.Dataset({"counts": (("sample", "gene"), draw(rng, mu, theta, mu.shape))}, names)
    condition = np.repeat(np.array(["A", "B"], dtype=object), n)
    return ds.assign(condition=("sample", condition), x=("sample", x), sf=("sample", sf))


@pytest.mark.parametrize(("mean", "bar"), [(0.3, 0.15), (1.0, 0.02), (5.0, 0.02), (50.0, 0.02)])
def test_in_a_design_with_covariate_and_size_factors(mean, bar):
    """10,000 genes of ten samples, at the true overdispersion: 2 %, and 15 % for three counts a gene.

    Three coefficients of three counts are often at infinity, where a leverage says little.
    """
    data = counts_of(np.random.default_rng(3), 5, np.full(10_000, mean), 0.15, design_effect=0.3)
    found = xd.fit(
        data, "~ condition + x", size_factors="sf", overdispersion=0.15, method="edger", contrasts=None
    )
    ratio = float(found["adjusted_deviance"].sum() / found["residual_df"].sum())
    assert ratio == pytest.approx(1.0, abs=bar)


def test_large_counts_need_no_adjustment():
    """To a percent: the unit deviance's moments exceed 1 and 2 by 1/6 and 2/3 of the overdispersion."""
    data = counts_of(np.random.default_rng(4), 4, np.full(500, 5e4), 0.01)
    found = xd.fit(data, "~ condition", size_factors="sf", overdispersion=0.01, method="edger")
    np.testing.assert_allclose(found["adjusted_deviance"], found["deviance"], rtol=0.01)
    np.testing.assert_allclose(found["residual_df"], 6.0, rtol=0.01)


def test_samples_with_a_mean_to_themselves_count_nothing():
    y = np.array([[3.0, 8.0, 0.0]])
    deviance, df = adjusted_deviance(y, np.array([[3.0, 4.0, 4.0]]), np.array([[1.0, 0.5, 0.5]]), 0.2)
    two = adjusted_deviance(y[:, 1:], np.full((1, 2), 4.0), np.full((1, 2), 0.5), 0.2)
    np.testing.assert_allclose([deviance, df], two, rtol=1e-6)
    np.testing.assert_array_equal(unit_deviances(y[:, :2], y[:, :2], np.array([0.2])), 0.0)


# ---- fits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high", "n"), [(1.0, 100.0, 3), (2.0, 30.0, 2), (0.5, 5.0, 6)])
def test_p_values_are_uniform_at_low_counts(low, high, n):
    """6,000 genes that do not change, overdispersions scattered on 20 df: within 3 standard errors and a tenth.

    Where the mean count is a few at most the statistic is discrete: at least ten counts a gene.
    """
    rng = np.random.default_rng(5)
    mean = np.exp(rng.uniform(np.log(low), np.log(high), 6000))
    data = counts_of(rng, n, mean, 0.1 * 20 / rng.chisquare(20, (1, 6000)))
    found = xd.fit(data, "~ condition", size_factors="sf", method="edger")
    pval = found["pval"].values[0][data["counts"].values.sum(0) >= 10]
    for level in (0.05, 0.2, 0.5):
        error = 3 * np.sqrt(level * (1 - level) / pval.size)
        assert (pval < level).mean() == pytest.approx(level, abs=error + 0.1 * level)


def test_the_overdispersion_is_that_of_abundant_genes():
    mean, theta = np.arange(1.0, 1001.0), np.linspace(3.0, 0.1, 1000)
    mean[::50] = np.nan
    expected = np.median(theta[np.isfinite(mean) & (mean > np.nanquantile(mean, 0.9))])
    assert abundant_dispersion(mean, theta) == pytest.approx(expected, rel=0.01)
    assert abundant_dispersion(mean[1:30], theta[1:30]) == np.median(theta[1:30])
    assert abundant_dispersion(mean[:1], theta[:1]) == 0.0


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(6)
    data = counts_of(rng, 4, np.exp(rng.uniform(-1.0, 6.0, 400)), 0.2)
    data["counts"][:, 3] = 0
    return data, xd.fit(data, "~ condition", size_factors="sf", method="edger")


def test_what_a_fit_has(pair, tmp_path):
    data, fitted = pair
    assert fitted["residual_df"].dims == fitted["df2"].dims == ("gene",)
    assert fitted["prior_df"].dims == ()
    assert np.nanstd(fitted["dispersion_trend"]) < 1e-15
    np.testing.assert_array_equal(
        np.flatnonzero(np.isnan(fitted["df2"])), np.flatnonzero(fitted["status"] == 1)
    )
    np.testing.assert_allclose(fitted["df2"], fitted["residual_df"] + fitted["prior_df"], rtol=1e-14)
    q = fitted["adjusted_deviance"] / fitted["residual_df"]
    known = (fitted["residual_df"] > 0.5).values
    np.testing.assert_allclose(fitted["ql_dispersion"][known], q[known], rtol=1e-14)
    fitted.to_zarr(tmp_path / "fit.zarr")
    with xr.open_zarr(tmp_path / "fit.zarr") as stored:
        np.testing.assert_allclose(xd.test(data, stored)["pval"], fitted["pval"], rtol=1e-10)
    xd.plot.ql_dispersion(fitted)
    assert np.isfinite(xd.shrink_lfc(fitted)["s_value"]).sum() > 390


@pytest.mark.parametrize("kind", ["chunked", "sparse", "lazy"])
def test_chunks_change_nothing(pair, kind):
    data, fitted = pair
    other = data.chunk(gene=70)
    if kind == "sparse":
        array = da.from_array(sparse.COO(data["counts"].values), chunks=(8, 70))
        other["counts"] = (("sample", "gene"), array)
    found = xd.fit(other, "~ condition", size_factors="sf", method="edger", compute=kind != "lazy")
    for name in ("residual_df", "adjusted_deviance", "pval", "ql_dispersion_shrunken", "df2"):
        assert bool(found[name].chunks) == (kind == "lazy")
        np.testing.assert_allclose(found[name], fitted[name], rtol=1e-10)


def test_with_other_options(pair):
    data, fitted = pair
    robust = xd.fit(data, "~ condition", size_factors="sf", method="edger", robust=True, cooks="flag")
    assert robust["prior_df"].dims == ("gene",)
    np.testing.assert_array_equal(robust["residual_df"], fitted["residual_df"])
    data = data.assign(cell=("sample", np.tile(["a", "b"], 4)))
    groups = xd.fit(data, "~ condition", size_factors="sf", method="edger", by="cell")
    assert groups["residual_df"].dims == ("cell", "gene")
    for overdispersion in ("global", 0.2, False):
        again = xd.fit(data, "~ condition", size_factors="sf", method="edger", overdispersion=overdispersion)
        assert np.isfinite(again["pval"]).sum() > 390
