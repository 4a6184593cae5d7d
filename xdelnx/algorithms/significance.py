"""From deviances and coefficients to test statistics, p-values and their adjustment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import chdtrc, fdtrc, ndtr, ndtri, stdtr, stdtrit

from xdelnx.schema import LARGEST_LOG2FC

CONFIDENCE = 0.95  # of intervals


Df = float | np.ndarray  # degrees of freedom of a denominator, one number or (gene,)


def _by_df(df2: Df, finite: Callable[[Any], Any], limit: Callable[[], Any]) -> Any:
    """Value of a distribution at ``df2``, and of its limit where that is infinite."""
    infinite = np.isinf(df2)
    if infinite.all():
        return limit()
    if not infinite.any():
        return finite(df2)
    return np.where(infinite, limit(), finite(np.where(infinite, 1.0, df2)))


def quasi_likelihood_test(
    deviance_drop: np.ndarray, df1: int, ql_dispersion_shrunken: np.ndarray, df2: Df
) -> tuple[np.ndarray, np.ndarray]:
    """F statistic and upper tail of F(df1, df2) of a drop in deviance (Lund et al. 2012).

    A deviance that falls by less than nothing did so by rounding and counts as no drop.
    """
    statistic = np.maximum(deviance_drop, 0.0) / df1 / ql_dispersion_shrunken
    pval = _by_df(df2, lambda df: fdtrc(df1, df, statistic), lambda: chdtrc(df1, df1 * statistic))
    return statistic, pval


def likelihood_ratio_test(deviance_drop: np.ndarray, df1: int) -> tuple[np.ndarray, np.ndarray]:
    """Chi-squared statistic and upper tail of a drop in deviance."""
    statistic = np.maximum(deviance_drop, 0.0)
    return statistic, chdtrc(df1, statistic)


def threshold_test(
    estimate: np.ndarray,
    threshold: float,
    drops: tuple[np.ndarray, np.ndarray],
    ql_dispersion_shrunken: np.ndarray | float,
    df2: Df,
) -> tuple[np.ndarray, np.ndarray]:
    """Test that an effect is no larger than a threshold, worst case (TREAT, McCarthy & Smyth 2009).

    The root of the F statistic, negative within the interval, takes the place of a t statistic: its
    upper tails at the nearer end of the interval (that with the smaller statistic) and at the other
    end are added.

    Parameters
    ----------
    estimate
        (gene,) the effect.
    threshold
        On its scale, above 0.
    drops
        (gene,) each: how far the deviance falls from effects of plus and minus the threshold.
    ql_dispersion_shrunken
        (gene,), or 1 without shrinkage.
    df2
        Degrees of freedom, one number or (gene,); infinite: normal tails.

    Returns
    -------
    tuple of numpy.ndarray
        (gene,) F at the nearer end, 0 for estimates within the interval; p-value.
    """
    ends = [np.maximum(drop, 0.0) / ql_dispersion_shrunken for drop in drops]
    near, far = np.minimum(*ends), np.maximum(*ends)
    outside = np.abs(estimate) > threshold
    root = np.where(outside, np.sqrt(near), -np.sqrt(near))
    pval = _upper_tail(root, df2) + _upper_tail(np.sqrt(far), df2)
    return np.where(outside | np.isnan(near), near, 0.0), pval


def _upper_tail(t: np.ndarray, df2: Df) -> np.ndarray:
    """Of Student's t, or the normal where ``df2`` is infinite."""
    return _by_df(df2, lambda df: stdtr(df, -t), lambda: ndtr(-t))


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
    estimate: np.ndarray, standard_error: np.ndarray, df2: Df
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of 95 % by Student's t, or the normal where ``df2`` is infinite: lower and upper ends."""
    upper = 0.5 + 0.5 * CONFIDENCE
    half = standard_error * _by_df(df2, lambda df: stdtrit(df, upper), lambda: ndtri(upper))
    return estimate - half, estimate + half
