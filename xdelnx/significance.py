"""From deviances and coefficients to test statistics, p-values and their adjustment."""

from __future__ import annotations

import numpy as np
from scipy.special import chdtrc, fdtrc, ndtri, stdtrit

LARGEST_LOG2FC = 10.0
CONFIDENCE = 0.95  # of intervals


def quasi_likelihood_test(
    deviance_drop: np.ndarray, df1: int, ql_dispersion_shrunken: np.ndarray, df2: float
) -> tuple[np.ndarray, np.ndarray]:
    """F statistic and upper tail of F(df1, df2) of a drop in deviance (Lund et al. 2012).

    A deviance that falls by less than nothing did so by rounding and counts as no drop.
    """
    statistic = np.maximum(deviance_drop, 0.0) / df1 / ql_dispersion_shrunken
    if np.isinf(df2):
        return statistic, chdtrc(df1, df1 * statistic)
    return statistic, fdtrc(df1, df2, statistic)


def likelihood_ratio_test(deviance_drop: np.ndarray, df1: int) -> tuple[np.ndarray, np.ndarray]:
    """Chi-squared statistic and upper tail of a drop in deviance."""
    statistic = np.maximum(deviance_drop, 0.0)
    return statistic, chdtrc(df1, statistic)


def benjamini_hochberg(pval: np.ndarray) -> np.ndarray:
    """Adjust along the last axis over the finite p-values; NaN stays NaN (Benjamini & Hochberg 1995)."""
    if pval.size == 0:  # no contrast
        return pval.copy()
    return np.apply_along_axis(_benjamini_hochberg, -1, pval)


def _benjamini_hochberg(pval: np.ndarray) -> np.ndarray:
    adjusted = np.full(pval.shape, np.nan)
    order = np.flatnonzero(np.isfinite(pval))
    order = order[np.argsort(pval[order], kind="stable")]
    ascending = pval[order] * order.size / np.arange(1, order.size + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(ascending[::-1])[::-1], 1.0)
    return adjusted


def log2_fold_change(coef: np.ndarray) -> np.ndarray:
    """Natural log to log2, clipped to +-10."""
    return np.clip(coef / np.log(2.0), -LARGEST_LOG2FC, LARGEST_LOG2FC)


def confidence_interval(
    estimate: np.ndarray, standard_error: np.ndarray, df2: float
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of 95 % by Student's t, or the normal where ``df2`` is infinite: lower and upper ends."""
    upper = 0.5 + 0.5 * CONFIDENCE
    half = standard_error * (ndtri(upper) if np.isinf(df2) else stdtrit(df2, upper))
    return estimate - half, estimate + half
