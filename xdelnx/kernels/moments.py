"""Compiled sums for the moments of the unit deviance."""

from __future__ import annotations

import math

import numpy as np

from xdelnx.kernels.dense import compiled
from xdelnx.scalars.negative_binomial import unit_deviance

NEGLIGIBLE = -42.0  # log probability beyond the mean at which a sum ends


@compiled
def deviance_moments(mu: np.ndarray, theta: float) -> np.ndarray:
    """Mean and variance of the unit deviance of a negative binomial count at its own mean: (mean, 2)."""
    out = np.empty((mu.size, 2))
    for i in range(mu.size):
        z = theta * mu[i]
        log_p = -math.log1p(z) / theta if theta > 0.0 else -mu[i]
        first, second, y = 0.0, 0.0, 0.0
        while y <= mu[i] or log_p > NEGLIGIBLE:
            p, d = math.exp(log_p), unit_deviance(y, mu[i], theta)
            first += p * d
            second += p * d * d
            log_p += math.log(mu[i] * (1.0 + theta * y) / ((1.0 + z) * (y + 1.0)))
            y += 1.0
        out[i, 0] = first
        out[i, 1] = second - first * first
    return out


@compiled
def shared_total_means(totals: np.ndarray, shares: np.ndarray, theta: float) -> np.ndarray:
    """Mean of the unit deviance of a count at its share of a known total: (total, share).

    The other counts of the total make up the rest: beta-binomial, or binomial without overdispersion.
    """
    out = np.empty((totals.size, shares.size))
    for j in range(shares.size):
        h = shares[j]
        for i in range(totals.size):
            total, mu = totals[i], shares[j] * totals[i]
            log_p = 0.0  # of no count: the rest has all
            for k in range(int(total)):
                log_p += math.log((1.0 - h + theta * h * k) / (1.0 + theta * h * k))
            mean = 0.0
            for y in range(int(total) + 1):
                mean += math.exp(log_p) * unit_deviance(float(y), mu, theta)
                if y < total:
                    rest = 1.0 - h + theta * h * (total - y - 1.0)
                    log_p += math.log((total - y) / (y + 1.0) * h * (1.0 + theta * y) / rest)
            out[i, j] = mean
    return out


@compiled
def unit_deviances(y: np.ndarray, mu: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Unit deviance of each entry: (gene, sample); theta (gene,)."""
    out = np.empty(y.shape)
    for g in range(y.shape[0]):
        for i in range(y.shape[1]):
            out[g, i] = unit_deviance(y[g, i], mu[g, i], theta[g])
    return out
