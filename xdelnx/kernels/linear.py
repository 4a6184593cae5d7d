"""Compiled algebra of the information matrix of each gene, which has the shape of an arrow.

The first D parameters are one indicator for each group of samples, the other r are covariates:

    [ diagonal  cross ]      diagonal (D,)       between two groups there is nothing,
    [  cross'   inner ]      cross (D, r)        inner (r, r), symmetric

so that a solve costs D r^2 + r^3 and not (D + r)^3. D = 0 is an ordinary matrix, r = 0 a diagonal one.
A gene's matrix is packed in a row: diagonal, cross by rows, lower triangle of inner by rows.
"""

from __future__ import annotations

import math

import numpy as np

from xdelnx.kernels.dense import compiled
from xdelnx.scalars.logarithms import exponential

LARGEST_LOG_MEAN = 300.0  # of a step that overshot


@compiled
def combine(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Sums over kinds: (gene, kind) and (column, kind) give (gene, column).

    A matrix product whose result for a gene does not depend on the genes beside it: a BLAS adds
    in an order that depends on the shape.
    """
    out = np.empty((x.shape[0], table.shape[0]))
    for g in range(x.shape[0]):
        for c in range(table.shape[0]):
            total = 0.0
            for k in range(table.shape[1]):
                total += x[g, k] * table[c, k]
            out[g, c] = total
    return out


@compiled
def log_means(b: np.ndarray, table: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """From parameters to kinds: (gene, parameter), (parameter, kind) and (kind,) give (gene, kind)."""
    out = np.empty((b.shape[0], table.shape[1]))
    for g in range(b.shape[0]):
        row = out[g]
        for k in range(row.size):
            row[k] = shift[k]
        for p in range(table.shape[0]):
            at, column = b[g, p], table[p]
            for k in range(row.size):
                row[k] += at * column[k]
    return out


@compiled
def means(b: np.ndarray, table: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Exponential of `log_means`, which are held within +-`LARGEST_LOG_MEAN`; NaN and infinity become NaN."""
    out = log_means(b, table, shift)
    flat = out.reshape(out.size)
    for i in range(flat.size):
        x = flat[i]
        flat[i] = exponential(min(max(x, -LARGEST_LOG_MEAN), LARGEST_LOG_MEAN)) + (x - x)
    return out


@compiled
def _covariates(length: int, groups: int) -> int:
    """Number r of covariates of a packed arrow of that length."""
    r = 0
    while groups + groups * r + r * (r + 1) // 2 < length:
        r += 1
    return r


@compiled
def _factor(packed: np.ndarray, ratio: np.ndarray, lower: np.ndarray) -> None:
    """Eliminate the groups: ``ratio`` = cross / diagonal, ``lower`` = Cholesky factor of what is left of inner.

    A direction without information (a pivot lost to rounding) gets an infinite pivot: no step along it.
    """
    groups, r = ratio.shape
    inner = groups + groups * r
    for d in range(groups):
        for j in range(r):
            ratio[d, j] = packed[groups + d * r + j] / packed[d] if packed[d] > 0.0 else 0.0
    for i in range(r):
        for j in range(i + 1):
            total = packed[inner + i * (i + 1) // 2 + j]
            for d in range(groups):
                total -= packed[groups + d * r + i] * ratio[d, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i > j:
                lower[i, j] = total / lower[j, j]
            elif total <= 1e-15 * packed[inner + i * (i + 3) // 2]:
                lower[i, i] = np.inf
            else:
                lower[i, i] = math.sqrt(total)


@compiled
def _reduce(ratio: np.ndarray, lower: np.ndarray, vector: np.ndarray, out: np.ndarray) -> None:
    """Eliminate the groups from a vector (D + r,) and forward-substitute the rest of it: (r,)."""
    groups, r = ratio.shape
    for i in range(r):
        total = vector[groups + i]
        for d in range(groups):
            total -= ratio[d, i] * vector[d]
        for k in range(i):
            total -= lower[i, k] * out[k]
        out[i] = total / lower[i, i]


@compiled
def solve_arrow(information: np.ndarray, rhs: np.ndarray, groups: int) -> np.ndarray:
    """Solve each gene's system: (gene, packed) and (gene, D + r) give (gene, D + r)."""
    r = rhs.shape[1] - groups
    ratio, lower, half = np.empty((groups, r)), np.zeros((r, r)), np.empty(r)
    out = np.empty(rhs.shape)
    for g in range(rhs.shape[0]):
        _factor(information[g], ratio, lower)
        _reduce(ratio, lower, rhs[g], half)
        for i in range(r - 1, -1, -1):
            total = half[i]
            for k in range(i + 1, r):
                total -= lower[k, i] * out[g, groups + k]
            out[g, groups + i] = total / lower[i, i]
        for d in range(groups):
            total = rhs[g, d] / information[g, d] if information[g, d] > 0.0 else 0.0
            for j in range(r):
                total -= ratio[d, j] * out[g, groups + j]
            out[g, d] = total
    return out


@compiled
def quadratic_forms(information: np.ndarray, vectors: np.ndarray, groups: int) -> np.ndarray:
    """``v' information^-1 v`` for each gene and each row of ``vectors`` (q, D + r): (gene, q).

    Infinite for a vector with a part in a direction without information.
    """
    r = vectors.shape[1] - groups
    ratio, lower, half = np.empty((groups, r)), np.zeros((r, r)), np.empty(r)
    out = np.empty((information.shape[0], vectors.shape[0]))
    for g in range(information.shape[0]):
        _factor(information[g], ratio, lower)
        for v in range(vectors.shape[0]):
            _reduce(ratio, lower, vectors[v], half)
            total = 0.0
            for d in range(groups):
                if information[g, d] > 0.0:
                    total += vectors[v, d] * vectors[v, d] / information[g, d]
                elif vectors[v, d] != 0.0:
                    total = np.inf
            for i in range(r):
                total += half[i] * half[i]
                if lower[i, i] == np.inf and vectors[v, groups + i] != 0.0:
                    total = np.inf
            out[g, v] = total
    return out


@compiled
def log_determinant_derivatives(w1: np.ndarray, w2: np.ndarray, w3: np.ndarray, groups: int) -> np.ndarray:
    """First and second derivative in theta of log det(information): (gene, 2).

    The arguments are the packed information and the same with w^2 and w^3 for its weights. With
    ``information = L L'``, the derivatives are traces of ``X = L^-1 M L^-T``, an arrow like M.
    """
    r = _covariates(w1.shape[1], groups)
    ratio, lower, inner, column = np.empty((groups, r)), np.zeros((r, r)), np.empty((r, r)), np.empty(r)
    out = np.empty((w1.shape[0], 2))
    for g in range(w1.shape[0]):
        _factor(w1[g], ratio, lower)
        third, _ = _whitened_sums(w1[g], w3[g], ratio, lower, inner, column)
        first, squares = _whitened_sums(w1[g], w2[g], ratio, lower, inner, column)
        out[g, 0] = -first
        out[g, 1] = 2.0 * third - squares
    return out


@compiled
def _whitened_sums(
    w1: np.ndarray,
    packed: np.ndarray,
    ratio: np.ndarray,
    lower: np.ndarray,
    inner: np.ndarray,
    column: np.ndarray,
) -> tuple[float, float]:
    """Trace and sum of squares of ``X = L^-1 M L^-T`` for a packed arrow M."""
    groups, r = ratio.shape
    trace, squares = 0.0, 0.0
    _whitened_inner(packed, ratio, lower, inner)
    for d in range(groups):
        if w1[d] > 0.0:
            share = packed[d] / w1[d]
            trace += share
            squares += share * share
            for j in range(r):
                total = packed[groups + d * r + j] - packed[d] * ratio[d, j]
                for k in range(j):
                    total -= lower[j, k] * column[k]
                column[j] = total / lower[j, j]
                squares += 2.0 * column[j] * column[j] / w1[d]
    for i in range(r):
        trace += inner[i, i]
        for j in range(r):
            squares += inner[i, j] * inner[i, j]
    return trace, squares


@compiled
def _whitened_inner(packed: np.ndarray, ratio: np.ndarray, lower: np.ndarray, inner: np.ndarray) -> None:
    """Inner part of X: the groups eliminated from both sides of M, then the Cholesky factor: (r, r)."""
    groups, r = ratio.shape
    for i in range(r):
        for j in range(i + 1):
            total = packed[groups + groups * r + i * (i + 1) // 2 + j]
            for d in range(groups):
                cross_i, cross_j = packed[groups + d * r + i], packed[groups + d * r + j]
                total += ratio[d, i] * (packed[d] * ratio[d, j] - cross_j) - cross_i * ratio[d, j]
            inner[i, j] = total
            inner[j, i] = total
    for _ in range(2):  # L^-1 from the left, twice with a transpose between: from both sides
        for j in range(r):
            for i in range(r):
                total = inner[i, j]
                for k in range(i):
                    total -= lower[i, k] * inner[k, j]
                inner[i, j] = total / lower[i, i]
        for i in range(r):
            for j in range(i):
                inner[i, j], inner[j, i] = inner[j, i], inner[i, j]
