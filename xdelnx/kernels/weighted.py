"""Compiled loops over the counts of a gene where each has a weight, beside those of `xdelnx.kernels.dense`."""

from __future__ import annotations

import math

import numpy as np

from xdelnx.kernels.dense import compiled
from xdelnx.scalars.negative_binomial import DIRECT_TERMS, below_direct, ratio_sums, ratio_term


@compiled
def weighted_tails(
    y: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weight of each gene's samples that exceed j, for each j below `DIRECT_TERMS`, and counts summed one by one.

    ``y`` (gene, sample) and ``weights`` (1 or gene, sample). As `count_tails`: gene g's large counts
    are ``singles[bounds[g, 0] : bounds[g, 1]]``, its fractions ``singles[bounds[g, 1] : bounds[g, 2]]``, and those
    places in the last array their weights.
    """
    tails, bounds = np.zeros((y.shape[0], DIRECT_TERMS)), np.zeros((y.shape[0], 3), dtype=np.int64)
    singles, v = np.empty(y.size), np.empty(y.size)
    n = 0
    for g in range(y.shape[0]):
        of_gene = weights[g if weights.shape[0] > 1 else 0]
        bounds[g, 0] = n
        for i in range(y.shape[1]):
            value = y[g, i]
            if value >= DIRECT_TERMS and of_gene[i] > 0.0:
                singles[n] = value
                v[n] = of_gene[i]
                tails[g, DIRECT_TERMS - 1] += of_gene[i]
                n += 1
            elif value < DIRECT_TERMS and value > 0.0 and value == math.floor(value):
                tails[g, int(value) - 1] += of_gene[i]
        bounds[g, 1] = n
        for i in range(y.shape[1]):
            value = y[g, i]
            if value < DIRECT_TERMS and value != math.floor(value) and of_gene[i] > 0.0:
                singles[n] = value
                v[n] = of_gene[i]
                n += 1
        bounds[g, 2] = n
        for j in range(DIRECT_TERMS - 2, -1, -1):
            tails[g, j] += tails[g, j + 1]
    return tails, singles[:n].copy(), bounds, v[:n].copy()


@compiled
def weighted_count_sums(
    tails: np.ndarray,
    singles: np.ndarray,
    bounds: np.ndarray,
    v: np.ndarray,
    theta: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """Derivatives in theta of the weighted likelihood's terms that hold no mean: (active, 2)."""
    out = np.empty((rows.size, 2))
    for a in range(rows.size):
        g, first, second = rows[a], 0.0, 0.0
        for j in range(1, DIRECT_TERMS):
            term = ratio_term(j, theta[a])
            first += tails[g, j] * term
            second += tails[g, j] * term * term
        low, low_squared = ratio_sums(float(DIRECT_TERMS), theta[a])
        for i in range(bounds[g, 0], bounds[g, 1]):
            f, h = ratio_sums(singles[i], theta[a])
            first += v[i] * (f - low)
            second += v[i] * (h - low_squared)
        for i in range(bounds[g, 1], bounds[g, 2]):
            f, h = below_direct(singles[i], theta[a])
            first += v[i] * f
            second += v[i] * h
        out[a, 0] = first
        out[a, 1] = -second
    return out
