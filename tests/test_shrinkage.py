"""The step across genes against slow or generic implementations of the same definitions."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from xdelnx.algorithms import shrinkage
from xdelnx.algorithms import trend as trend_module
from xdelnx.algorithms.shrinkage import (
    fit_prior,
    natural_spline,
    prior_log_likelihood,
    shrink,
    squeeze,
)
from xdelnx.algorithms.trend import local_median


def plain_local_median(mean, theta):
    """The definition, window by window."""
    n = len(mean)
    keys = [(float(f"{mean[g]:.9e}"), float(f"{theta[g]:.9e}")) for g in range(n)]
    order = sorted(range(n), key=keys.__getitem__)
    half = int(min(max(0.1 * n, 100), n) // 2)
    width = 2 * half + 1
    values = np.array([theta[g] for g in order])
    weights = np.exp(-0.5 * np.linspace(-3, 3, min(width, n)) ** 2)
    if width > n:
        return np.full(n, weighted_median(values, weights))
    middle = [weighted_median(values[c - half : c + half + 1], weights) for c in range(half, n - half)]
    at = np.concatenate([np.full(half, middle[0]), middle, np.full(half, middle[-1])])
    keys = [(f"{mean[g]:.9e}", f"{theta[g]:.9e}") for g in range(n)]
    alike = {key: [place for place, g in enumerate(order) if keys[g] == key] for key in keys}
    return np.array([np.mean(at[alike[key]]) for key in keys])  # genes alike in both share a trend


def weighted_median(values, weights):
    """The least value at which the weights up to it reach a half."""
    total = weights.sum()
    for value in np.sort(values):
        if weights[values <= value].sum() >= total * (0.5 - 1e-12):
            return value
    raise AssertionError


def genes(n, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    mean = np.exp(rng.normal(3.0, 2.0, n))
    theta = (0.05 + 1.0 / mean) * rng.lognormal(0.0, 0.7, n)
    if ties:
        mean, theta = np.round(mean), np.where(rng.random(n) < 0.3, 0.0, np.round(theta, 2))
    return mean, theta


@pytest.mark.parametrize("n", [1, 2, 50, 99, 100, 101, 102, 150, 700, 1205])
@pytest.mark.parametrize("ties", [False, True])
def test_local_median_is_its_definition(n, ties):
    mean, theta = genes(n, seed=n, ties=ties)
    # means over runs are added in another order
    np.testing.assert_allclose(local_median(mean, theta), plain_local_median(mean, theta), rtol=1e-13)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.1, 0.5, 2.0])), min_size=1, max_size=250)
)
def test_local_median_with_many_ties(pairs):
    mean, theta = np.array(pairs, dtype=float).T
    np.testing.assert_allclose(local_median(mean, theta), plain_local_median(mean, theta), rtol=1e-13)


def test_any_number_of_cores_gives_the_same_bits(monkeypatch):
    rng = np.random.default_rng(5)
    mean, theta = rng.lognormal(3.0, 2.0, 9_000), rng.lognormal(-1.0, 1.0, 9_000)
    found = []
    for cores in (1, 2, 3, 64):
        monkeypatch.setattr(trend_module, "LEAST_WINDOWS", 96)
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        found.append(local_median(mean, theta))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_local_median_does_not_hang_on_the_order():
    mean, theta = genes(900, ties=True)
    order = np.random.default_rng(1).permutation(900)
    trend = local_median(mean, theta)
    np.testing.assert_array_equal(local_median(mean[order], theta[order]), trend[order])
    # digits beyond the tenth are rounding and do not decide
    shaken = [x * (1.0 + 1e-13 * np.random.default_rng(2).normal(size=900)) for x in (mean, theta)]
    np.testing.assert_allclose(local_median(*shaken), trend, rtol=1e-11)


def test_interpolated_trend_is_close_to_the_exact(monkeypatch):
    mean, theta = genes(3000)
    exact = local_median(mean, theta)
    monkeypatch.setattr(trend_module, "EXACT_GENES", 2000)
    monkeypatch.setattr(trend_module, "CENTRES", 600)  # one for 4.5 genes; the default has one for 5 or more
    # neighbouring medians differ by the distance of two order statistics: a few percent here
    np.testing.assert_allclose(local_median(mean, theta), exact, rtol=0.05)


def test_many_genes_are_interpolated():
    """Above 50,000 genes: the definition at some of them, and the cost of a tenth of a second."""
    n = 60_000
    mean, theta = genes(n)
    trend = local_median(mean, theta)
    order = np.lexsort((theta, mean))
    half, weights = 3000, np.exp(-0.5 * np.linspace(-3, 3, 6001) ** 2)
    for centre in (3000, 17_123, 30_000, 56_999):
        exact = weighted_median_fast(theta[order[centre - half : centre + half + 1]], weights)
        assert trend[order[centre]] == pytest.approx(exact, rel=5e-3)  # neighbouring order statistics: 1e-3


def weighted_median_fast(values, weights):
    order = np.argsort(values)
    return values[order][np.searchsorted(np.cumsum(weights[order]), 0.5 * weights.sum())]


def test_genes_that_take_no_part_change_nothing():
    mean, theta = genes(400)
    theta[::9] = 0.0
    whole = shrink(mean, theta, 6.0)
    put = np.sort(np.random.default_rng(0).integers(0, 400, 150))
    more = shrink(np.insert(mean, put, np.nan), np.insert(theta, put, np.nan), 6.0)
    inserted = np.isnan(np.insert(mean, put, np.nan))
    for name in ("trend", "ql_dispersion", "ql_prior", "ql_dispersion_shrunken"):
        np.testing.assert_array_equal(getattr(more, name)[~inserted], getattr(whole, name))
        assert np.isnan(getattr(more, name)[inserted]).all()
    assert more.prior_df == whole.prior_df


# ---- spline ----------------------------------------------------------------------------------------------


def test_natural_spline_is_cubic_between_knots_and_straight_beyond():
    knots = np.array([-1.0, 0.5, 2.0, 3.5])
    for low, high in pairwise(knots):
        x = np.linspace(low, high, 9)
        columns = natural_spline(x, knots)
        fitted = np.polynomial.Polynomial.fit(x, columns[:, 3], 3)
        np.testing.assert_allclose(fitted(x), columns[:, 3], atol=1e-14)  # rounding of numbers near 1
    for x in (np.linspace(-4.0, -1.0, 7), np.linspace(3.5, 9.0, 7)):
        assert (
            np.abs(np.diff(natural_spline(x, knots), 2, axis=0)).max() < 1e-12
        )  # rounding of numbers near 30


def test_natural_spline_is_smooth():
    knots = np.array([0.0, 1.0, 2.0, 3.0])
    h = 1e-4
    for knot in knots:
        at = natural_spline(knot + h * np.arange(-3, 4), knots)
        second = np.diff(at, 2, axis=0) / h**2
        # the second derivative is continuous and changes by h times the third at most
        assert np.abs(np.diff(second, axis=0)).max() < 1e-3
    ends = natural_spline(np.array([-h, 0.0, h, 3.0 - h, 3.0, 3.0 + h]), knots)
    for end in (ends[:3], ends[3:]):
        assert np.abs(np.diff(end, 2, axis=0) / h**2).max() < 1e-3  # zero at the ends, to order h


def test_natural_spline_interpolates_as_scipy_does():
    knots = np.array([-2.0, 0.0, 1.5, 4.0])
    heights = np.array([1.0, -0.3, 0.2, 2.0])
    reference = scipy.interpolate.CubicSpline(knots, heights, bc_type="natural")
    x = np.linspace(-2.0, 4.0, 101)
    found = natural_spline(x, knots) @ np.linalg.solve(natural_spline(knots, knots), heights)
    np.testing.assert_allclose(found, reference(x), atol=1e-12)  # rounding


# ---- prior -----------------------------------------------------------------------------------------------


def draw(n, d, d0, seed=0, slope=0.2):
    rng = np.random.default_rng(seed)
    mean = np.exp(rng.normal(3.0, 1.5, n))
    scale = np.exp(-0.3 + slope * np.sin(np.log(mean)))
    q = rng.chisquare(d, n) / d * scale
    return mean, q if np.isinf(d0) else q / (rng.chisquare(d0, n) / d0), scale


@pytest.mark.parametrize("d0", [0.8, 7.0, 1e5])
def test_prior_likelihood_is_the_f_density(d0):
    _, q, scale = draw(50, 5.0, 10.0)
    expected = scipy.stats.f.logpdf(q / scale, 5.0, d0) - np.log(scale)
    assert prior_log_likelihood(q, 5.0, np.log(scale), d0) == pytest.approx(expected.sum(), rel=1e-9)
    limit = scipy.stats.gamma.logpdf(q, 2.5, scale=scale / 2.5).sum()
    assert prior_log_likelihood(q, 5.0, np.log(scale), np.inf) == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize("d0", [0.5, 4.0, 300.0])
def test_prior_derivatives(d0):
    mean, q, _ = draw(60, 5.0, 10.0)
    basis = natural_spline(np.log(mean), np.linspace(np.log(mean).min(), np.log(mean).max(), 4))
    point = np.array([-0.2, 0.3, -0.5, 0.4, np.log(d0)])

    def value(x):
        return prior_log_likelihood(q, 5.0, basis @ x[:-1], np.exp(x[-1]))

    def gradient(x):
        return shrinkage._derivatives(basis, q, 5.0, x[:-1], np.exp(x[-1]))[0]

    first, second = shrinkage._derivatives(basis, q, 5.0, point[:-1], d0)
    h = 1e-4
    steps = h * np.eye(5)
    # central differences: h^2, and rounding of a sum near 100 over h
    numeric = [(value(point + e) - value(point - e)) / (2 * h) for e in steps]
    np.testing.assert_allclose(first, numeric, rtol=1e-6, atol=1e-6)
    numeric = [(gradient(point + e) - gradient(point - e)) / (2 * h) for e in steps]
    np.testing.assert_allclose(second, numeric, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(second, second.T, rtol=1e-13)


@pytest.mark.parametrize(
    ("n", "d", "d0"), [(60, 3.0, 4.0), (400, 6.0, 9.0), (400, 24.0, 40.0), (99, 2.0, 1.5)]
)
def test_no_search_finds_a_better_prior(n, d, d0):
    mean, q, _ = draw(n, d, d0, seed=n)
    prior, found = fit_prior(mean, q, d)
    value = prior_log_likelihood(q, d, np.log(prior), found)
    x = np.log(mean)
    basis = np.ones((n, 1)) if n < 100 else natural_spline(x, np.linspace(x.min(), x.max(), 4))

    def objective(point):
        return -prior_log_likelihood(q, d, basis @ point[:-1], np.exp(np.clip(point[-1], -20, 20)))

    for start in (1.0, 5.0, 50.0):
        best = np.append(np.zeros(basis.shape[1]), np.log(start))
        for _ in range(4):  # a simplex stalls; begun anew it goes on
            best = scipy.optimize.minimize(objective, best, method="Nelder-Mead", options={"maxiter": 2000}).x
        assert value >= -objective(best) - 1e-8  # rounding of a sum of hundreds


def test_prior_recovers_the_truth():
    """Over 4,000 genes the standard error of log d0 is about 0.05, that of log s0^2 0.02."""
    mean, q, scale = draw(4000, 10.0, 12.0, seed=3)
    prior, d0 = fit_prior(mean, q, 10.0)
    assert abs(np.log(d0 / 12.0)) < 0.2
    inside = np.abs(np.log(mean) - 3.0) < 3.0
    assert np.abs(np.log(prior / scale))[inside].max() < 0.15  # four columns do not follow the sine exactly
    _, few = fit_prior(mean[:80], q[:80], 10.0)
    assert 3.0 < few <= np.inf


def test_prior_without_spread_is_infinite():
    mean, q, scale = draw(3000, 10.0, np.inf, seed=4)
    prior, d0 = fit_prior(mean, q, 10.0)
    # the truth is the limit; the likelihood of a sample may prefer a large finite value
    assert d0 > 150.0
    assert np.abs(np.log(prior / scale))[np.abs(np.log(mean) - 3.0) < 3.0].max() < 0.2
    rng = np.random.default_rng(0)
    less = np.exp(rng.normal(0.0, 0.05, 200))  # less spread than chi-squared: infinite for certain
    prior, d0 = fit_prior(np.exp(rng.normal(3.0, 1.0, 200)), less, 10.0)
    assert d0 == np.inf
    assert np.abs(prior - 1.0).max() < 0.1


def test_prior_of_ones_is_infinite():
    prior, d0 = fit_prior(np.linspace(1.0, 9.0, 200), np.ones(200), 5.0)
    assert d0 == np.inf
    assert (prior == 1.0).all()


@pytest.mark.parametrize("power", [1e-3, 1e3])
def test_prior_follows_the_unit_of_the_mean_and_of_q(power):
    mean, q, _ = draw(500, 6.0, 8.0)
    prior, d0 = fit_prior(mean, q, 6.0)
    moved, again = fit_prior(mean * power, q * power, 6.0)
    # the search ends when a step is below 1e-8
    assert again == pytest.approx(d0, rel=1e-6)
    np.testing.assert_allclose(moved, prior * power, rtol=1e-6)


def test_genes_of_tiny_mean_take_no_part_in_the_prior():
    mean, q, _ = draw(300, 6.0, 8.0)
    prior, d0 = fit_prior(mean, q, 6.0)
    more, again = fit_prior(np.append(mean, 1e-9), np.append(q, 50.0), 6.0)
    assert again == pytest.approx(d0, rel=1e-9)
    np.testing.assert_allclose(more[:-1], prior, rtol=1e-9)
    assert np.isfinite(more[-1])


def test_squeeze():
    q, prior = np.array([0.5, 2.0]), np.array([1.0, 1.5])
    # rounding
    np.testing.assert_allclose(squeeze(q, 6.0, prior, 4.0), [(4 + 3) / 10, (6 + 12) / 10], rtol=1e-15)
    np.testing.assert_array_equal(squeeze(q, 6.0, prior, np.inf), prior)


def test_shrink_in_one_piece():
    mean, theta = genes(500, seed=8)
    result = shrink(mean, theta, 8.0)
    q = (1 + mean * theta) / (1 + mean * result.trend)
    np.testing.assert_allclose(result.ql_dispersion, q, rtol=1e-15)
    d0 = result.prior_df
    expected = (d0 * result.ql_prior + 8.0 * q) / (d0 + 8.0)
    np.testing.assert_allclose(result.ql_dispersion_shrunken, expected, rtol=1e-14)
    given_trend = shrink(mean, theta, 8.0, trend=theta)
    assert given_trend.prior_df == np.inf
    assert (given_trend.ql_dispersion_shrunken == 1.0).all()
