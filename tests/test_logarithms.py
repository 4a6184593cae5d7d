"""Logarithms for vector registers, against 60 digits."""

import math

import mpmath
import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xdelnx.scalars import logarithms

EPS = 2.0**-52
ROOT = 2.0**0.5
ARGUMENTS = st.one_of(
    st.floats(-1.0 + 1e-12, 1.0),
    st.floats(-300.0, 280.0).map(lambda e: 10.0**e),
    st.floats(-300.0, -1.0).map(lambda e: -(10.0**e)),
)
# where the exponent of 1 + z changes
EDGES = [
    ROOT - 1.0,
    np.nextafter(ROOT - 1.0, 1.0),
    np.nextafter(ROOT - 1.0, 0.0),
    ROOT / 2 - 1.0,
    2 * ROOT - 1.0,
]


def at_the_edges(test):
    for z in EDGES:
        test = example(float(z))(test)
    return test


@at_the_edges
@given(ARGUMENTS)
def test_log1p(z):
    with mpmath.workdps(400):
        exact = mpmath.log1p(mpmath.mpf(z))
    # near -1 the sum 1 + z is what is rounded
    lost = EPS / (1.0 + z)
    assert logarithms.log1p_over(z, 1.0) == pytest.approx(
        float(exact), rel=4 * EPS, abs=lost if z < -0.5 else 0.0
    )


@given(ARGUMENTS.filter(lambda z: z > -0.5), st.floats(-16.0, 16.0).map(lambda e: 10.0**e))
def test_log1p_over(z, theta):
    w = z / theta
    with mpmath.workdps(400):
        exact = mpmath.log1p(mpmath.mpf(theta) * mpmath.mpf(w)) / mpmath.mpf(theta)
    assert logarithms.log1p_over(w, theta) == pytest.approx(float(exact), rel=8 * EPS)


@given(st.floats(-1e6, 1e6))
def test_log1p_over_zero_is_its_limit(w):
    assert logarithms.log1p_over(w, 0.0) == w


@at_the_edges
@given(ARGUMENTS.filter(lambda z: z > -1.0 + 1e-6 and abs(z) > 1e-100))
def test_artanh_tail(z):
    with mpmath.workdps(700):
        s = mpmath.mpf(z) / (2 + mpmath.mpf(z))
        exact = (mpmath.atanh(s) / s - 1) / s**2
    # at |s| = 0.17, where the series ends, (log1p(z) / 2s - 1) is 0.01: two digits go
    assert logarithms.artanh_tail(z) == pytest.approx(float(exact), rel=5e-14)


def test_artanh_tail_at_zero():
    assert logarithms.artanh_tail(0.0) == 1.0 / 3.0


@given(st.floats(-300.0, 300.0))
@example(0.0)
@example(0.5 * math.log(2.0))
@example(-1.5 * math.log(2.0))
def test_exponential(x):
    with mpmath.workdps(60):
        exact = mpmath.exp(mpmath.mpf(x))
    # a rounding of x, and the series
    assert logarithms.exponential(x) == pytest.approx(float(exact), rel=(4 + abs(x)) * EPS)


@numba.njit(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def in_a_loop(z, out, tails, powers):
    for i in range(z.size):
        out[i] = logarithms.log1p_over(z[i], 1.0)
        tails[i] = logarithms.artanh_tail(z[i])
        powers[i] = logarithms.exponential(min(z[i], 300.0))


def test_in_vector_registers_it_is_the_same():
    z = np.concatenate([10.0 ** np.random.default_rng(0).uniform(-12, 12, 999), [0.0], EDGES])
    out, tails, powers = np.empty((3, z.size))
    in_a_loop(z, out, tails, powers)
    np.testing.assert_allclose(
        out, np.log1p(z), rtol=4 * EPS
    )  # of NumPy's own, which is good to one rounding
    np.testing.assert_allclose(tails, [logarithms.artanh_tail(float(x)) for x in z], rtol=5e-14)
    np.testing.assert_allclose(powers, np.exp(np.minimum(z, 300.0)), rtol=304 * EPS)
