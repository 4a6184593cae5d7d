"""Compiled loops over the non-zero counts of a gene: what they add to the sums of zeros.

The counts ``values`` and their samples' scale ``s`` are one flat array each, by gene and kind;
``bounds`` (gene, kind + 1) says where each gene's kinds begin. Other arrays as in `xdelnx.kernels`.
"""

from __future__ import annotations

import numpy as np

from xdelnx.kernels import SMALLEST_MEAN, compiled
from xdelnx.negative_binomial import (
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


# ---- from a block of counts (sample, gene) to the non-zero counts of its genes ---------------------------


@compiled
def nonzero_by_gene(block: np.ndarray) -> np.ndarray:
    """Non-zero counts of each gene: (gene,)."""
    out = np.zeros(block.shape[1], dtype=np.int64)
    for i in range(block.shape[0]):
        for g in range(block.shape[1]):
            out[g] += 1 if block[i, g] != 0 else 0
    return out


@compiled
def order_nonzero(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    columns: np.ndarray,
    ends: np.ndarray,
    place: np.ndarray,
    starts: np.ndarray,
    scale: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Do as `gather_nonzero` from the arrays of a CSC matrix; ``place`` (sample,) is a sample's in the order."""
    values, s = np.empty(ends[-1]), np.empty(ends[-1])
    bounds = np.zeros((columns.size, starts.size), dtype=np.int64)
    kind_of = np.empty(place.size, dtype=np.int64)
    at = np.empty(starts.size, dtype=np.int64)
    for k in range(starts.size - 1):
        for i in range(starts[k], starts[k + 1]):
            kind_of[i] = k
    for c in range(columns.size):
        first, last = indptr[columns[c]], indptr[columns[c] + 1]
        for e in range(first, last):
            bounds[c, kind_of[place[indices[e]]] + 1] += 1
        bounds[c, 0] = ends[c]
        for k in range(1, starts.size):
            bounds[c, k] += bounds[c, k - 1]
            at[k - 1] = bounds[c, k - 1]
        for e in range(first, last):
            i = place[indices[e]]
            k = kind_of[i]
            values[at[k]] = data[e]
            s[at[k]] = scale[i]
            at[k] += 1
    return values, s, bounds


@compiled
def gather_nonzero(
    block: np.ndarray,
    columns: np.ndarray,
    ends: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    scale: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat non-zero counts of some columns, by gene and kind, with their scales and bounds.

    ``order`` (sample,) puts the samples by kind; ``scale`` is in that order already.
    """
    values, s = np.empty(ends[-1]), np.empty(ends[-1])
    bounds = np.empty((columns.size, starts.size), dtype=np.int64)
    at = np.empty(columns.size, dtype=np.int64)  # loops instead of slices: those take seconds to compile
    for c in range(columns.size):
        at[c] = ends[c]
    for k in range(starts.size - 1):
        for c in range(columns.size):
            bounds[c, k] = at[c]
        for i in range(starts[k], starts[k + 1]):
            row = block[order[i]]
            for c in range(columns.size):
                value = row[columns[c]]
                if value != 0:
                    values[at[c]] = value
                    s[at[c]] = scale[i]
                    at[c] += 1
    for c in range(columns.size):
        bounds[c, starts.size - 1] = at[c]
    return values, s, bounds
