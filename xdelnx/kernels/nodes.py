"""Compiled loops that put counts on a few nodes and sum a deviance there.

The nodes are those of `xdelnx.algorithms.covariate` or of the kinds' pieces in `xdelnx.algorithms.zeros`.
"""

from __future__ import annotations

import math

import numpy as np

from xdelnx.kernels.dense import LANES, compiled
from xdelnx.scalars.negative_binomial import DIRECT_TERMS, deviance_of_count, deviance_of_mean

NODES = 16  # of a piece of a kind: its sums of Chebyshev polynomials are in a loop that is unrolled


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
def spread_by_piece(
    counts: np.ndarray,
    places: np.ndarray,
    bounds: np.ndarray,
    pieces: np.ndarray,
    nodes: np.ndarray,
    x: np.ndarray,
    from_moments: np.ndarray,
) -> np.ndarray:
    """What falls of each gene's counts to each node of the kinds' pieces: (gene, node).

    Gene g's counts in piece p and their samples are ``counts[bounds[g, p] : bounds[g, p + 1]]`` and ``places`` there;
    the others as in `xdelnx.algorithms.zeros.StandIns`. By way of sums of Chebyshev polynomials, which take no table.
    """
    out = np.zeros((bounds.shape[0], nodes[nodes.size - 1]))
    taken, sums = np.zeros(2 * LANES), np.empty(NODES * LANES)
    for g in range(bounds.shape[0]):
        for p in range(bounds.shape[1] - 1):
            first, last, node = bounds[g, p], bounds[g, p + 1], nodes[p]
            if pieces[p + 1] - pieces[p] == nodes[p + 1] - node:
                for e in range(first, last):
                    out[g, node + places[e] - pieces[p]] = counts[e]
            elif first < last:
                _chebyshev_sums(counts, places, first, last, x, taken, sums)
                for k in range(NODES):
                    for j in range(NODES):
                        out[g, node + j] += from_moments[j, k] * sums[k]
    return out


@compiled
def _chebyshev_sums(
    counts: np.ndarray,
    places: np.ndarray,
    first: int,
    last: int,
    x: np.ndarray,
    taken: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Sum of ``y T_k(x)`` over some counts, for each k: ``sums[:NODES]``.

    Some counts at a time, one in each lane of the registers.
    """
    for q in range(sums.size):
        sums[q] = 0.0
    for begin in range(first, last, LANES):
        n = min(LANES, last - begin)
        for i in range(n):
            taken[i] = counts[begin + i]
            taken[LANES + i] = x[places[begin + i]]
        for i in range(n, LANES):
            taken[i] = 0.0
        for i in range(LANES):
            y, even, odd = taken[i], 1.0, taken[LANES + i]
            twice = 2.0 * odd
            sums[i] += y
            sums[LANES + i] += y * odd
            for k in range(2, NODES, 2):
                even = twice * odd - even
                odd = twice * even - odd
                sums[k * LANES + i] += y * even
                sums[(k + 1) * LANES + i] += y * odd
    for k in range(NODES):
        total = 0.0
        for i in range(LANES):
            total += sums[k * LANES + i]
        sums[k] = total


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
