"""Overdispersion against an adjusted profile likelihood written with SciPy and NumPy alone."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln, gammaln

from xdelnx import fit, simulate
from xdelnx.algorithms.dispersion import (
    adjusted_derivatives,
    estimate_dispersion,
    log_derivatives,
    moment_dispersion,
)
from xdelnx.algorithms.glm import fit_coefficients, start_from_data

GRID = np.exp(np.linspace(np.log(1e-8), np.log(1e4), 400))


def log_likelihood(y, mu, design, theta, *, cox_reid=True):
    """Adjusted profile likelihood of one gene (sample,) at each theta (m,), constants left out."""
    mu, r = np.maximum(mu, 1e-6), 1.0 / theta[:, None]
    some = y > 0
    # log Gamma(y + r) - log Gamma(r) is that of Gamma(y) / B(y, r), which keeps its digits at large r
    value = np.sum(gammaln(y[some]) - betaln(y[some], r) - y[some] * np.log(r), axis=1)
    value -= np.sum((y + r) * np.log1p(theta[:, None] * mu), axis=1)
    if cox_reid:
        weight = 1.0 / (1.0 / mu + theta[:, None])
        information = np.einsum("ni,tn,nj->tij", design, weight, design)
        value -= 0.99 * 0.5 * np.linalg.slogdet(information)[1]
    return value


def means_of(problem, theta):
    """Mean at scale 1 by kind, and fitted means (gene, sample) in the problem's order."""
    observations = problem.observations
    start = start_from_data(problem.model, observations, theta)
    found = fit_coefficients(problem.model, observations, theta, start)
    m = problem.model.mean(found.b)
    return m, np.repeat(m, problem.layout.sizes, axis=1) * observations.scale


def estimate(problem, *, cox_reid=True):
    first = moment_dispersion(problem.observations, float(problem.observations.scale.mean()))
    m, mu = means_of(problem, first)
    found = estimate_dispersion(problem.model, problem.observations, m, first, cox_reid=cox_reid)
    return found, m, mu


def orthonormal(problem):
    """Design of the ordered samples in an orthonormal basis: what slogdet can do without loss."""
    return np.linalg.qr(problem.design[problem.layout.order])[0]


def shortfall(problem, found, mu, *, cox_reid=True):
    """How far each gene's likelihood is below the best on a fine grid; negative where it is above."""
    design = orthonormal(problem)
    gaps = []
    for g, theta in enumerate(found.theta):
        y = problem.observations.y[g]
        at = np.clip([theta], GRID[0], GRID[-1])
        here = log_likelihood(y, mu[g], design, at, cox_reid=cox_reid)[0]
        gaps.append(log_likelihood(y, mu[g], design, GRID, cox_reid=cox_reid).max() - here)
    return np.array(gaps)


def simulated(rng, n, n_genes, design, low=0.5, high=2000.0, spread=0.3):
    scale = rng.lognormal(0.0, spread, n)
    theta = np.exp(rng.uniform(np.log(0.01), np.log(3.0), n_genes))
    z = (design - design.mean(0)) / np.where(design.std(0) > 0, design.std(0), 1.0)
    mean = np.exp(
        rng.uniform(np.log(low), np.log(high), (n_genes, 1)) + rng.normal(0, 0.3, (n_genes, 1)) * z[:, -1]
    )
    rate = mean * scale * rng.gamma(1.0 / theta[:, None], theta[:, None], (n_genes, n))
    y = rng.poisson(rate).astype(float)
    some = y.sum(1) >= 5
    return y[some], scale, theta[some]


DESIGNS = {
    "intercept": lambda rng, n: np.ones((n, 1)),
    "factor": lambda rng, n: np.stack([np.ones(n), np.arange(n) % 2], 1),
    "covariate": lambda rng, n: np.stack([np.ones(n), rng.normal(45.0, 12.0, n)], 1),
    "factor and covariate": lambda rng, n: np.stack([np.ones(n), np.arange(n) % 2, rng.normal(size=n)], 1),
}


@pytest.mark.parametrize("cox_reid", [True, False])
@pytest.mark.parametrize("name", DESIGNS)
def test_never_below_a_grid(make_problem, name, cox_reid):
    for seed, n in enumerate((6, 12, 40)):
        rng = np.random.default_rng(seed)
        design = DESIGNS[name](rng, n)
        y, scale, _ = simulated(rng, n, 60, design)
        problem = make_problem(y, design, scale)
        found, _, mu = estimate(problem, cox_reid=cox_reid)
        assert found.converged.all()
        # the likelihood written here loses up to 1e-8 of a gene's terms at theta = 1e-8
        rounding = 1e-10 + 3e-12 * np.sum(mu + y * np.log1p(mu), axis=1)
        gaps = shortfall(problem, found, mu, cox_reid=cox_reid)
        assert (gaps <= np.maximum(rounding, 1e-6)).all()


@pytest.mark.parametrize("name", DESIGNS)
def test_derivatives_are_those_of_the_likelihood(make_problem, name):
    rng = np.random.default_rng(1)
    design = DESIGNS[name](rng, 12)
    y, scale, _ = simulated(rng, 12, 10, design, high=200.0)
    y[::2] += rng.uniform(0.0, 0.9, y[::2].shape) * (y[::2] > 0)  # fractions, as Salmon gives them
    problem = make_problem(y, design, scale)
    m, mu = means_of(problem, np.full(len(y), 0.1))
    for cox_reid in (True, False):
        for theta in (1e-3, 0.05, 1.0, 30.0):
            log_theta = np.full(len(y), np.log(theta))
            slope, curve = log_derivatives(
                problem.model, problem.observations, m, log_theta, np.arange(len(y)), cox_reid=cox_reid
            )
            steps = theta * np.exp(np.array([-2, -1, 0, 1, 2]) * 0.01)
            for g in range(len(y)):
                counts = y[g][problem.layout.order]
                value = log_likelihood(counts, mu[g], orthonormal(problem), steps, cox_reid=cox_reid)
                first = np.dot([1.0, -8.0, 0.0, 8.0, -1.0], value) / 0.12
                second = np.dot([-1.0, 16.0, -30.0, 16.0, -1.0], value) / 12e-4
                # fourth-order differences: a step of 0.01 leaves 1e-8 of the terms, and these are rounded,
                # at theta = 1e-3, to some 1e-12 of the counts' logarithms
                size = 1.0 + np.sum(counts * np.log1p(counts))
                assert slope[g] == pytest.approx(first, rel=1e-6, abs=1e-9 * size)
                assert curve[g] == pytest.approx(second, rel=1e-5, abs=1e-7 * size)


def test_derivative_at_zero(make_problem):
    """At theta = 0 the derivative is finite: half of sum (y - mu)^2 - y, and the adjustment's part."""
    rng = np.random.default_rng(2)
    y, scale, _ = simulated(rng, 9, 20, np.ones((9, 1)))
    problem = make_problem(y, np.ones((9, 1)), scale)
    m, mu = means_of(problem, np.zeros(len(y)))
    rows, zero = np.arange(len(y)), np.zeros(len(y))
    plain, _ = adjusted_derivatives(problem.model, problem.observations, m, zero, rows, cox_reid=False)
    # exact sums of squares of counts up to thousands
    np.testing.assert_allclose(plain, 0.5 * np.sum((y - mu) ** 2 - y, axis=1), rtol=1e-11, atol=1e-7)
    adjusted, _ = adjusted_derivatives(problem.model, problem.observations, m, zero, rows, cox_reid=True)
    part = 0.5 * 0.99 * np.sum(mu**2, axis=1) / np.sum(mu, axis=1)
    np.testing.assert_allclose(adjusted - plain, part, rtol=1e-9, atol=1e-7)


def test_less_than_poisson_is_zero(make_problem):
    y = np.array([[10, 10, 11, 10, 10, 9], [100, 101, 99, 100, 100, 100]])
    found, _, mu = estimate(make_problem(y, np.ones((6, 1))))
    assert (found.theta == 0.0).all()
    assert found.converged.all()
    assert np.allclose(mu, y.mean(1, keepdims=True))


def test_maximum_likelihood_of_scipys_distribution(make_problem):
    """With two kinds and equal scales the means do not depend on theta: a plain likelihood in theta alone."""
    rng = np.random.default_rng(3)
    design = np.stack([np.ones(30), np.arange(30) % 2], 1)
    y, _, _ = simulated(rng, 30, 20, design, low=20.0, spread=0.0)
    found, _, _ = estimate(make_problem(y, design), cox_reid=False)
    for g in range(len(y)):

        def negative(u, counts=y[g]):
            r = np.exp(-u)
            kinds = [(part, r / (r + part.mean())) for part in (counts[::2], counts[1::2])]
            return -sum(scipy.stats.nbinom.logpmf(part, r, p).sum() for part, p in kinds)

        best = scipy.optimize.minimize_scalar(negative, bounds=(-12.0, 4.0), options={"xatol": 1e-9})
        # a search on values finds a maximum to the root of their rounding
        assert np.log(found.theta[g]) == pytest.approx(best.x, abs=1e-5)


def test_the_start_does_not_matter(make_problem):
    rng = np.random.default_rng(7)
    design = DESIGNS["factor and covariate"](rng, 14)
    y, scale, _ = simulated(rng, 14, 100, design)
    problem = make_problem(y, design, scale)
    found, m, _ = estimate(problem)
    for start in (
        np.zeros(len(y)),
        np.full(len(y), 1e-3),
        np.full(len(y), 1e3),
        found.theta,
        found.theta * (1 + 1e-12),
    ):
        again = estimate_dispersion(problem.model, problem.observations, m, start)
        assert again.converged.all()
        # the last step in log theta is below 1e-5, and squares
        np.testing.assert_allclose(again.theta, found.theta, rtol=1e-8)


def test_a_start_at_the_maximum_stays(make_problem):
    """Begun where the slope is rounding, the step has no length and must not be taken for an overshoot."""
    rng = np.random.default_rng(3)
    y, scale, _ = simulated(rng, 30, 300, np.ones((30, 1)))
    problem = make_problem(y, np.ones((30, 1)), scale)
    found, m, _ = estimate(problem)
    theta = found.theta
    for _ in range(3):
        theta = estimate_dispersion(problem.model, problem.observations, m, theta).theta
    np.testing.assert_allclose(theta, found.theta, rtol=1e-8)  # as above


def test_recovers_the_truth(make_problem):
    """Over 300 genes the mean log ratio to the truth is near zero: its standard error is 0.015."""
    rng = np.random.default_rng(4)
    n = 40
    design = DESIGNS["factor and covariate"](rng, n)
    y, scale, truth = simulated(rng, n, 300, design, low=100.0)
    found, _, _ = estimate(make_problem(y, design, scale))
    ratio = np.log(found.theta / truth)
    # log theta of 40 samples has standard deviation 0.23 and bias below a tenth of that
    assert abs(ratio.mean()) < 0.05
    assert 0.15 < ratio.std() < 0.35
    plain, _, _ = estimate(make_problem(y, design, scale), cox_reid=False)
    assert np.log(plain.theta / truth).mean() < ratio.mean() - 0.04  # 3 of 40 degrees of freedom


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scale_of_a_covariate(make_problem, factor):
    rng = np.random.default_rng(5)
    design = DESIGNS["factor and covariate"](rng, 20)
    y, scale, _ = simulated(rng, 20, 50, design)
    one, _, _ = estimate(make_problem(y, design, scale))
    other, _, _ = estimate(make_problem(y, design * [1.0, 1.0, factor], scale))
    np.testing.assert_allclose(other.theta, one.theta, rtol=1e-7)  # the search's tolerance, 1e-5, squared


def test_fractional_counts(make_problem):
    """Counts between whole numbers have estimates between; also below the 12 summed directly."""
    rng = np.random.default_rng(6)
    y, scale, _ = simulated(rng, 10, 80, np.ones((10, 1)), high=60.0)
    y = y + rng.uniform(-0.5, 0.5, y.shape) * (y > 0)
    problem = make_problem(y, np.ones((10, 1)), scale)
    found, _, mu = estimate(problem)
    assert (shortfall(problem, found, mu) < 1e-7).all()  # rounding of the likelihood written here
    near = make_problem(y + 1e-9 * (y > 0), np.ones((10, 1)), scale)
    np.testing.assert_allclose(estimate(near)[0].theta, found.theta, rtol=1e-4, atol=1e-6)  # continuous in y


@settings(max_examples=150)
@given(st.data())
def test_any_counts(make_problem, data):
    """The search ends, at a point no lower than its neighbours or at zero by the method's rule."""
    n = data.draw(st.integers(4, 10))
    count = st.one_of(st.integers(0, 3), st.integers(0, 50), st.integers(0, 20_000))
    y = np.array(data.draw(st.lists(count, min_size=n, max_size=n)), dtype=float)
    y[0] += not y.any()
    design = np.stack([np.ones(n), np.arange(n) % 2, np.linspace(-1, 1, n) ** 3], 1)
    problem = make_problem(y, design[:, : data.draw(st.integers(1, 3))])
    cox_reid = data.draw(st.booleans())
    found, m, mu = estimate(problem, cox_reid=cox_reid)
    assert found.converged.all()
    theta = found.theta[0]
    assert np.isfinite(theta)
    assert theta >= 0.0
    if theta == 0.0:
        least = np.full(1, 1e-8)
        slope, _ = adjusted_derivatives(
            problem.model, problem.observations, m, least, np.arange(1), cox_reid=cox_reid
        )
        assert slope[0] <= 0.0
    elif theta < 1e10:  # above that, the likelihood is flat to rounding
        around = theta * np.exp([-0.02, 0.0, 0.02])
        value = log_likelihood(
            problem.observations.y[0], mu[0], orthonormal(problem), around, cox_reid=cox_reid
        )
        assert value[1] >= max(value[0], value[2]) - 1e-9 * (1.0 + y.sum())  # rounding at large counts


def test_two_maxima():
    """The rule at theta = 1e-8 decides where the likelihood has two maxima, as it does in glmGamPoi.

    A count of thousands alone in its group adds mu^2 (0.99 - 1) / 2 / mu to the slope at zero: the
    constant 0.99 outweighs what the other counts say. Kept here because it is a known limit of the method.
    """
    y = np.array([3.0, 0.0, 4787.0])
    mu = np.array([1.412, 3.351, 4787.0])
    design = np.linalg.qr(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))[0]
    value = log_likelihood(y, mu, design, np.array([1e-8, 4.5]))
    assert value[1] - value[0] > 2.0


# ---- the options of fit ----------------------------------------------------------------------------------


def test_one_for_all_genes():
    """The summed likelihood has its maximum at the estimate, on a grid and by its neighbours."""
    data = simulate(10, 60, seed=2)
    result = fit(data, "~condition", overdispersion="global", size_factors="size_factor_true")
    theta = np.unique(result["dispersion"].values[np.isfinite(result["dispersion"].values)])
    assert theta.size == 1
    first = fit(data, "~condition", overdispersion=0.3, shrinkage=False, size_factors="size_factor_true")
    # two kinds of samples and equal scales within a gene's estimate: means hardly depend on theta, so
    # those at 0.3 stand in for those at the moment estimates
    design, scale = first["design"].values, data["size_factor_true"].values
    mu = np.exp(first["beta"].values @ design.T) * scale
    counts = data["counts"].values.T.astype(float)
    some = counts.any(1)
    near = np.exp(np.linspace(np.log(theta[0]) - 0.5, np.log(theta[0]) + 0.5, 101))
    q = np.linalg.qr(design)[0]
    total = sum(log_likelihood(y, m, q, near) for y, m in zip(counts[some], mu[some], strict=True))
    assert (
        abs(np.log(near[total.argmax()] / theta[0])) < 0.03
    )  # the grid's step is 0.01, means differ a little


def test_adjustment_off_in_fit(bulk):
    on, off = fit(bulk, "~condition"), fit(bulk, "~condition", cox_reid=False)
    difference = (on["dispersion"] - off["dispersion"]).values
    assert (difference[np.isfinite(difference)] >= -1e-9).mean() > 0.95  # it corrects downward bias


def test_a_likelihood_that_rises_without_end_is_not_adjusted():
    """Three counts in one of 24 samples, a batch and a covariate: the adjusted likelihood has no maximum.

    It has a shoulder near theta = 1e4, which is no estimate; the plain likelihood's maximum is near 10.
    """
    data = simulate(24, 3000, kind="cells", n_batches=2, covariate="age", seed=9)
    adjusted = fit(data, "~ batch + age", contrasts=None)
    plain = fit(data, "~ batch + age", contrasts=None, cox_reid=False)
    assert float(adjusted["dispersion"].max()) < 1e3
    rare = (data["counts"] > 0).sum("sample") == 1
    without = rare & (adjusted["dispersion"] == plain["dispersion"]) & (adjusted["dispersion"] > 0)
    assert int(without.sum()) > 50
    # such genes left as shoulders would bring this to 1.4; without them in the data it is 3.7
    assert 3.0 < float(adjusted["prior_df"]) < 5.0
