"""Each scalar formula against mpmath at 50 digits, derivatives against mpmath's own differentiation."""

import math

import mpmath
import numba
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from xdelnx.scalars import negative_binomial as nb

mpmath.mp.dps = 50
EPS = np.finfo(float).eps

THETAS = st.one_of(st.just(0.0), st.floats(-12.0, 6.0).map(lambda e: 10.0**e))
MEANS = st.floats(-10.0, 8.0).map(lambda e: 10.0**e)
COUNTS = st.one_of(
    st.integers(0, 40).map(float),
    st.integers(0, 10**7).map(float),
    st.floats(0.0, 1e5, allow_subnormal=False).filter(lambda y: y == 0.0 or y > 1e-6),
)


def log_likelihood(y, mu, theta):
    """The part of log P(y) that depends on mu and theta, by its definition."""
    y, mu, theta = map(mpmath.mpf, (y, mu, theta))
    if theta == 0:
        return y * mpmath.log(mu) - mu
    r = 1 / theta
    return (
        mpmath.loggamma(y + r)
        - mpmath.loggamma(r)
        - (y + r) * mpmath.log(1 + theta * mu)
        + y * mpmath.log(theta * mu)
    )


def saturated(y, theta):
    return mpmath.mpf(0) if y == 0 else log_likelihood(y, y, theta)


def sums_below(y, theta):
    """Sums over j < y of j/(1 + theta j) and of its square, continued to fractions by digamma."""
    y, theta = mpmath.mpf(y), mpmath.mpf(theta)
    if theta == 0:
        return y * (y - 1) / 2, (y - 1) * y * (2 * y - 1) / 6
    r = 1 / theta
    with mpmath.workdps(120):  # what cancels at theta = 1e-12 and y = 1e7 is 60 digits long
        digammas = mpmath.psi(0, y + r) - mpmath.psi(0, r)
        trigammas = mpmath.psi(1, y + r) - mpmath.psi(1, r)
        return r * (y - r * digammas), r**2 * (y - 2 * r * digammas - r**2 * trigammas)


@given(COUNTS, MEANS, THETAS)
@example(0.0, 1e-10, 1e6)
@example(3.0, 3.0, 0.1)
def test_score_and_weight_are_derivatives_in_log_mean(y, mu, theta):
    def along(eta):
        return log_likelihood(y, mpmath.exp(eta), theta)

    score, weight = nb.score_weight(y, mu, theta)
    eta = mpmath.log(mpmath.mpf(mu))
    first, second = mpmath.diff(along, eta), mpmath.diff(along, eta, 2)
    # a handful of roundings, each relative to the larger of the terms
    assert score == pytest.approx(float(first), rel=8 * EPS, abs=8 * EPS * max(y, mu) / (1 + theta * mu))
    assert weight == pytest.approx(float(-second), rel=1e-14)  # mpmath's second difference keeps 16 digits


@given(MEANS, THETAS)
def test_fisher_weight_is_the_mean_of_the_weight(mu, theta):
    # E[mu (1 + theta y) / (1 + theta mu)^2] at E[y] = mu; the observed weight is linear in y
    assert nb.fisher_weight(mu, theta) == pytest.approx(nb.score_weight(mu, mu, theta)[1], rel=8 * EPS)


@given(COUNTS, MEANS, THETAS)
@example(0.0, 1e-10, 1e-6)
@example(1e7, 1e7 + 1.0, 1e6)
@example(1e-5, 1e8, 1e6)
def test_unit_deviance(y, mu, theta):
    exact = 2 * (saturated(y, theta) - log_likelihood(y, mu, theta))
    deviance = nb.unit_deviance(y, mu, theta)
    assert deviance >= 0.0
    # near y = mu two terms of size |y - mu| / (1 + theta mu) cancel, each good to a few roundings
    lost = abs(y - mu) / (1 + theta * min(y, mu))
    assert deviance == pytest.approx(float(exact), rel=1e-13, abs=16 * EPS * lost)


@given(COUNTS.filter(lambda y: y > 0.0), MEANS, THETAS)
def test_deviance_difference(y, mu, theta):
    of_zero = -2 * log_likelihood(0.0, mu, theta)
    exact = 2 * (saturated(y, theta) - log_likelihood(y, mu, theta)) - of_zero
    m, ratio = (
        mpmath.mpf(mu),
        abs(mpmath.log(y * (1 + theta * mpmath.mpf(mu)) / (mpmath.mpf(mu) * (1 + theta * y)))),
    )
    # two terms, each good to a few roundings, and a logarithm of 1 + x, x near -1 where the count is far below
    lost = y * ratio + max(m, y) / (1 + theta * y) + y
    assert nb.deviance_difference(y, mu, theta) == pytest.approx(
        float(exact), rel=0.0, abs=float(16 * EPS * lost)
    )


def test_unit_deviance_is_zero_at_the_count():
    for y in (0.3, 1.0, 17.0, 1e7):
        for theta in (0.0, 1e-6, 0.1, 1e6):
            assert nb.unit_deviance(y, y, theta) == 0.0


def derivatives_in_theta(function, theta):
    with mpmath.workdps(120):  # at theta = 1e-12 most digits cancel
        return tuple(mpmath.diff(function, mpmath.mpf(theta), k) for k in (1, 2))


@given(MEANS, THETAS)
@example(2**0.5 - 1.0, 1.0)  # either side of where the series alone ends
@example(math.nextafter(2**0.5 - 1.0, 1.0), 1.0)
def test_dispersion_mean_part(mu, theta):
    m = mpmath.mpf(mu)
    exact = m**2 / 2, -2 * m**3 / 3
    if theta > 0.0:
        exact = derivatives_in_theta(lambda t: -mpmath.log(1 + t * m) / t, theta)
    got = nb.dispersion_mean_part(mu, theta)
    # terms of one sign, and a tail that is good to 5e-14 (its own test)
    assert got[0] == pytest.approx(float(exact[0]), rel=1e-14)
    assert got[1] == pytest.approx(float(exact[1]), rel=3e-14)


@given(COUNTS, MEANS, THETAS)
def test_dispersion_cross_part(y, mu, theta):
    m = mpmath.mpf(mu)
    exact = derivatives_in_theta(lambda t: -y * mpmath.log(1 + t * m), theta)
    got = nb.dispersion_cross_part(y, mu, theta)
    assert got[0] == pytest.approx(float(exact[0]), rel=8 * EPS)
    assert got[1] == pytest.approx(float(exact[1]), rel=1e-14)


@given(st.integers(0, nb.DIRECT_TERMS - 1), THETAS)
def test_small_whole_counts_are_summed_directly(y, theta):
    first, second = sums_below(y, theta)
    got = nb.below_direct(float(y), theta)
    assert got[0] == pytest.approx(float(first), rel=1e-14)  # at most 11 terms of one sign
    assert got[1] == pytest.approx(float(second), rel=1e-14)


@given(st.floats(1e-6, nb.DIRECT_TERMS - 1e-6), THETAS)
def test_small_fractional_counts(y, theta):
    first, second = sums_below(y, theta)
    got = nb.below_direct(y, theta)
    # differences of sums up to 13 terms: relative to those, Euler-Maclaurin's 1e-12
    largest = sums_below(nb.DIRECT_TERMS + 1, theta)
    assert got[0] == pytest.approx(float(first), abs=1e-12 * float(largest[0]))
    assert got[1] == pytest.approx(float(second), abs=1e-12 * float(largest[1]))


@given(st.one_of(st.integers(12, 10**7).map(float), st.floats(12.0, 1e7)), THETAS)
@example(12.0, 0.05 / 12.0)
@example(1e7, 5e-9)
def test_large_counts_by_euler_maclaurin(y, theta):
    start = float(nb.DIRECT_TERMS)
    exact = [sums_below(y, theta)[k] - sums_below(start, theta)[k] for k in (0, 1)]
    high, low = nb.ratio_sums(y, theta), nb.ratio_sums(start, theta)
    for k in (0, 1):
        # relative to the larger of the two that are subtracted
        assert high[k] - low[k] == pytest.approx(float(exact[k]), abs=2e-12 * float(sums_below(y, theta)[k]))


@given(COUNTS, THETAS.filter(lambda theta: theta > 0.0))
def test_sums_are_derivatives_in_theta(y, theta):
    """Their definition: the terms of the log likelihood that hold the count alone."""
    assume(y <= 1e5)

    def count_part(t):
        return mpmath.loggamma(y + 1 / t) - mpmath.loggamma(1 / t) + y * mpmath.log(t)

    with mpmath.workdps(150):
        t = mpmath.mpf(theta)
        first, second = mpmath.diff(count_part, t), mpmath.diff(count_part, t, 2)
    exact = sums_below(y, theta)
    assert float(exact[0]) == pytest.approx(float(first), rel=1e-12, abs=1e-30)
    assert float(-exact[1]) == pytest.approx(float(second), rel=1e-12, abs=1e-30)


@given(COUNTS, MEANS, st.floats(0.1, 10.0), THETAS)
def test_start_terms_of_one_sample(y, rate, scale, theta):
    mu = (mpmath.mpf(y) + mpmath.mpf(rate) * mpmath.mpf(scale)) / 2
    exact = mpmath.log(mu / scale) + (y - mu) / mu
    weight, response = nb.start_terms(y, scale, 1.0, rate, theta)
    assert weight == pytest.approx(float(mu / (1 + theta * mu)), rel=16 * EPS)
    # log and quotient may cancel: relative to their sizes; a mean near 0 is rounded with 1 for the logarithm
    size = abs(float(mpmath.log(mu / scale))) + 2.0
    assert response == pytest.approx(float(exact), rel=0.0, abs=32 * EPS * (size + float(scale / mu)))


@given(st.integers(1, 1000), MEANS, THETAS)
def test_start_terms_of_many_samples(size, mean, theta):
    """Of samples at the overall rate: as many times the weight of one, and the log of the rate."""
    weight, response = nb.start_terms(size * mean, float(size), float(size), mean, theta)
    assert weight == pytest.approx(size * mean / (1 + theta * mean), rel=16 * EPS)
    assert response == pytest.approx(
        math.log(mean), rel=0.0, abs=32 * EPS * (2.0 + abs(math.log(mean)) + 1.0 / mean)
    )


FUNCTIONS = [
    (nb.score_weight, ("y", "mu", "theta")),
    (nb.fisher_weight, ("mu", "theta")),
    (nb.unit_deviance, ("y", "mu", "theta")),
    (nb.deviance_difference, ("y", "mu", "theta")),
    (nb.dispersion_mean_part, ("mu", "theta")),
    (nb.dispersion_cross_part, ("y", "mu", "theta")),
    (nb.ratio_term, ("y", "theta")),
    (nb.ratio_sums, ("y", "theta")),
    (nb.below_direct, ("y", "theta")),
]


@pytest.mark.parametrize(("function", "names"), FUNCTIONS, ids=[f.__name__ for f, _ in FUNCTIONS])
def test_compiled_is_the_same(function, names):
    compiled = numba.njit(function)
    rng = np.random.default_rng(0)
    for _ in range(500):
        y = float(rng.integers(0, 30)) if rng.random() < 0.5 else 10.0 ** rng.uniform(-3, 6)
        y = y % nb.DIRECT_TERMS if function is nb.below_direct else y
        values = {"y": y, "mu": 10.0 ** rng.uniform(-8, 7), "theta": 10.0 ** rng.uniform(-10, 5)}
        values |= {"rate": 10.0 ** rng.uniform(-5, 5), "scale": rng.lognormal()}
        arguments = [values[name] for name in names]
        # the same operations in the same order; the two mathematical libraries' logarithms differ in the
        # last digit, which a difference of them shows
        np.testing.assert_allclose(compiled(*arguments), function(*arguments), rtol=1e-10)
