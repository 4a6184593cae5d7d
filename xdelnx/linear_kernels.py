"""Compiled algebra of small symmetric matrices, one a gene, as packed lower triangles (row by row)."""

from __future__ import annotations

import math

import numpy as np

from xdelnx.kernels import compiled


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
