"""Coefficients, deviances and standard errors against statsmodels and SciPy; what must not change them."""

import numpy as np
import pytest
import scipy.optimize
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from xdelnx import fit, simulate
from xdelnx.algorithms.glm import fit_coefficients, start_from_data, start_from_fit

N = 14
THETAS = np.array([0.0, 1e-5, 0.01, 0.3, 2.0, 50.0])


def designs():
    rng = np.random.default_rng(1)
    one, group = np.ones(N), np.arange(N) % 2.0
    three = np.eye(3)[np.arange(N) % 3]
    age = rng.normal(45.0, 12.0, N)
    return {
        "intercept": np.stack([one], 1),
        "factor": np.stack([one, group], 1),
        "three levels": np.column_stack([one, three[:, 1:]]),
        "cell means": three,
        "factor and covariate": np.stack([one, group, age], 1),
        "interaction": np.stack([one, group, age, group * age], 1),
        "interaction of factors": np.stack([one, group, three[:, 1], group * three[:, 1]], 1),
    }


DESIGNS = designs()


def counts_for(design, seed=0, n_genes=THETAS.size):
    """Counts of genes with means from a few to a few thousand, and a scale."""
    rng = np.random.default_rng(seed)
    scale = rng.lognormal(0.0, 0.5, design.shape[0])
    z = (design - design.mean(0)) / np.where(design.std(0) > 0, design.std(0), 1.0)
    eta = rng.uniform(1.0, 8.0, (n_genes, 1)) + rng.normal(0.0, 0.4, (n_genes, design.shape[1])) @ z.T
    return rng.poisson(scale * np.exp(eta) * rng.gamma(4.0, 0.25, eta.shape)).astype(float), scale


def solve(problem, theta, start=None, **options):
    if start is None:
        start = start_from_data(problem.model, problem.observations, theta)
    return fit_coefficients(problem.model, problem.observations, theta, start, **options)


def statsmodels_fit(y, design, theta, offset):
    family = sm.families.NegativeBinomial(alpha=theta) if theta > 0 else sm.families.Poisson()
    return sm.GLM(y, design, family, offset=offset).fit(maxiter=200, tol=1e-14, tol_criterion="deviance")


@pytest.mark.parametrize("name", DESIGNS)
def test_against_statsmodels(make_problem, name):
    design = DESIGNS[name]
    y, scale = counts_for(design)
    problem = make_problem(y, design, scale)
    found = solve(problem, THETAS)
    assert found.converged.all()
    deviance = problem.deviance(found.b, THETAS)
    m = problem.model.mean(found.b)
    weight = problem.observations.fisher(m, THETAS, np.arange(THETAS.size))
    variance = problem.model.quadratic_forms(problem.model.information(weight), problem.basis.to_coefficients)
    for g, theta in enumerate(THETAS):
        expected = statsmodels_fit(y[g], design, theta, np.log(scale))
        # statsmodels stops by its deviance, so its coefficients are good to about the root of 1e-14
        error = np.abs(problem.beta(found.b)[g] - expected.params) / expected.bse
        assert error.max() < 1e-6
        # ... and its optimum's deviance to rounding; below 1e-6 the method's deviance is Poisson's
        assert deviance[g] == pytest.approx(expected.deviance, rel=1e-9)
        np.testing.assert_allclose(np.sqrt(variance[g]), expected.bse, rtol=1e-6)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_score_is_zero(make_problem, name):
    design = DESIGNS[name]
    y, scale = counts_for(design, seed=2)
    problem = make_problem(y, design, scale)
    mu = np.exp(problem.beta(solve(problem, THETAS).b) @ design.T) * scale
    residual = (y - mu) / (1.0 + THETAS[:, None] * mu)
    size = np.abs(residual) @ np.abs(design)
    # quadratic convergence from a decrement of 1e-9 leaves rounding of the sum's terms
    assert (np.abs(residual @ design) <= 1e-7 * np.maximum(size, 1.0)).all()


def test_one_basis_or_the_other(make_problem):
    """Indicators of the kinds and the orthonormal basis give the same fit."""
    design = DESIGNS["three levels"]
    y, scale = counts_for(design)
    diagonal, dense = (make_problem(y, design, scale, dense=dense) for dense in (False, True))
    assert (diagonal.basis.groups, dense.basis.groups) == (3, 0)
    beta = [problem.beta(solve(problem, THETAS).b) for problem in (diagonal, dense)]
    np.testing.assert_allclose(beta[0], beta[1], atol=1e-9)  # both converged quadratically


def test_offset_of_each_entry(make_problem):
    design = DESIGNS["factor and covariate"]
    y, scale = counts_for(design)
    scales = scale * np.random.default_rng(5).lognormal(0.0, 0.3, y.shape)
    beta = make_problem(y, design, scales)
    coefficients = beta.beta(solve(beta, THETAS).b)
    for g, theta in enumerate(THETAS):
        expected = statsmodels_fit(y[g], design, theta, np.log(scales[g]))
        assert (np.abs(coefficients[g] - expected.params) / expected.bse).max() < 1e-6  # as above


@pytest.mark.parametrize("theta", [0.0, 0.2])
@pytest.mark.parametrize("name", ["factor", "factor and covariate"])
def test_separation(make_problem, name, theta):
    """A group without a count: the likelihood is bounded, its optimum at infinity."""
    design = DESIGNS[name]
    y, scale = counts_for(design, n_genes=3)
    y[:, design[:, 1] == 1.0] = 0.0
    thetas = np.full(3, theta)
    problem = make_problem(y, design, scale)
    found = solve(problem, thetas)
    assert found.converged.all()
    assert np.isfinite(found.b).all()
    assert (problem.beta(found.b)[:, 1] < -10.0).all()
    # the deviance is that of the other group alone: the empty one's tends to zero
    rest = design[:, 1] == 0.0
    keep = [column for column in range(design.shape[1]) if column != 1]
    alone = make_problem(y[:, rest], design[rest][:, keep], scale[rest])
    expected = alone.deviance(solve(alone, thetas).b, thetas)
    # the decrement left when the search ends, 1e-9, with the last step taken
    np.testing.assert_allclose(problem.deviance(found.b, thetas), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("ridge", [0.01, 0.3, 3.0])
def test_ridge_minimises_the_penalised_deviance(make_problem, ridge):
    design = DESIGNS["three levels"]
    y, scale = counts_for(design, n_genes=3)
    thetas = np.array([0.0, 0.1, 2.0])
    weights = np.array([0.0, ridge, 2.0 * ridge])
    problem = make_problem(y, design, scale, ridge=weights)
    beta = problem.beta(solve(problem, thetas).b)
    for g, theta in enumerate(thetas):
        family = sm.families.NegativeBinomial(alpha=theta) if theta > 0 else sm.families.Poisson()

        def objective(b, g=g, family=family):
            mu = np.exp(design @ b) * scale
            return family.deviance(y[g], mu) + N * np.sum((weights * b) ** 2)

        reference = scipy.optimize.minimize(objective, beta[g] + 0.1, method="BFGS", options={"gtol": 1e-8})
        best = scipy.optimize.minimize(objective, reference.x, method="Nelder-Mead", options={"xatol": 1e-9})
        assert objective(beta[g]) <= best.fun + 1e-9  # what the search may leave, and more than it does
        np.testing.assert_allclose(beta[g], best.x, atol=1e-5)  # a simplex finds the root of 1e-12 at best


def test_strong_ridge_leaves_the_intercept_alone():
    data = simulate(8, 120, seed=1)
    weak, strong = fit(data, "~condition"), fit(data, "~condition", ridge=1e4)
    some = np.isfinite(weak["beta"].values).all(1)
    # penalty 8e8 b^2 against deviances of a few thousand
    assert np.abs(strong["beta"].values[some, 1]).max() < 1e-4
    only = fit(data, "~1", overdispersion=strong["dispersion_trend"].fillna(0.0).values, shrinkage=False)
    np.testing.assert_allclose(strong["beta"].values[some, 0], only["beta"].values[some, 0], atol=1e-3)


# ---- the search ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["factor", "interaction"])
@pytest.mark.parametrize("away", [3.0, 10.0, 30.0])
def test_terrible_starts(make_problem, name, away):
    """From e^-30 to e^30 of the right mean the search comes home, or says that it did not."""
    design = DESIGNS[name]
    y, scale = counts_for(design)
    problem = make_problem(y, design, scale)
    right = solve(problem, THETAS).b
    rng = np.random.default_rng(int(away))
    for _ in range(5):
        shift = np.linalg.qr(problem.basis.rows)[0].T @ rng.uniform(-away, away, problem.basis.rows.shape[0])
        found = solve(problem, THETAS, right + shift)
        assert np.isfinite(found.b).all()
        near = found.converged
        assert near.all() or away > 10.0
        # relative to the coefficients' own size; both searches end at rounding
        np.testing.assert_allclose(found.b[near], right[near], rtol=1e-6, atol=1e-6)


def test_a_search_cut_short_says_so(make_problem):
    design = DESIGNS["factor"]
    y, scale = counts_for(design)
    problem = make_problem(y, design, scale)
    found = solve(problem, THETAS, np.zeros((THETAS.size, 2)) + 20.0, max_iterations=2)
    assert not found.converged.any()
    assert (found.iterations == 2).all()
    assert np.isfinite(found.b).all()


def test_the_deviance_never_rises_above_the_starts(make_problem):
    design = DESIGNS["factor and covariate"]
    y, scale = counts_for(design)
    problem = make_problem(y, design, scale)
    rng = np.random.default_rng(3)
    start = solve(problem, THETAS).b + rng.normal(0.0, 3.0, (THETAS.size, 3))
    before = problem.deviance(start, THETAS)
    for steps in (2, 4, 8, 100):
        after = problem.deviance(solve(problem, THETAS, start, max_iterations=steps).b, THETAS)
        assert (after <= before * (1.0 + 1e-12)).all()  # rounding
        before = after


def test_start_from_fit_projects(make_problem):
    """Onto the same model the projection is the fit itself."""
    design = DESIGNS["factor and covariate"]
    y, scale = counts_for(design)
    problem = make_problem(y, design, scale)
    b = solve(problem, THETAS).b
    log_mean = problem.model.log_mean(b)
    weight = problem.observations.fisher(problem.model.mean(b), THETAS, np.arange(THETAS.size))
    # a linear solve in an orthonormal basis whose weights differ by e^5
    np.testing.assert_allclose(start_from_fit(problem.model, log_mean, weight), b, rtol=1e-9, atol=1e-9)


@settings(max_examples=60)
@given(st.data())
def test_any_counts_converge(make_problem, data):
    n = data.draw(st.integers(4, 9))
    y = np.array(
        data.draw(st.lists(st.one_of(st.integers(0, 5), st.integers(0, 10**6)), min_size=n, max_size=n))
    )
    if not y.any():
        y[0] = 1
    theta = np.array([data.draw(st.sampled_from([0.0, 1e-6, 0.1, 10.0, 1e4]))])
    covariate = np.linspace(-1.0, 1.0, n) ** 3
    group = np.arange(n) % 2
    problem = make_problem(y, np.stack([np.ones(n), group, covariate][: data.draw(st.integers(1, 3))], 1))
    found = solve(problem, theta)
    assert found.converged.all()
    deviance = problem.deviance(found.b, theta)
    rng = np.random.default_rng(0)
    for size in (1e-3, 0.1, 1.0):  # convex: no neighbour is better; rounding, and the decrement left over
        near = found.b + size * rng.normal(size=(20, 1, problem.basis.size))
        others = np.array([problem.deviance(b, theta) for b in near])
        assert (others >= deviance * (1.0 - 1e-9) - 1e-8).all()


# ---- what must not change a result -----------------------------------------------------------------------

RESULTS = ("pval", "log2fc", "stat", "deviance", "dispersion", "ql_dispersion_shrunken", "mean")


def same(one, other, rtol, names=RESULTS):
    np.testing.assert_array_equal(one["status"].values, other["status"].values)
    for name in names:
        np.testing.assert_allclose(other[name].values, one[name].values, rtol=rtol, atol=1e-9, err_msg=name)


@pytest.fixture(scope="module")
def fitted(bulk):
    return fit(bulk, "~ batch + age + condition")


def test_order_of_samples(bulk, fitted):
    shuffled = bulk.isel(sample=np.random.default_rng(0).permutation(bulk.sizes["sample"]))
    # sums in another order; a dispersion's search stops at 1e-5, squared
    same(fitted, fit(shuffled, "~ batch + age + condition"), 1e-7)


def test_order_of_genes(bulk, fitted):
    order = np.random.default_rng(0).permutation(bulk.sizes["gene"])
    again = fit(bulk.isel(gene=order), "~ batch + age + condition")
    same(fitted.isel(gene=order), again, 1e-9)  # per gene the same arithmetic; sums across genes differ


@pytest.mark.parametrize(
    ("factor", "shift", "rtol"),
    # a covariate shifted by 1e6 keeps ten digits of itself
    [(1e6, 0.0, 1e-6), (1e-6, 0.0, 1e-6), (1.0, 100.0, 1e-6), (1.0, 1e6, 1e-5), (1e6, 1e6, 1e-6)],
)
def test_scale_and_centre_of_a_covariate(bulk, fitted, factor, shift, rtol):
    moved = bulk.assign(age=("sample", bulk["age"].values * factor + shift))
    again = fit(moved, "~ batch + age + condition")
    same(fitted, again, rtol)
    ok = (
        fitted["status"].values == 0
    )  # a separated gene's coefficients stop anywhere on their way to infinity
    slopes = [result["beta"].sel(coefficient="age").values[ok] for result in (fitted, again)]
    np.testing.assert_allclose(slopes[1] * factor, slopes[0], rtol=rtol, atol=1e-7)


def test_coding_of_a_factor(bulk, fitted):
    """Another reference level, sum coding and cell means span the same space."""
    reference = fit(bulk, "~ batch + age + condition", reference={"condition": "B", "batch": "batch2"})
    same(fitted, reference, 1e-7, [name for name in RESULTS if name != "log2fc"])
    np.testing.assert_allclose(reference["log2fc"], -fitted["log2fc"], atol=1e-7)
    means = fit(bulk, "~ 0 + condition + batch + age", contrasts="condition[B] - condition[A]")
    same(fitted, means, 1e-7)
    matrix = fitted["design"].values @ np.random.default_rng(0).normal(size=(4, 4))
    rotated = fit(bulk, matrix, contrasts=None)
    same(fitted, rotated, 1e-6, ["deviance", "dispersion", "ql_dispersion_shrunken", "mean"])


def test_samples_twice(bulk):
    """Twice the samples at a given dispersion: the deviance doubles, the coefficients stay."""
    options = {"overdispersion": 0.1, "shrinkage": False, "size_factors": "size_factor_true"}
    once = fit(bulk, "~ age + condition", **options)
    doubled = bulk.isel(sample=np.tile(np.arange(bulk.sizes["sample"]), 2))
    doubled = doubled.assign_coords(sample=np.arange(doubled.sizes["sample"]))
    twice = fit(doubled, "~ age + condition", **options)
    np.testing.assert_allclose(twice["deviance"], 2.0 * once["deviance"], rtol=1e-8)
    np.testing.assert_allclose(twice["stat"], 2.0 * once["stat"], rtol=1e-6, atol=1e-7)
    once, twice = (result.isel(gene=once["status"].values == 0) for result in (once, twice))
    np.testing.assert_allclose(twice["beta"], once["beta"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(twice["standard_error"] * np.sqrt(2), once["standard_error"], rtol=1e-5)


def test_scaled_size_factors_shift_the_intercept_only(bulk):
    factors = bulk["size_factor_true"].values
    one = fit(bulk, "~ age + condition", size_factors=factors, overdispersion=0.1, shrinkage=False)
    other = fit(bulk, "~ age + condition", size_factors=7.0 * factors, overdispersion=0.1, shrinkage=False)
    moved = one["beta"].values - [np.log(7.0), 0.0, 0.0]
    ok = one["status"].values == 0
    np.testing.assert_allclose(other["beta"].values[ok], moved[ok], atol=1e-6)
    same(one, other, 1e-7, ["deviance", "stat", "mean"])
