"""Compiled loops that put counts on a few nodes (`xdelnx.algorithms.covariate`) and sum a deviance there."""

from __future__ import annotations

import math

import numpy as np

from xdelnx.kernels.dense import compiled
from xdelnx.scalars.negative_binomial import DIRECT_TERMS, deviance_of_count, deviance_of_mean


@compiled
def spread(
    counts: np.ndarray,
    places: np.ndarray,
    ends: np.ndarray,
    at: np.ndarray,
    alone: np.ndarray,
    by_scale: np.ndarray,
    by_covariate: np.ndarray,
    n_nodes: int,
) -> np.ndarray:
    """What falls of each gene's counts to each node: (gene, node).

    Gene g's counts and their samples, rising, are ``counts[ends[g] : ends[g + 1]]`` and ``places`` there; the others as
    in `xdelnx.algorithms.covariate.CovariateNodes`. Sample by sample, so that its products are made once.
    """
    out, following = np.zeros((ends.size - 1, n_nodes)), ends[:-1].copy()
    products = np.empty(by_scale.shape[1] * by_covariate.shape[1])
    for i in range(at.size):
        if not alone[i]:
            _outer(by_covariate[i], by_scale[i], products)
        for g in range(following.size):
            e = following[g]
            if e == ends[g + 1] or places[e] != i:
                continue
            following[g] = e + 1
            if alone[i]:
                out[g, at[i]] += counts[e]
            else:
                _add_times(out[g], at[i], products, float(counts[e]))
    return out


@compiled
def _outer(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Product of each of x with each of y, one x after another."""
    for j in range(x.size):
        for k in range(y.size):
            out[j * y.size + k] = x[j] * y[k]


@compiled
def _add_times(row: np.ndarray, first: int, products: np.ndarray, y: float) -> None:
    """Add y times the products to a row from ``first`` on."""
    for q in range(products.size):
        row[np.uint64(first + q)] += y * products[q]


@compiled
def node_deviance_sums(
    y: np.ndarray,
    scale: np.ndarray,
    log_scale: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    m: np.ndarray,
    theta: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """Terms of the deviance that hold the mean, summed over weighted nodes: (active,)."""
    out = np.empty(rows.size)
    for a in range(rows.size):
        counts, total = y[rows[a]], 0.0
        for k in range(starts.size - 1):
            rate, log_rate = m[a, k], math.log(m[a, k])
            for i in range(starts[k], starts[k + 1]):
                part = deviance_of_mean(counts[i], rate * scale[i], log_rate + log_scale[i], theta[a])
                total += weights[i] * part
        out[a] = total
    return out


@compiled
def count_deviance_sums(
    tails: np.ndarray, singles: np.ndarray, bounds: np.ndarray, theta: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Terms of the deviance that hold no mean, of the counts as `count_tails` gives them: (active,)."""
    out = np.empty(rows.size)
    for a in range(rows.size):
        g, total = rows[a], 0.0
        for j in range(1, DIRECT_TERMS):
            total += (tails[g, j - 1] - tails[g, j]) * deviance_of_count(float(j), theta[a])
        for i in range(bounds[g, 0], bounds[g, 2]):
            total += deviance_of_count(singles[i], theta[a])
        filled = bounds[g, 1] - bounds[g, 0] - tails[g, DIRECT_TERMS - 1]
        out[a] = total - filled * deviance_of_count(float(DIRECT_TERMS), theta[a])
    return out
