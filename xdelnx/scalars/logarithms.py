"""Logarithms and an exponential that a loop can take eight at a time, and differences that would cancel.

A call to the C library's ``log1p`` cannot run in vector registers; these few multiplications can, and
cost a fifth. With ``1 + z`` written as ``2^k (1 + f)``, near 1,

    log1p(z) = k log 2 + 2 artanh(f / (2 + f)),

and the series of artanh has no more than nine terms for ``|f / (2 + f)| < 0.172``. Exact to a few units in
the last place, also where z is tiny. NaN and infinity are not recognised: arguments are finite.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable

LOG_2 = math.log(2.0)
MANTISSA_BITS, EXPONENT_OF_ONE = 52, 1023  # of a float64
BITS_OF_ROOT_HALF = np.float64(math.sqrt(0.5)).view(np.int64)  # 1 + f is at least this, and below twice this
TINIEST_THETA = 1e-300  # what is divided by, for 0: only zeros are


@register_jitable(forceinline=True)
def binary_exponent(x: float) -> np.int64:
    """Return k for which ``x / 2^k`` is nearest to 1, for positive x."""
    # NumPy's scalars have the bits of a float, and Numba knows no other way to them.
    return (np.float64(x).view(np.int64) - BITS_OF_ROOT_HALF) >> np.int64(MANTISSA_BITS)


@register_jitable(forceinline=True)
def power_of_two(k: np.int64) -> float:
    """Return ``2^k``."""
    return np.int64((np.int64(EXPONENT_OF_ONE) + k) << np.int64(MANTISSA_BITS)).view(np.float64)


@register_jitable(forceinline=True)
def artanh_series(t: float) -> float:
    """``(artanh(r) / r - 1) / r^2`` with ``t = r^2`` below 0.0295: relative error 3e-15."""
    q = 1.0 / 13.0 + t * (1.0 / 15.0 + t * (1.0 / 17.0 + t / 19.0))
    return 1.0 / 3.0 + t * (1.0 / 5.0 + t * (1.0 / 7.0 + t * (1.0 / 9.0 + t * (1.0 / 11.0 + t * q))))


@register_jitable(forceinline=True)
def log1p_over(w: float, theta: float) -> float:
    """``log1p(theta w) / theta`` for ``theta w > -1``, and its limit ``w`` for ``theta = 0``."""
    z = theta * w
    k = binary_exponent(1.0 + z)
    scale = power_of_two(-k)
    inverse = 1.0 / max(theta, TINIEST_THETA)
    share = 1.0 / (2.0 + (z * scale + (scale - 1.0)))
    r = (z * scale + (scale - 1.0)) * share
    f_over_theta = w * scale + (scale - 1.0) * inverse
    return k * LOG_2 * inverse + 2.0 * f_over_theta * share * (1.0 + r * r * artanh_series(r * r))


@register_jitable(forceinline=True)
def artanh_tail(z: float) -> float:
    """``(artanh(s) / s - 1) / s^2`` with ``s = z / (2 + z)``, where ``2 artanh(s) = log1p(z)``; for z > -1.

    What is left of log1p(z) when the terms are gone that others cancel.
    """
    k = binary_exponent(1.0 + z)
    scale = power_of_two(-k)
    f = z * scale + (scale - 1.0)
    r = f / (2.0 + f)
    series = artanh_series(r * r)
    if k == 0:
        return series
    inverse = (2.0 + z) / z
    return ((0.5 * k * LOG_2 + r * (1.0 + r * r * series)) * inverse - 1.0) * inverse * inverse


@register_jitable(forceinline=True)
def exponential(x: float) -> float:
    """``exp(x)`` for x within +-700; NaN for what is not finite.

    With ``x = k log 2 + r``, r within half of log 2, that is ``2^k`` times the series of ``exp(r)``. As good as
    x is: a rounding of x itself changes the result as much as a few roundings here.
    """
    k = math.floor(x * (1.0 / LOG_2) + 0.5)
    r = x - k * LOG_2
    e = 1.0 / 39916800.0 + r * (1.0 / 479001600.0 + r / 6227020800.0)
    e = 1.0 / 40320.0 + r * (1.0 / 362880.0 + r * (1.0 / 3628800.0 + r * e))
    e = 1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0 + r * e))
    e = 1.0 + r * (1.0 + r * (1.0 / 2.0 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * e))))
    return power_of_two(np.int64(k)) * e + (x - x)
