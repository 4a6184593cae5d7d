"""The scalar formulas of the negative binomial, each written once.

Every function takes and returns floats. They run as ordinary Python (for reading
and debugging) and are compiled into the kernels that loop over samples.

Notation: count ``y`` (a fraction is allowed), mean ``mu``, overdispersion ``theta``
with ``Var(y) = mu + theta mu^2``. All logarithms are natural.
"""

from __future__ import annotations

import math

from numba.extending import register_jitable

# Below this overdispersion the deviance is the Poisson deviance to rounding.
POISSON_THETA = 1e-6
# Sums over j < y are direct up to here and Euler-Maclaurin beyond (relative error 1e-12).
DIRECT_TERMS = 12
# Below this argument, differences of logarithms are taken from their series (11 terms: 1e-13).
SERIES_BELOW = 0.05


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
    return mu / (1.0 + theta * mu)


@register_jitable
def unit_deviance(y: float, mu: float, theta: float) -> float:
    """Twice the log likelihood ratio of the saturated model against ``mu``; never negative."""
    if theta < POISSON_THETA:
        deviance = mu - y
        if y > 0.0:
            deviance += y * math.log(y / mu)
        return max(2.0 * deviance, 0.0)
    if y <= 0.0:
        return 2.0 * math.log1p(theta * mu) / theta
    # log of y (1 + theta mu) / (mu (1 + theta y)) and of (1 + theta y) / (1 + theta mu), exact near y = mu
    ratio = math.log1p((y - mu) / (mu * (1.0 + theta * y)))
    pooled = math.log1p(theta * (y - mu) / (1.0 + theta * mu))
    return max(2.0 * (y * ratio - pooled / theta), 0.0)


@register_jitable
def deviance_of_count(y: float, theta: float) -> float:
    """Part of ``unit_deviance(y, mu) - unit_deviance(0, mu)`` that holds no mean, for y > 0.

    The other part is `deviance_of_mean`. Their sum cancels where counts are large: for small ones only.
    """
    if theta < POISSON_THETA:
        return 2.0 * (y * math.log(y) - y)
    return 2.0 * (y * math.log(y) - (y + 1.0 / theta) * math.log1p(theta * y))


@register_jitable
def deviance_of_mean(y: float, mu: float, theta: float) -> float:
    """Part of ``unit_deviance(y, mu) - unit_deviance(0, mu)`` that holds the mean."""
    return -2.0 * y * math.log(mu if theta < POISSON_THETA else mu / (1.0 + theta * mu))


@register_jitable
def start_terms(y: float, scale: float, rate: float, theta: float) -> tuple[float, float]:
    """Weight and weighted working response, as log of the mean at scale 1, of a first least-squares step.

    The mean it starts from is halfway between the count and the gene's overall rate, which is positive.
    """
    mu = 0.5 * (y + rate * scale)
    w = fisher_weight(mu, theta)
    return w, w * (math.log(mu / scale) + (y - mu) / mu)


@register_jitable
def dispersion_mean_part(mu: float, theta: float) -> tuple[float, float]:
    """First and second derivative in theta of ``-log1p(theta mu) / theta``, the likelihood of a zero.

    ``(log1p(z) - z/(1+z)) / theta^2`` with ``z = theta mu``; exact down to theta = 0.
    """
    z = theta * mu
    if z > SERIES_BELOW:
        shrink = mu / (1.0 + z)
        gap = math.log1p(z) - z / (1.0 + z)
        first = gap / (theta * theta)
        return first, (theta * theta * shrink * shrink - 2.0 * gap) / (theta * theta * theta)
    first = 0.0
    second = 0.0
    for k in range(12, 1, -1):
        first = (k - 1.0) / k - z * first
        if k > 2:
            second = (k - 1.0) * (k - 2.0) / k - z * second
    return mu * mu * first, -mu * mu * mu * second


@register_jitable
def dispersion_cross_part(y: float, mu: float, theta: float) -> tuple[float, float]:
    """First and second derivative in theta of the terms that hold both count and mean, ``-y log1p(theta mu)``."""
    shrink = mu / (1.0 + theta * mu)
    return -y * shrink, y * shrink * shrink


@register_jitable
def ratio_term(j: float, theta: float) -> float:
    """``j / (1 + theta j)``, whose sum over j < y is the derivative in theta of the terms without the mean.

    Minus the sum of its squares is the second derivative. (digamma(y + 1/theta) - digamma(1/theta),
    written so that nothing cancels.)
    """
    return j / (1.0 + theta * j)


@register_jitable
def ratio_sums(y: float, theta: float) -> tuple[float, float]:
    """Euler-Maclaurin form of the sums over j < y of `ratio_term` and of its square.

    Up to constants that do not depend on ``y``: only differences between two arguments mean
    something, and those are exact to rounding where both are at least `DIRECT_TERMS`.
    """
    z = theta * y
    if z > SERIES_BELOW:
        gap = z - math.log1p(z)
        first = gap / (theta * theta)
        second = (2.0 * gap - z * z / (1.0 + z)) / (theta * theta * theta)
    else:
        first = 0.0
        second = 0.0
        for k in range(12, 1, -1):
            first = 1.0 / k - z * first
            if k > 2:
                second = (k - 2.0) / k - z * second
        first *= y * y
        second *= y * y * y
    s = 1.0 / (1.0 + z)
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
