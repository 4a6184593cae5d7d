"""Deviances and residual degrees of freedom that hold for small counts, too.

The unit deviance of a small count is no chi-squared variable on one degree of freedom. With its
exact mean k1 and variance k2, ``2 k1 / k2`` times the deviance has the mean and the variance of a
chi-squared variable on ``2 k1^2 / k2`` (Chen, Chen, Lun, Baldoni & Smyth 2025, doi:10.1093/nar/gkaf018). A fitted
mean takes the leverage h off the expected deviance, ``(1 - h) k1`` of large counts. Of small ones what is
left is the deviance's exact mean given the total of the ``1 / h`` samples that share a mean, so that the
adjusted deviance's expectation is its degrees of freedom there, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import digamma, logit, polygamma

from xdelnx.kernels.dense import SMALLEST_MEAN
from xdelnx.kernels.moments import deviance_moments, shared_total_means, unit_deviances

STEP = 0.05  # of log mean between points of the table: a straight line between them is good to 1e-4
LARGEST_MEAN = (
    2000.0  # summed up to here (less for large overdispersions), and towards the gamma limit as 1 / mean
)
LARGEST_TOTAL = 400.0  # a total's exact means up to here, and towards (1 - h) k1 as 1 / total
SHARES = np.linspace(-12.0, 6.0, 73)  # logit of the share
FEW_TOTALS = 12  # every total up to here


@dataclass(frozen=True)
class DevianceMoments:
    """Tables of the unit deviance's moments at one overdispersion.

    Parameters
    ----------
    log_mean
        Points of log mean.
    log_weight, mean
        There: logarithm of ``2 k1 / k2``; ``k1``.
    limit
        (2,) k1 and k2 of large means.
    remaining
        Spline of ``E d / ((1 - h) k1)`` given the total, in its logarithm and in logit(h).
    """

    log_mean: np.ndarray
    log_weight: np.ndarray
    mean: np.ndarray
    limit: np.ndarray
    remaining: Any

    def weight(self, mu: np.ndarray) -> np.ndarray:
        """``2 k1 / k2``, by which a deviance is multiplied."""
        return np.exp(self._at(mu, self.log_weight, np.log(2.0 * self.limit[0] / self.limit[1])))

    def expected(self, mu: np.ndarray, leverage: np.ndarray) -> np.ndarray:
        """Expected deviance of a count at its fitted mean; 0 where the leverage is 1."""
        h = np.clip(leverage, 1e-9, 1.0 - 1e-9)
        total = mu / h
        within = np.clip(total, 1.0, LARGEST_TOTAL)
        ratio = self.remaining.ev(np.log(within), np.clip(logit(h), SHARES[0], SHARES[-1]))
        ratio = 1.0 + (ratio - 1.0) * within / np.maximum(total, within)
        k1 = self._at(np.where(total < 1.0, h, mu), self.mean, self.limit[0])
        return (1.0 - h) * k1 * ratio * np.minimum(total, 1.0)

    def _at(self, mu: np.ndarray, table: np.ndarray, limit: float) -> np.ndarray:
        x = np.log(np.maximum(mu, SMALLEST_MEAN))
        beyond = np.exp(np.minimum(self.log_mean[-1] - x, 0.0))
        return limit + (np.interp(x, self.log_mean, table) - limit) * beyond


@lru_cache(maxsize=8)
def moments_at(theta: float) -> DevianceMoments:
    """Make the tables of an overdispersion: a tenth of a second."""
    x = np.arange(np.log(SMALLEST_MEAN), np.log(LARGEST_MEAN / (1.0 + theta)) + STEP, STEP)
    k1, k2 = deviance_moments(np.exp(x), theta).T
    totals = np.unique(np.geomspace(FEW_TOTALS, LARGEST_TOTAL, 40).round())
    totals = np.concatenate([np.arange(1.0, FEW_TOTALS), totals])
    shares = 1.0 / (1.0 + np.exp(-SHARES))
    exact = shared_total_means(totals, shares, theta)
    plain = np.exp(np.interp(np.log(totals[:, None] * shares), x, np.log(k1)))
    ratio = exact / (plain * (1.0 - shares))
    from scipy.interpolate import RectBivariateSpline

    spline = RectBivariateSpline(np.log(totals), SHARES, ratio, kx=3, ky=3)
    return DevianceMoments(x, np.log(2.0 * k1 / k2), k1, _gamma_limit(theta), spline)


def _gamma_limit(theta: float) -> np.ndarray:
    """Mean and variance of the unit deviance of large means, that of a gamma variable of shape 1 / theta."""
    if theta < 1e-4:  # where the differences below cancel
        return np.array([1.0 + theta / 6.0, 2.0 + 2.0 * theta / 3.0])
    a = 1.0 / theta
    return np.array([2.0 * a * (np.log(a) - digamma(a)), 4.0 * a * a * (polygamma(1, a) - theta)])


def adjusted_deviance(
    y: np.ndarray, mu: np.ndarray, leverage: np.ndarray, theta: float, weights: np.ndarray | float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Bias-adjusted deviance of each gene, and its degrees of freedom: (gene,) each.

    Parameters
    ----------
    y, mu, leverage
        (gene, sample) counts, fitted means and leverages.
    theta
        Overdispersion, the same for all genes.
    weights
        (1 or gene, sample) of the counts: as the precisions of their deviances, so that those above 0 change no
        degrees of freedom.
    """
    moments = moments_at(float(theta))
    weight = moments.weight(mu)
    deviances = unit_deviances(y, np.maximum(mu, 1e-300), np.full(y.shape[0], float(theta)))
    expected = np.where(weights > 0.0, weight * moments.expected(mu, leverage), 0.0)
    return np.sum(weights * weight * deviances, axis=1), np.sum(expected, axis=1)
