"""Compiled loops over the samples of a gene: each visits a count once and keeps only sums.

Arrays of every kernel: counts ``y`` (gene, sample) as float64 with the samples of a kind
(the samples that share a row of the design) next to each other; ``scale``, the
exponential of the offset, (1 or gene, sample); ``starts`` (kind + 1), where each kind
begins; ``m`` (active gene, kind), the fitted mean at scale 1; ``theta`` (active gene);
``rows`` (active gene), which rows of ``y`` the active genes are.

The kernels are serial and release the GIL: Dask owns the parallelism.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from xdelnx.negative_binomial import (
    DIRECT_TERMS,
    below_direct,
    dispersion_mean_part,
    fisher_weight,
    ratio_sums,
    ratio_term,
    score_weight,
    unit_deviance,
)

# Sums may be reordered (so that they run in vector registers); NaN and infinity keep their meaning.
_FLAGS = {"reassoc", "contract", "nsz"}
# A fitted mean below this is taken as this where the dispersion is estimated.
SMALLEST_MEAN = 1e-6


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel on first use; the machine code is kept on disk for the next process."""
    return numba.njit(cache=True, nogil=True, fastmath=_FLAGS, error_model="numpy")(function)


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
def start_sums(
    y: np.ndarray, scale: np.ndarray, starts: np.ndarray, rate: np.ndarray, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and weighted working responses of one least-squares step from the data: (gene, kind) each.

    The mean it starts from is half the count and half the gene's overall rate, which is positive.
    """
    weight = np.empty((y.shape[0], starts.size - 1))
    response = np.empty((y.shape[0], starts.size - 1))
    for g in range(y.shape[0]):
        s = scale[g if scale.shape[0] > 1 else 0]
        for k in range(starts.size - 1):
            total, weighted = 0.0, 0.0
            for i in range(starts[k], starts[k + 1]):
                mu = 0.5 * (y[g, i] + rate[g] * s[i])
                w = fisher_weight(mu, theta[g])
                total += w
                weighted += w * (math.log(mu / s[i]) + (y[g, i] - mu) / mu)
            weight[g, k] = total
            response[g, k] = weighted
    return weight, response


@compiled
def newton_sums(
    y: np.ndarray, scale: np.ndarray, starts: np.ndarray, m: np.ndarray, theta: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Score and observed information in the linear predictor, summed by kind: (active, kind) each."""
    score = np.empty(m.shape)
    weight = np.empty(m.shape)
    for a in range(rows.size):
        counts = y[rows[a]]
        s = scale[rows[a] if scale.shape[0] > 1 else 0]
        for k in range(starts.size - 1):
            rate, slope, curve = m[a, k], 0.0, 0.0
            for i in range(starts[k], starts[k + 1]):
                r, w = score_weight(counts[i], rate * s[i], theta[a])
                slope += r
                curve += w
            score[a, k] = slope
            weight[a, k] = curve
    return score, weight


@compiled
def fisher_sums(
    scale: np.ndarray, starts: np.ndarray, m: np.ndarray, theta: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return the expected information in the linear predictor, summed by kind: (active, kind)."""
    weight = np.empty(m.shape)
    for a in range(rows.size):
        s = scale[rows[a] if scale.shape[0] > 1 else 0]
        for k in range(starts.size - 1):
            rate, total = m[a, k], 0.0
            for i in range(starts[k], starts[k + 1]):
                total += fisher_weight(rate * s[i], theta[a])
            weight[a, k] = total
    return weight


@compiled
def deviance_sums(
    y: np.ndarray, scale: np.ndarray, starts: np.ndarray, m: np.ndarray, theta: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Deviance of each active gene."""
    deviance = np.empty(rows.size)
    for a in range(rows.size):
        counts = y[rows[a]]
        s = scale[rows[a] if scale.shape[0] > 1 else 0]
        total = 0.0
        for k in range(starts.size - 1):
            rate = m[a, k]
            for i in range(starts[k], starts[k + 1]):
                total += unit_deviance(counts[i], rate * s[i], theta[a])
        deviance[a] = total
    return deviance


@compiled
def dispersion_count_sums(y: np.ndarray, theta: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Derivatives in theta of the likelihood's terms that hold no mean: (active, 2).

    Small counts are summed by how many samples exceed each j (no special function at all).
    """
    out = np.empty((rows.size, 2))
    above = np.empty(DIRECT_TERMS)
    for a in range(rows.size):
        counts = y[rows[a]]
        above[:] = 0.0
        first, second = 0.0, 0.0
        n_large = 0.0
        for i in range(counts.size):
            if counts[i] >= DIRECT_TERMS:
                f, h = ratio_sums(counts[i], theta[a])
                first += f
                second += h
                n_large += 1.0
            elif counts[i] == math.floor(counts[i]):
                above[int(counts[i])] += 1.0
            else:
                f, h = below_direct(counts[i], theta[a])
                first += f
                second += h
        if n_large > 0.0:
            f, h = ratio_sums(float(DIRECT_TERMS), theta[a])
            first -= n_large * f
            second -= n_large * h
        for j in range(DIRECT_TERMS - 1, 0, -1):  # n_large: the samples with a count above j
            term = ratio_term(j, theta[a])
            first += n_large * term
            second += n_large * term * term
            n_large += above[j]
        out[a, 0] = first
        out[a, 1] = -second
    return out


@compiled
def dispersion_mean_sums(
    y: np.ndarray, scale: np.ndarray, starts: np.ndarray, m: np.ndarray, theta: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives in theta of the terms that hold the mean, (active, 2), and sums of w, w^2, w^3 by kind.

    ``w`` is the expected information; its derivatives in theta are ``-w^2`` and ``2 w^3``.
    """
    derivatives = np.empty((rows.size, 2))
    w1, w2, w3 = np.empty(m.shape), np.empty(m.shape), np.empty(m.shape)
    for a in range(rows.size):
        counts = y[rows[a]]
        s = scale[rows[a] if scale.shape[0] > 1 else 0]
        first, second = 0.0, 0.0
        for k in range(starts.size - 1):
            rate, t1, t2, t3 = m[a, k], 0.0, 0.0, 0.0
            for i in range(starts[k], starts[k + 1]):
                mu = max(rate * s[i], SMALLEST_MEAN)
                f, h = dispersion_mean_part(counts[i], mu, theta[a])
                first += f
                second += h
                w = fisher_weight(mu, theta[a])
                t1 += w
                t2 += w * w
                t3 += w * w * w
            w1[a, k] = t1
            w2[a, k] = t2
            w3[a, k] = t3
        derivatives[a, 0] = first
        derivatives[a, 1] = second
    return derivatives, w1, w2, w3


# ---- small symmetric matrices, one a gene, as packed lower triangles -------------------------------------


@compiled
def _cholesky(packed: np.ndarray, lower: np.ndarray) -> None:
    """Cholesky factor; a pivot lost to rounding (a direction without information) becomes infinite."""
    p = lower.shape[0]
    for i in range(p):
        for j in range(i + 1):
            total = packed[i * (i + 1) // 2 + j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i > j:
                lower[i, j] = total / lower[j, j]
            elif total > 1e-15 * packed[i * (i + 3) // 2]:
                lower[i, i] = math.sqrt(total)
            else:
                lower[i, i] = np.inf if total <= 0.0 or total == total else np.nan


@compiled
def _forward(lower: np.ndarray, rhs: np.ndarray, out: np.ndarray) -> None:
    for i in range(rhs.size):
        total = rhs[i]
        for k in range(i):
            total -= lower[i, k] * out[k]
        out[i] = total / lower[i, i]


@compiled
def solve_packed(information: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Solve each gene's system: (gene, p(p+1)/2) and (gene, p) give (gene, p)."""
    p = rhs.shape[1]
    lower = np.zeros((p, p))
    half = np.empty(p)
    out = np.empty(rhs.shape)
    for g in range(rhs.shape[0]):
        _cholesky(information[g], lower)
        _forward(lower, rhs[g], half)
        for i in range(p - 1, -1, -1):
            total = half[i]
            for k in range(i + 1, p):
                total -= lower[k, i] * out[g, k]
            out[g, i] = total / lower[i, i]
    return out


@compiled
def quadratic_forms(information: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """``v' information^-1 v`` for each gene and each row of ``vectors`` (q, p): (gene, q)."""
    p = vectors.shape[1]
    lower = np.zeros((p, p))
    half = np.empty(p)
    out = np.empty((information.shape[0], vectors.shape[0]))
    for g in range(information.shape[0]):
        _cholesky(information[g], lower)
        for v in range(vectors.shape[0]):
            _forward(lower, vectors[v], half)
            total = 0.0
            for i in range(p):
                total += half[i] * half[i]
            out[g, v] = total
    return out


@compiled
def log_determinant_derivatives(w1: np.ndarray, w2: np.ndarray, w3: np.ndarray, p: int) -> np.ndarray:
    """First and second derivative in theta of log det(information): (gene, 2).

    The arguments are the packed information and the same with w^2 and w^3 for its weights.
    """
    lower = np.zeros((p, p))
    root = np.empty((p, p))
    column = np.empty(p)
    out = np.empty((w1.shape[0], 2))
    for g in range(w1.shape[0]):
        _cholesky(w1[g], lower)
        second = 2.0 * _trace_of_solved(lower, w3[g], root, column)
        first = _trace_of_solved(lower, w2[g], root, column)
        for i in range(p):
            for j in range(p):
                second -= root[i, j] * root[i, j]
        out[g, 0] = -first
        out[g, 1] = second
    return out


@compiled
def _trace_of_solved(lower: np.ndarray, packed: np.ndarray, root: np.ndarray, column: np.ndarray) -> float:
    """Trace of L^-1 M L^-T, which is left in ``root``."""
    p = lower.shape[0]
    for j in range(p):
        for i in range(p):
            high, low = max(i, j), min(i, j)
            column[i] = packed[high * (high + 1) // 2 + low]
        _forward(lower, column, root[j])  # row j of (L^-1 M)' , M symmetric
    for i in range(p):
        for j in range(p):
            column[j] = root[j, i]
        _forward(lower, column, column)
        for j in range(p):
            root[j, i] = column[j]
    total = 0.0
    for i in range(p):
        total += root[i, i]
    return total
