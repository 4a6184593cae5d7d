"""The scalar formulas of the negative binomial, each written once.

Every function takes and returns floats. They run as ordinary Python (for reading
and debugging) and are compiled into the kernels that loop over samples.

Notation: count ``y`` (a fraction is allowed), mean ``mu``, overdispersion ``theta``
with ``Var(y) = mu + theta mu^2``. All logarithms are natural.
"""

from __future__ import annotations

import math

from numba.extending import register_jitable

from xdelnx.scalars.logarithms import artanh_tail, log1p_over

# Sums over j < y are direct up to here and Euler-Maclaurin beyond (relative error 1e-12).
DIRECT_TERMS = 12


@register_jitable
def score_weight(y: float, mu: float, theta: float) -> tuple[float, float]:
    """Derivative of the log likelihood in log(mu), and minus the second one (observed information).

    The second is positive for every count, so the likelihood is concave in the coefficients.
    """
    shrink = 1.0 / (1.0 + theta * mu)
    return (y - mu) * shrink, mu * (1.0 + theta * y) * shrink * shrink


@register_jitable
def fisher_weight(mu: float, theta: float) -> float:
    """Return the expected information in log(mu): ``mu / (1 + theta mu)``."""
    return mu * (1.0 / (1.0 + theta * mu))


@register_jitable(forceinline=True)
def unit_deviance(y: float, mu: float, theta: float) -> float:
    """Twice the log likelihood ratio of the saturated model against ``mu``; never negative.

    Its logarithms are those of y (1 + theta mu) / (mu (1 + theta y)) and of (1 + theta y) / (1 + theta mu), both
    exact near y = mu. At y = 0 the first is finite here (about -709), so that y times it is 0.
    """
    gap = y - mu
    ratio = log1p_over(gap / (mu * (1.0 + theta * y)), 1.0)
    pooled = log1p_over(abs(gap) / (1.0 + theta * min(y, mu)), theta)
    return max(2.0 * (y * ratio - (pooled if gap > 0.0 else -pooled)), 0.0)


@register_jitable(forceinline=True)
def deviance_difference(y: float, mu: float, theta: float) -> float:
    """``unit_deviance(y, mu, theta) - unit_deviance(0, mu, theta)``."""
    return 2.0 * (y * log1p_over((y - mu) / (mu * (1.0 + theta * y)), 1.0) - log1p_over(y, theta))


@register_jitable(forceinline=True)
def deviance_of_mean(y: float, mu: float, log_mu: float, theta: float) -> float:
    """Terms of `unit_deviance` that hold the mean; linear in y. With `deviance_of_count` they are all of it."""
    pooled = log1p_over(mu, theta)
    return 2.0 * (y * (theta * pooled - log_mu) + pooled)


@register_jitable(forceinline=True)
def deviance_of_count(y: float, theta: float) -> float:
    """Terms of `unit_deviance` of a count above 0 that hold no mean."""
    pooled = log1p_over(y, theta)
    return 2.0 * (y * (log1p_over(y - 1.0, 1.0) - theta * pooled) - pooled)


@register_jitable(forceinline=True)
def start_terms(total: float, scale: float, size: float, rate: float, theta: float) -> tuple[float, float]:
    """Weight and working response, as log of the mean at scale 1, of ``size`` samples in a first step.

    Their counts and scales add up to ``total`` and ``scale``. The mean it starts from is theirs with one more
    sample of the gene's overall rate, which is positive: of one sample, halfway between the two.
    """
    one = scale / size
    mean = (total + rate * one) / (scale + one)
    return size * fisher_weight(mean * one, theta), log1p_over(mean - 1.0, 1.0) + total / (mean * scale) - 1.0


@register_jitable(forceinline=True)
def dispersion_mean_part(mu: float, theta: float) -> tuple[float, float]:
    """First and second derivative in theta of ``-log1p(theta mu) / theta``, the likelihood of a zero.

    With ``z = theta mu``, ``(log1p(z) - z/(1+z)) / theta^2`` and ``(z^2/(1+z)^2 - 2 log1p(z) + 2 z/(1+z)) / theta^3``.
    In s = z/(2+z) everything that cancels is gone: z/(1+z) = 2s/(1+s), log1p(z) = 2 artanh(s). Exact down to theta = 0.
    """
    z = theta * mu
    half = 1.0 / (2.0 + z)
    h = mu * half
    shrink = (1.0 + 0.5 * z) * (1.0 / (1.0 + z))  # 1 / (1 + s)
    tail = artanh_tail(z)
    return 2.0 * h * h * (shrink + z * half * tail), -4.0 * h * h * h * (shrink * shrink + tail)


@register_jitable
def dispersion_cross_part(y: float, mu: float, theta: float) -> tuple[float, float]:
    """First and second derivative in theta of the terms that hold both count and mean, ``-y log1p(theta mu)``."""
    shrink = fisher_weight(mu, theta)
    return -y * shrink, y * shrink * shrink


@register_jitable
def ratio_term(j: float, theta: float) -> float:
    """``j / (1 + theta j)``, whose sum over j < y is the derivative in theta of the terms without the mean.

    Minus the sum of its squares is the second derivative. (digamma(y + 1/theta) - digamma(1/theta),
    written so that nothing cancels.)
    """
    return j / (1.0 + theta * j)


@register_jitable(forceinline=True)
def ratio_sums(y: float, theta: float) -> tuple[float, float]:
    """Euler-Maclaurin form of the sums over j < y of `ratio_term` and of its square.

    Up to constants that do not depend on ``y``: only differences between two arguments mean
    something, and those are exact to rounding where both are at least `DIRECT_TERMS`.
    """
    z = theta * y
    s = 1.0 / (1.0 + z)
    half = 1.0 / (2.0 + z)
    h = y * half
    rise = 1.0 + 0.5 * z  # 1 / (1 - r) for r = z / (2 + z)
    tail = artanh_tail(z)
    # (z - log1p(z)) / theta^2 and (2 z - 2 log1p(z) - z^2/(1+z)) / theta^3, as in `dispersion_mean_part`
    first = 2.0 * h * h * (rise - z * half * tail)
    second = 4.0 * h * h * h * (rise * rise * s - tail)
    t = theta * s
    f, t2, s2 = y * s, t * t, s * s
    first += s2 * (1.0 / 12.0 - t2 * (1.0 / 120.0 - t2 * (1.0 / 252.0 - t2 / 240.0))) - 0.5 * f
    bernoulli = (1.0 - 2.0 * s) / 60.0 - t2 * ((1.0 - 3.0 * s) / 126.0 - t2 * (1.0 - 4.0 * s) / 120.0)
    second += f * s2 / 6.0 - t * s2 * s * bernoulli - 0.5 * f * f
    return first, second


@register_jitable
def below_direct(y: float, theta: float) -> tuple[float, float]:
    """Sums over j < y of `ratio_term` and of its square for ``y`` below `DIRECT_TERMS`, fractions too."""
    first = 0.0
    second = 0.0
    if y == math.floor(y):
        for j in range(int(y)):
            term = ratio_term(j, theta)
            first += term
            second += term * term
        return first, second
    # A fraction: from above down by the recurrence F(y) = F(y + 1) - term(y), as digamma does.
    while y < DIRECT_TERMS:
        term = ratio_term(y, theta)
        first -= term
        second -= term * term
        y += 1.0
    high = ratio_sums(y, theta)
    low = ratio_sums(float(DIRECT_TERMS), theta)
    head = below_direct_head(theta)
    return first + high[0] - low[0] + head[0], second + high[1] - low[1] + head[1]


@register_jitable
def below_direct_head(theta: float) -> tuple[float, float]:
    """Sums over j < `DIRECT_TERMS` of `ratio_term` and of its square."""
    first = 0.0
    second = 0.0
    for j in range(DIRECT_TERMS):
        term = ratio_term(j, theta)
        first += term
        second += term * term
    return first, second
