"""Independent filtering: leave genes of low mean out of an adjustment where that finds more of the others.

A filter that does not depend on the p-values under the null hypothesis, such as the mean over all samples,
may choose which tests are adjusted (Bourgon, Gentleman & Huber 2010, doi:10.1073/pnas.0914005107). Where to cut is
chosen as Love, Huber & Anders 2014 (doi:10.1186/s13059-014-0550-8) describe it: along the quantiles of the filter
the number of rejections is smoothed, and the lowest quantile counts whose number is within the scatter about the
curve's peak.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

QUANTILES = 50  # at which a cut is tried
HIGHEST_QUANTILE = 0.95
FEW_REJECTIONS = 10  # nothing to gain: no cut
SPAN = 0.2  # of the points in a local fit of the curve
ROBUST_ROUNDS = 3


def kept(
    pval: np.ndarray, filter_by: np.ndarray, alpha: float, adjust: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Which genes take part in the adjustment: bool (gene,).

    Parameters
    ----------
    pval
        (gene,); NaN takes no part.
    filter_by
        (gene,) what the genes are filtered by, such as their mean.
    alpha
        False discovery rate at which rejections are counted.
    adjust
        From p-values to adjusted ones.
    """
    tested = np.isfinite(pval)
    values = filter_by[tested]
    lowest = np.mean(filter_by == 0.0)
    quantiles = np.linspace(lowest, HIGHEST_QUANTILE if lowest < HIGHEST_QUANTILE else 1.0, QUANTILES)
    cuts = np.quantile(filter_by, quantiles)
    found = np.array([np.sum(adjust(pval[tested][values >= cut]) < alpha) for cut in cuts])
    return tested & (filter_by >= cuts[_choice(quantiles, found)])


def _choice(quantiles: np.ndarray, found: np.ndarray) -> int:
    """Position of the lowest quantile whose number of rejections is about the highest there is."""
    if found.max() <= FEW_REJECTIONS:
        return 0
    curve = lowess(quantiles, found.astype(float))
    some = found > 0
    scatter = np.sqrt(np.mean((found[some] - curve[some]) ** 2))
    enough = np.flatnonzero(found > curve.max() - scatter)
    return int(enough[0]) if enough.size else 0


def lowess(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cleveland's (1979) locally weighted regression of y on ascending x, at each x, with robust rounds."""
    n_near = max(int(SPAN * x.size + 1e-7), 2)
    robust = np.ones(x.size)
    curve = np.zeros(x.size)
    for _ in range(ROBUST_ROUNDS + 1):
        curve = np.array([_local(x, y, robust, at, n_near) for at in x])
        off = np.abs(y - curve)
        scale = 6.0 * np.median(off)
        if scale < 1e-7 * np.mean(np.abs(y - y.mean()) + 1e-300):
            break
        u = off / scale
        robust = np.where(u <= 0.001, 1.0, np.where(u >= 0.999, 0.0, (1.0 - u**2) ** 2))
    return curve


def _local(x: np.ndarray, y: np.ndarray, robust: np.ndarray, at: float, n_near: int) -> float:
    """Weighted straight line through the nearest points, at one of them."""
    distance = np.abs(x - at)
    reach = np.sort(distance)[n_near - 1]
    u = distance / reach
    weight = robust * np.where(u <= 0.001, 1.0, np.where(u >= 0.999, 0.0, (1.0 - u**3) ** 3))
    weight /= weight.sum()
    centre = weight @ x
    spread = weight @ (x - centre) ** 2
    if np.sqrt(spread) <= 0.001 * np.ptp(x):
        return float(weight @ y)
    return float(weight @ (y * (1.0 + (at - centre) * (x - centre) / spread)))
