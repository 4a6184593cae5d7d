"""Compiled loops over the samples of a gene: each visits a count once and keeps only sums.

Arrays of every kernel: counts ``y`` (1 or gene, sample) as float64 with the samples of a kind
(the samples that share a row of the design) next to each other; ``scale``, the exponential of
the offset, and ``weights``, how often a sample counts, (1 or gene, sample); ``starts``
(kind + 1), where each kind begins; ``m`` (active gene, kind), the fitted mean at scale 1;
``theta`` (active gene); ``rows`` (active gene), which of the genes are active.

The kernels are serial and release the GIL: Dask owns the parallelism.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from xdelnx.scalars.negative_binomial import (
    DIRECT_TERMS,
    below_direct,
    dispersion_cross_part,
    dispersion_mean_part,
    fisher_weight,
    ratio_sums,
    ratio_term,
    score_weight,
    start_terms,
    unit_deviance,
)

# Sums may be reordered (so that they run in vector registers); NaN and infinity keep their meaning.
_FLAGS = {"reassoc", "contract", "nsz"}
# A fitted mean below this is taken as this where the dispersion is estimated.
SMALLEST_MEAN = 1e-6
LANES = 16  # numbers that vector registers take together, in a loop that is unrolled


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel on first use; the machine code is kept on disk for the next process.

    What a kernel calls becomes a part of it: of a helper that several kernels share there would be several versions,
    whose sums run in other orders, and which of them is called would depend on what the process loaded first.
    """
    return numba.njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy", forceinline=True)(
        function
    )


@compiled
def _row(x: np.ndarray, gene: int) -> int:
    """Row of the gene in an array with one row a gene, or one for all."""
    return gene if x.shape[0] > 1 else 0


@compiled
def kind_totals(x: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum over the samples of each kind: (gene, kind)."""
    out = np.empty((x.shape[0], starts.size - 1))
    for g in range(x.shape[0]):
        for k in range(starts.size - 1):
            total = 0.0
            for i in range(starts[k], starts[k + 1]):
                total += x[g, i]
            out[g, k] = total
    return out


@compiled
def start_of_kinds(
    totals: np.ndarray, scales: np.ndarray, sizes: np.ndarray, rate: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and weighted working responses of a first least-squares step: (gene, kind) each.

    ``totals`` (gene, kind), ``scales`` and ``sizes`` (1 or gene, kind): counts, scales and samples of each kind;
    ``rate`` (gene,): the gene's overall mean at scale 1.
    """
    weight, response = np.empty(totals.shape), np.empty(totals.shape)
    for g in range(totals.shape[0]):
        s, n = scales[_row(scales, g)], sizes[_row(sizes, g)]
        for k in range(totals.shape[1]):
            w, z = start_terms(totals[g, k], s[k], n[k], rate[g], theta[g])
            weight[g, k] = w
            response[g, k] = w * z
    return weight, response


@compiled
def _whole_registers(size: int) -> int:
    """Return the next multiple of `LANES`: what is left over of a loop runs number by number, and slowly."""
    return (size + LANES - 1) // LANES * LANES


@compiled
def _in_a_row(
    counts: np.ndarray,
    weights: np.ndarray,
    scale: np.ndarray,
    rates: np.ndarray,
    starts: np.ndarray,
    out: np.ndarray,
) -> None:
    """Put a gene's counts, weights and expected counts in the rows of ``out``.

    So expensive terms are summed over all samples at once, in vector registers even where every sample is
    a kind of its own. What is past the last sample has weight 0 and an expected count of 1.
    """
    for i in range(counts.size):
        out[0, i] = counts[i]
        out[1, i] = weights[i]
    for k in range(rates.size):
        rate = rates[k]
        for i in range(starts[k], starts[k + 1]):
            out[2, i] = rate * scale[i]


@compiled
def _row_of_nothing(size: int) -> np.ndarray:
    """Rows for `_in_a_row`, and one more: (4, samples)."""
    out = np.zeros((4, _whole_registers(size)))
    for i in range(out.shape[1]):
        out[2, i] = 1.0
    return out


@compiled
def _newton_of_samples(
    y: np.ndarray,
    scale: np.ndarray,
    weights: np.ndarray,
    m: np.ndarray,
    theta: np.ndarray,
    rows: np.ndarray,
    score: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Do as `newton_sums` where every sample is a kind of its own: there is nothing to add up."""
    mu = np.empty(y.shape[1])
    for a in range(rows.size):
        counts, s, v = y[_row(y, rows[a])], scale[_row(scale, rows[a])], weights[_row(weights, rows[a])]
        rates, slopes, curves = m[a], score[a], weight[a]
        for i in range(mu.size):  # alone, so that the next loop has fewer arrays to tell apart
            mu[i] = rates[i] * s[i]
        for i in range(mu.size):
            r, w = score_weight(counts[i], mu[i], theta[a])
            slopes[i] = v[i] * r
            curves[i] = v[i] * w


@compiled
def newton_sums(
    y: np.ndarray,
    scale: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    m: np.ndarray,
    theta: np.ndarray,
    rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Score and observed information in the linear predictor, summed by kind: (active, kind) each."""
    score = np.empty(m.shape)
    weight = np.empty(m.shape)
    if m.shape[1] == y.shape[1]:
        _newton_of_samples(y, scale, weights, m, theta, rows, score, weight)
        return score, weight
    for a in range(rows.size):
        g = rows[a]
        counts, s, v = y[_row(y, g)], scale[_row(scale, g)], weights[_row(weights, g)]
        for k in range(starts.size - 1):
            rate, slope, curve = m[a, k], 0.0, 0.0
            for i in range(starts[k], starts[k + 1]):
                r, w = score_weight(counts[i], rate * s[i], theta[a])
                slope += v[i] * r
                curve += v[i] * w
            score[a, k] = slope
            weight[a, k] = curve
    return score, weight


@compiled
def fisher_sums(
    scale: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    m: np.ndarray,
    theta: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """Return the expected information in the linear predictor, summed by kind: (active, kind)."""
    weight = np.empty(m.shape)
    for a in range(rows.size):
        s, v = scale[_row(scale, rows[a])], weights[_row(weights, rows[a])]
        for k in range(starts.size - 1):
            rate, total = m[a, k], 0.0
            for i in range(starts[k], starts[k + 1]):
                total += v[i] * fisher_weight(rate * s[i], theta[a])
            weight[a, k] = total
    return weight


@compiled
def deviance_sums(
    y: np.ndarray,
    scale: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    m: np.ndarray,
    theta: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """Deviance of each active gene."""
    deviance, row = np.empty(rows.size), _row_of_nothing(y.shape[1])
    counts, v, mu = row[0], row[1], row[2]
    for a in range(rows.size):
        g, total = rows[a], 0.0
        _in_a_row(y[_row(y, g)], weights[_row(weights, g)], scale[_row(scale, g)], m[a], starts, row)
        for i in range(mu.size):
            total += v[i] * unit_deviance(counts[i], mu[i], theta[a])
        deviance[a] = total
    return deviance


@compiled
def dispersion_mean_sums(
    y: np.ndarray,
    scale: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    m: np.ndarray,
    theta: np.ndarray,
    rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives in theta of the terms that hold the mean, (active, 2), and sums of w, w^2, w^3 by kind.

    ``w`` is the expected information; its derivatives in theta are ``-w^2`` and ``2 w^3``.
    """
    derivatives, row = np.empty((rows.size, 2)), _row_of_nothing(y.shape[1])
    counts, v, mu, information = row[0], row[1], row[2], row[3]
    w1, w2, w3 = np.empty(m.shape), np.empty(m.shape), np.empty(m.shape)
    for a in range(rows.size):
        g, first, second = rows[a], 0.0, 0.0
        _in_a_row(y[_row(y, g)], weights[_row(weights, g)], scale[_row(scale, g)], m[a], starts, row)
        for i in range(mu.size):
            at = max(mu[i], SMALLEST_MEAN)
            f, h = dispersion_mean_part(at, theta[a])
            f_cross, h_cross = dispersion_cross_part(counts[i], at, theta[a])
            first += v[i] * (f + f_cross)
            second += v[i] * (h + h_cross)
            information[i] = fisher_weight(at, theta[a])
        for k in range(starts.size - 1):
            t1, t2, t3 = 0.0, 0.0, 0.0
            for i in range(starts[k], starts[k + 1]):
                w = information[i]
                t1 += v[i] * w
                t2 += v[i] * w * w
                t3 += v[i] * w * w * w
            w1[a, k] = t1
            w2[a, k] = t2
            w3[a, k] = t3
        derivatives[a, 0] = first
        derivatives[a, 1] = second
    return derivatives, w1, w2, w3


# ---- terms of the counts alone ---------------------------------------------------------------------------


@compiled
def count_tails(values: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many samples of each gene exceed j, for each j below `DIRECT_TERMS`, and the counts summed one by one.

    Gene g's counts are ``values[ends[g] : ends[g + 1]]``. Large counts are among the tails and, for
    what they add beyond, among those summed one by one, filled up with `DIRECT_TERMS`, which adds nothing, to
    whole registers; fractions below `DIRECT_TERMS` only among the
    latter, after the large ones: ``singles[bounds[g, 0] : bounds[g, 1]]`` and ``singles[bounds[g, 1] : bounds[g, 2]]``.
    """
    tails = np.zeros((ends.size - 1, DIRECT_TERMS))
    singles = np.empty(values.size + LANES * (ends.size - 1))
    bounds = np.zeros((ends.size - 1, 3), dtype=np.int64)
    n = 0
    for g in range(ends.size - 1):
        bounds[g, 0] = n
        fractions = 0
        for i in range(ends[g], ends[g + 1]):
            value = float(values[i])
            if value >= DIRECT_TERMS:
                singles[n] = value
                n += 1
            elif value != math.floor(value):
                fractions += 1
            elif value > 0.0:
                tails[g, int(value) - 1] += 1.0
        tails[g, DIRECT_TERMS - 1] = n - bounds[g, 0]
        bounds[g, 1] = bounds[g, 0] + _whole_registers(n - bounds[g, 0])
        while n < bounds[g, 1]:
            singles[n] = DIRECT_TERMS
            n += 1
        for i in range(ends[g], ends[g + 1] if fractions else ends[g]):
            value = float(values[i])
            if value < DIRECT_TERMS and value != math.floor(value):
                singles[n] = value
                n += 1
        bounds[g, 2] = n
        for j in range(DIRECT_TERMS - 2, -1, -1):
            tails[g, j] += tails[g, j + 1]
    return tails, singles[:n].copy(), bounds


@compiled
def dispersion_count_sums(
    tails: np.ndarray, singles: np.ndarray, bounds: np.ndarray, theta: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Derivatives in theta of the likelihood's terms that hold no mean: (active, 2).

    Small counts are summed by how many samples exceed each j (no special function at all).
    """
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
            first += f - low
            second += h - low_squared
        for i in range(bounds[g, 1], bounds[g, 2]):
            f, h = below_direct(singles[i], theta[a])
            first += f
            second += h
        out[a, 0] = first
        out[a, 1] = -second
    return out
