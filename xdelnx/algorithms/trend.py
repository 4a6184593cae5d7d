"""The trend of the overdispersion over the mean: a local median, as glmGamPoi has it (Ahlmann-Eltze & Huber 2020)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from xdelnx.kernels.dense import compiled

EXACT_GENES = 50_000  # the sliding median is exact up to here,
CENTRES = 10_000  # and interpolated between this many centres beyond
WINDOWS_TOGETHER = 32  # whose medians are sought together
LEAST_WINDOWS = 2_048  # that are worth a thread
HALF = 0.5 - 1e-12  # of the weight, less rounding


def local_median(mean: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Weighted median of the overdispersion over the genes of similar mean: (gene,).

    A window of a tenth of the genes (at least 100), weighted by a normal density over +-3
    standard deviations; genes whose mean agrees to 10 digits are ordered by overdispersion,
    so that rounding does not decide. Genes that agree in both share the mean of their values, so
    that their order does not decide either.
    """
    n = mean.size
    if n == 0:
        return theta.copy()
    rounded = _significant(mean, 10), _significant(theta, 10)
    order = np.lexsort(rounded[::-1])
    places = np.argsort(theta[order], kind="stable")
    values, ranks = theta[order][places], np.empty(n, dtype=np.int32)  # twice as many in a register
    ranks[places] = np.arange(n)
    half = int(min(max(0.1 * n, 100.0), n) // 2)
    weights = _normal_weights(min(2 * half + 1, n))
    if 2 * half + 1 > n:
        medians = np.full(n, values[_weighted_medians(ranks, places, weights, np.array([0]), 0)[0]])
    else:
        last = n - weights.size
        first = (
            np.arange(last + 1)
            if n <= EXACT_GENES
            else np.linspace(0, last, CENTRES).round().astype(np.int64)
        )
        found = values[_on_all_cores(ranks, places, weights, first)]
        medians = np.interp(np.arange(n) - half, first, found)
    trend = np.empty(n)
    trend[order] = _shared(medians, *(key[order] for key in rounded))
    return trend


def _on_all_cores(
    ranks: np.ndarray, places: np.ndarray, weights: np.ndarray, first: np.ndarray
) -> np.ndarray:
    """As `_weighted_medians`, to the same bits, a part of the windows on each core.

    Nothing else runs then: no pass begins before the trend is there, which would take an eighth of a fit.
    """
    width = max(-(-first.size // (os.cpu_count() or 1) // WINDOWS_TOGETHER) * WINDOWS_TOGETHER, LEAST_WINDOWS)
    starts = range(0, first.size, width)
    with ThreadPoolExecutor(len(starts)) as pool:
        parts = [
            pool.submit(
                _weighted_medians, ranks, places, weights, first[at : at + width], first[max(at - 1, 0)]
            )
            for at in starts
        ]
        return np.concatenate([part.result() for part in parts])


def _shared(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean of the values over each run of sorted pairs that are equal in both."""
    starts = np.flatnonzero(np.concatenate([[True], (np.diff(first) != 0.0) | (np.diff(second) != 0.0)]))
    sizes = np.diff(np.append(starts, values.size))
    return np.repeat(np.add.reduceat(values, starts) / sizes, sizes)


def _significant(x: np.ndarray, digits: int) -> np.ndarray:
    """Round to significant digits."""
    ordinary = (x > 1e-200) & (x < 1e200)  # the power of ten of others would over- or underflow
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.where(ordinary, x, 1.0))))
    return np.where(ordinary, np.round(np.where(ordinary, x, 1.0) * scale) / scale, x)


def _normal_weights(width: int) -> np.ndarray:
    weights = np.exp(-0.5 * np.linspace(-3.0, 3.0, width) ** 2)
    return weights / weights.sum()


@compiled
def _weight_up_to(ranks: np.ndarray, weights: np.ndarray, first: int, rank: int) -> float:
    total, at_most = 0.0, np.int32(rank)
    for j in range(weights.size):  # a place that cannot be negative leaves the loop free for vector registers
        total += weights[j] if ranks[np.uint64(first + j)] <= at_most else 0.0
    return total


@compiled
def _median_by_bisection(ranks: np.ndarray, weights: np.ndarray, first: int, guess: int, reach: int) -> int:
    """Lower weighted median, as a rank, of the window that begins at ``first``; sought from a guess outwards."""
    low, high = -1, ranks.size - 1  # the weight up to low is below a half, up to high it is not
    step, probe = reach, guess
    while high - low > 1:
        if _weight_up_to(ranks, weights, first, probe) < HALF:
            low = probe
            probe = low + step
        else:
            high = probe
            probe = high - step
        step *= 2
        if probe <= low or probe >= high:
            probe = (low + high) // 2
            step = (high - low) // 2 + 1
    return high


@compiled
def _median_in_band(
    ranks: np.ndarray, weights: np.ndarray, first: int, low: int, band: np.ndarray, n_band: int
) -> int:
    """Lower weighted median, as a rank, if it is that of a place in ``band`` (the ranks above ``low``); or -1."""
    total = _weight_up_to(ranks, weights, first, low)
    if total >= HALF:
        return -1
    for i in range(n_band):
        j = band[i] - first
        if 0 <= j < weights.size:
            total += weights[j]
            if total >= HALF:
                return ranks[band[i]]
    return -1


@compiled
def _weighted_medians(
    ranks: np.ndarray, places: np.ndarray, weights: np.ndarray, first: np.ndarray, before: int
) -> np.ndarray:
    """Lower weighted median, as a rank, of the window that begins at each of ``first``, which ascend from ``before``.

    ``ranks`` (gene,) are a permutation and ``places`` its inverse. The medians of neighbours are close: some
    windows are taken together, the medians of the outer ones are found by bisection, and for those between
    the weight up to the lower of the two (and a margin) is summed once, the rest gene by gene.
    """
    out = np.empty(first.size, dtype=np.int64)
    band = np.empty(ranks.size, dtype=np.int64)
    margin = ranks.size // 100 + 2
    begin = _median_by_bisection(ranks, weights, before, ranks.size // 2, ranks.size // 4 + 1)
    for start in range(0, first.size, WINDOWS_TOGETHER):
        last = min(start + WINDOWS_TOGETHER, first.size) - 1
        end = _median_by_bisection(ranks, weights, first[last], begin, 2)
        low, high = min(begin, end) - margin, max(begin, end) + margin
        n_band = 0
        for rank in range(max(low + 1, 0), min(high + 1, ranks.size)):
            if first[start] <= places[rank] < first[last] + weights.size:
                band[n_band] = places[rank]
                n_band += 1
        for c in range(start, last):
            found = _median_in_band(ranks, weights, first[c], low, band, n_band)
            out[c] = found if found >= 0 else _median_by_bisection(ranks, weights, first[c], begin, 2)
        out[last] = begin = end
    return out
