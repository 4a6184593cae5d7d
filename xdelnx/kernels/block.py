"""Compiled loops over a block of counts as it comes, (sample, gene), and from there to the order of the algorithms.

A block is ``flat``, its samples one after another, each ``stride`` numbers from the next
(`xdelnx.algorithms.matrices.flat_rows`): so a part of a larger array is read where it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xdelnx.kernels.dense import compiled

TOGETHER = 8  # counts of a sample that are looked at together


@compiled
def _entry(flat: np.ndarray, at: int) -> Any:
    """Return ``flat[at]``; a place that cannot be negative leaves a loop free for vector registers."""
    return flat[np.uint64(at)]


@compiled
def look_at_whole_numbers(
    flat: np.ndarray, stride: int, n_samples: int, n_genes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Totals (sample,), non-zero and negative counts of each gene (gene,), and the largest count."""
    totals = np.empty(n_samples)
    non_zero, negative = np.zeros(n_genes, dtype=np.int64), np.zeros(n_genes, dtype=np.int64)
    largest = np.int64(flat[0]) if flat.size else np.int64(0)
    for i in range(n_samples):
        total, most, least = np.int64(0), largest, np.int64(0)
        for g in range(n_genes):
            value = np.int64(_entry(flat, i * stride + g))
            total += value
            most = max(most, value)
            least = min(least, value)
        for g in range(n_genes):
            non_zero[g] += 1 if _entry(flat, i * stride + g) != 0 else 0
        for g in range(n_genes if least < 0 else 0):
            negative[g] += 1 if _entry(flat, i * stride + g) < 0 else 0
        totals[i] = total
        largest = most
    return totals, non_zero, negative, float(largest)


@compiled
def look_at_fractions(
    flat: np.ndarray, stride: int, n_samples: int, n_genes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray, int]:
    """Do as `look_at_whole_numbers`, and count what is not finite by gene, and the fractions."""
    totals = np.empty(n_samples)
    non_zero, negative = np.zeros(n_genes, dtype=np.int64), np.zeros(n_genes, dtype=np.int64)
    not_finite = np.zeros(n_genes, dtype=np.int64)
    largest, fractions = float(flat[0]) if flat.size else 0.0, 0
    for i in range(n_samples):
        total = 0.0
        for g in range(n_genes):
            value = float(_entry(flat, i * stride + g))
            total += value
            largest = max(largest, value)
            fractions += 1 if math.isfinite(value) and value != math.floor(value) else 0
        for g in range(n_genes):
            value = _entry(flat, i * stride + g)
            non_zero[g] += 1 if value != 0 else 0
            negative[g] += 1 if value < 0 else 0
            not_finite[g] += 0 if math.isfinite(value) else 1
        totals[i] = total
    return totals, non_zero, negative, largest, not_finite, fractions


@compiled
def nonzero_by_gene(flat: np.ndarray, stride: int, n_samples: int, n_genes: int) -> np.ndarray:
    """Non-zero counts of each gene: (gene,)."""
    out = np.zeros(n_genes, dtype=np.int64)
    for i in range(n_samples):
        for g in range(n_genes):
            out[g] += 1 if _entry(flat, i * stride + g) != 0 else 0
    return out


@compiled
def sums_by_gene(
    flat: np.ndarray, stride: int, n_samples: int, n_genes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Non-zero counts of each gene, and the sum of its counts: (gene,) each."""
    non_zero, total = np.zeros(n_genes, dtype=np.int64), np.zeros(n_genes)
    for i in range(n_samples):
        for g in range(n_genes):
            value = _entry(flat, i * stride + g)
            non_zero[g] += 1 if value != 0 else 0
            total[g] += value
    return non_zero, total


@compiled
def dense_rows(flat: np.ndarray, stride: int, columns: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Counts of some genes, (gene, sample), with the samples in a given order."""
    out = np.empty((columns.size, order.size))
    for first in range(0, order.size, TOGETHER):
        last = min(first + TOGETHER, order.size)
        for c in range(columns.size):
            for i in range(first, last):
                out[c, i] = _entry(flat, order[i] * stride + columns[c])
    return out


# ---- the non-zero counts of some genes, by gene and kind -------------------------------------------------


@compiled
def _nonzero_by_sample(
    flat: np.ndarray, bits: np.ndarray, stride: int, n_samples: int, wanted: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Non-zero counts of the wanted genes (gene,), sample after sample: counts, genes, ends.

    Every count is written, and the next one written over it unless it is wanted and not zero: no branch
    to guess. ``bits`` are the counts as whole numbers without a sign, to pass over zeros together.
    """
    counts, genes = np.empty(size + 1, dtype=flat.dtype), np.empty(size + 1, dtype=np.int32)
    ends = np.zeros(n_samples + 1, dtype=np.int64)
    n, whole = 0, wanted.size // TOGETHER * TOGETHER
    for i in range(n_samples):
        row = i * stride
        for first in range(0, whole, TOGETHER):
            found = bits.dtype.type(0)
            for g in range(first, first + TOGETHER):
                found |= _entry(bits, row + g)
            if found != 0:
                for g in range(first, first + TOGETHER):
                    value = _entry(flat, row + g)
                    counts[np.uint64(n)] = value
                    genes[np.uint64(n)] = g
                    n += wanted[g] & (value != 0)
        for g in range(whole, wanted.size):
            value = _entry(flat, row + g)
            counts[n] = value
            genes[n] = g
            n += wanted[g] & (value != 0)
        ends[i + 1] = n
    return counts, genes, ends


@compiled
def compress(
    flat: np.ndarray,
    bits: np.ndarray,
    stride: int,
    wanted: np.ndarray,
    non_zero: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Non-zero counts of the wanted genes by gene and kind.

    ``bits`` is ``flat`` as whole numbers, ``wanted`` (gene,) 1 or 0, ``non_zero`` (gene,) how many counts a gene
    has, ``order`` (sample,) puts the samples by kind. Gives the counts, each one's sample as a place in that
    order, and ``bounds`` (wanted gene, kind + 1). By way of the counts sample after sample, since to write many
    genes at once costs more than to read: it is done for the non-zero counts only.
    """
    size, n_wanted = 0, 0
    at = np.empty(wanted.size, dtype=np.int64)  # loops instead of slices: those take seconds to compile
    for g in range(wanted.size):
        at[g] = size
        size += wanted[g] * non_zero[g]
        n_wanted += wanted[g]
    by_sample, genes, ends = _nonzero_by_sample(flat, bits, stride, order.size, wanted, size)
    counts, places = np.empty(size, dtype=flat.dtype), np.empty(size, dtype=np.int32)
    bounds = np.empty((n_wanted, starts.size), dtype=np.int64)
    for k in range(starts.size):
        c = 0
        for g in range(wanted.size):
            if wanted[g]:
                bounds[c, k] = at[g]
                c += 1
        for i in range(starts[k], starts[k + 1] if k + 1 < starts.size else starts[k]):
            for e in range(ends[order[i]], ends[order[i] + 1]):
                to = at[genes[e]]
                counts[to] = by_sample[e]
                places[to] = i
                at[genes[e]] = to + 1
    return counts, places, bounds


@compiled
def compress_columns(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    columns: np.ndarray,
    ends: np.ndarray,
    place: np.ndarray,
    starts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Do as `compress` from the arrays of a CSC matrix; ``place`` (sample,) is a sample's in the order."""
    counts, places = np.empty(ends[-1], dtype=data.dtype), np.empty(ends[-1], dtype=np.int32)
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
            counts[at[k]] = data[e]
            places[at[k]] = i
            at[k] += 1
    return counts, places, bounds


@compiled
def with_scales(
    counts: np.ndarray, places: np.ndarray, scale: np.ndarray, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of a tile as floating point numbers, and the scale of each one's sample."""
    values, s = np.empty(last - first), np.empty(last - first)
    for e in range(first, last):
        values[e - first] = counts[e]
        s[e - first] = scale[places[e]]
    return values, s
