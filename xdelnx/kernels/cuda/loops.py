"""Loops of a card's own, in the Python that `xdelnx.kernels.cuda.translate` knows.

On a processor the same sums take rows of numbers through vector registers (`xdelnx.kernels.dense`), which a
card has no use for. The formulas are the same functions. Arrays as there; the last ones are the results.
"""

from __future__ import annotations

import math

import numpy as np

from xdelnx.kernels.dense import SMALLEST_MEAN, _row
from xdelnx.kernels.linear import LARGEST_LOG_MEAN
from xdelnx.scalars.logarithms import exponential
from xdelnx.scalars.negative_binomial import (
    DIRECT_TERMS,
    dispersion_cross_part,
    dispersion_mean_part,
    fisher_weight,
    unit_deviance,
)

Arrays = np.ndarray


def deviance_sums(
    y: Arrays, scale: Arrays, weights: Arrays, starts: Arrays, m: Arrays, theta: Arrays, rows: Arrays,
    deviance: Arrays,
) -> None:  # fmt: skip
    """Deviance of each active gene."""
    for a in range(rows.size):
        g = rows[a]
        counts, s, v = y[_row(y, g)], scale[_row(scale, g)], weights[_row(weights, g)]
        total = 0.0
        for k in range(starts.size - 1):
            rate = m[a, k]
            for i in range(starts[k], starts[k + 1]):
                total += v[i] * unit_deviance(counts[i], rate * s[i], theta[a])
        deviance[a] = total


def dispersion_mean_sums(
    y: Arrays, scale: Arrays, weights: Arrays, starts: Arrays, m: Arrays, theta: Arrays, rows: Arrays,
    derivatives: Arrays, w1: Arrays, w2: Arrays, w3: Arrays,
) -> None:  # fmt: skip
    """Derivatives in theta of the terms that hold the mean, and sums of w, w^2, w^3 by kind."""
    for a in range(rows.size):
        g = rows[a]
        counts, s, v = y[_row(y, g)], scale[_row(scale, g)], weights[_row(weights, g)]
        first, second = 0.0, 0.0
        for k in range(starts.size - 1):
            rate, t1, t2, t3 = m[a, k], 0.0, 0.0, 0.0
            for i in range(starts[k], starts[k + 1]):
                at = max(rate * s[i], SMALLEST_MEAN)
                f, h = dispersion_mean_part(at, theta[a])
                f_cross, h_cross = dispersion_cross_part(counts[i], at, theta[a])
                w = fisher_weight(at, theta[a])
                first += v[i] * (f + f_cross)
                second += v[i] * (h + h_cross)
                t1 += v[i] * w
                t2 += v[i] * w * w
                t3 += v[i] * w * w * w
            w1[a, k] = t1
            w2[a, k] = t2
            w3[a, k] = t3
        derivatives[a, 0] = first
        derivatives[a, 1] = second


def means(b: Arrays, table: Arrays, shift: Arrays, out: Arrays) -> None:
    """Exponential of the linear predictor, held within +-`LARGEST_LOG_MEAN`."""
    for g in range(b.shape[0]):
        for k in range(table.shape[1]):
            x = shift[k]
            for p in range(table.shape[0]):
                x += b[g, p] * table[p, k]
            out[g, k] = exponential(min(max(x, -LARGEST_LOG_MEAN), LARGEST_LOG_MEAN)) + (x - x)


def log_means(b: Arrays, table: Arrays, shift: Arrays, out: Arrays) -> None:
    """From parameters to kinds."""
    for g in range(b.shape[0]):
        for k in range(table.shape[1]):
            x = shift[k]
            for p in range(table.shape[0]):
                x += b[g, p] * table[p, k]
            out[g, k] = x


def exceeding(values: Arrays, weights: Arrays, ends: Arrays, tails: Arrays) -> None:
    """Weight of each gene's counts above k, for each k below `DIRECT_TERMS`; fractions below that are left out.

    ``weights`` is flat as the values are, or one for all.
    """
    for g in range(ends.size - 1):
        for k in range(DIRECT_TERMS):
            total = 0.0
            for i in range(ends[g], ends[g + 1]):
                value = values[i]
                if value > k and (value >= DIRECT_TERMS or value == math.floor(value)):
                    total += weights[i if weights.size > 1 else 0]
            tails[g, k] = total
