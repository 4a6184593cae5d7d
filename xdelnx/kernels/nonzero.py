"""Compiled loops over the non-zero counts of a gene: what they add to the sums of zeros.

The counts ``values`` and their samples' scale ``s`` are one flat array each, by gene and kind;
``bounds`` (gene, kind + 1) says where each gene's kinds begin. Other arrays as in `xdelnx.kernels.dense`.
"""

from __future__ import annotations

import numpy as np

from xdelnx.kernels.dense import SMALLEST_MEAN, compiled
from xdelnx.scalars.negative_binomial import (
    deviance_difference,
    dispersion_cross_part,
    score_weight,
)


@compiled
def newton_differences(
    values: np.ndarray, s: np.ndarray, bounds: np.ndarray, m: np.ndarray, theta: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the counts add to `newton_sums` of zeros: (active, kind) each."""
    score = np.empty(m.shape)
    weight = np.empty(m.shape)
    for a in range(rows.size):
        for k in range(m.shape[1]):
            rate, slope, curve = m[a, k], 0.0, 0.0
            for i in range(bounds[rows[a], k], bounds[rows[a], k + 1]):
                r, w = score_weight(values[i], rate * s[i], theta[a])
                r0, w0 = score_weight(0.0, rate * s[i], theta[a])
                slope += r - r0
                curve += w - w0
            score[a, k] = slope
            weight[a, k] = curve
    return score, weight


@compiled
def deviance_differences(
    values: np.ndarray, s: np.ndarray, bounds: np.ndarray, m: np.ndarray, theta: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """What the counts add to the deviance of zeros: (active,)."""
    deviance = np.empty(rows.size)
    for a in range(rows.size):
        total = 0.0
        for k in range(m.shape[1]):
            rate = m[a, k]
            for i in range(bounds[rows[a], k], bounds[rows[a], k + 1]):
                total += deviance_difference(values[i], rate * s[i], theta[a])
        deviance[a] = total
    return deviance


@compiled
def dispersion_differences(
    values: np.ndarray, s: np.ndarray, bounds: np.ndarray, m: np.ndarray, theta: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """What the counts add to the derivatives of `dispersion_mean_sums`: (active, 2)."""
    out = np.empty((rows.size, 2))
    for a in range(rows.size):
        first, second = 0.0, 0.0
        for k in range(m.shape[1]):
            rate = m[a, k]
            for i in range(bounds[rows[a], k], bounds[rows[a], k + 1]):
                f, h = dispersion_cross_part(values[i], max(rate * s[i], SMALLEST_MEAN), theta[a])
                first += f
                second += h
        out[a, 0] = first
        out[a, 1] = second
    return out


@compiled
def value_totals(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Sum of the counts by kind: (gene, kind)."""
    out = np.zeros((bounds.shape[0], bounds.shape[1] - 1))
    for g in range(out.shape[0]):
        for k in range(out.shape[1]):
            total = 0.0
            for i in range(bounds[g, k], bounds[g, k + 1]):
                total += values[i]
            out[g, k] = total
    return out


@compiled
def squared_deviations(values: np.ndarray, ends: np.ndarray, mean: np.ndarray, n_samples: int) -> np.ndarray:
    """Sum over all samples of the squared deviation from the gene's mean: (gene,)."""
    out = np.empty(mean.size)
    for g in range(mean.size):
        total = 0.0
        for i in range(ends[g], ends[g + 1]):
            total += (values[i] - mean[g]) ** 2
        out[g] = total + (n_samples - (ends[g + 1] - ends[g])) * mean[g] * mean[g]
    return out
