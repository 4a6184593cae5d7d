"""Kernels that a card makes of whole-array operations: what is sorted or picked out once a tile.

They take and give what the kernels of the same name in `xdelnx.kernels.block`, `dense` and `weighted` do, as
arrays of the backend; results are in the same order.
"""

from __future__ import annotations

from typing import Any

from xdelnx.kernels.backend import Backend
from xdelnx.scalars.negative_binomial import DIRECT_TERMS

Array = Any


def nonzero_by_gene(backend: Backend, flat: Array, stride: int, n_samples: int, n_genes: int) -> Array:
    """Non-zero counts of each gene: (gene,)."""
    xp = backend.xp
    matrix = xp.reshape(backend.array(flat), (n_samples, stride))[:, :n_genes]
    return xp.count_nonzero(matrix, axis=0)


def dense_rows(backend: Backend, flat: Array, stride: int, columns: Array, order: Array) -> Array:
    """Counts of some genes, (gene, sample), with the samples in a given order."""
    return backend.asarray(_rows(backend, flat, stride, columns, order))


def _rows(backend: Backend, flat: Array, stride: int, columns: Array, order: Array) -> Array:
    """Do as `dense_rows`, in the type the counts have."""
    xp, flat = backend.xp, backend.array(flat)
    at = backend.indices(columns)[:, None] + backend.indices(order)[None, :] * stride
    return xp.take(flat, at)


def compress(
    backend: Backend, flat: Array, _bits: Array, stride: int, wanted: Array, _non_zero: Array,
    order: Array, starts: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Non-zero counts of the wanted genes by gene and kind, their places in the order by kind, and bounds."""
    xp, n = backend.xp, order.shape[0]
    genes, first = xp.nonzero(backend.array(wanted))[0], 0
    width, parts = max(backend.nonzero_tile // max(n, 1), 1), []
    for begin in range(0, genes.shape[0], width):
        part = genes[begin : begin + width]
        rows = xp.reshape(_rows(backend, flat, stride, part, order), (-1,))
        at = xp.nonzero(rows)[0]
        bounds = first + _bounds(backend, at, part.shape[0], n, starts)
        parts.append((xp.take(rows, at), xp.astype(at % n, xp.int32), bounds))
        first += at.shape[0]
    counts, places, bounds = (xp.concat(each, axis=0) for each in zip(*parts, strict=True))
    return counts, places, bounds


def _bounds(backend: Backend, keys: Array, n_genes: int, n: int, starts: Array) -> Array:
    """Where each gene's kinds begin among ascending keys, ``gene * n + place``: (gene, kind + 1)."""
    xp = backend.xp
    edges = xp.arange(n_genes)[:, None] * n + backend.indices(starts)[None, :]
    return xp.reshape(xp.searchsorted(keys, xp.reshape(edges, (-1,))), edges.shape)


def compress_columns(
    backend: Backend, data: Array, indices: Array, indptr: Array, columns: Array, ends: Array,
    place: Array, starts: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Do as `compress` from the arrays of a CSC matrix; ``place`` (sample,) is a sample's in the order."""
    xp, n = backend.xp, place.shape[0]
    size = int(ends[-1])
    first, ends = backend.indices(indptr[columns]), backend.indices(ends)
    gene = xp.searchsorted(ends, xp.arange(size), side="right") - 1
    at = xp.arange(size) - xp.take(ends, gene) + xp.take(first, gene)
    keys = gene * n + xp.take(backend.indices(place), xp.take(backend.indices(indices), at))
    by_kind = xp.argsort(keys)
    keys = xp.take(keys, by_kind)
    bounds = _bounds(backend, keys, columns.shape[0], n, starts)
    return xp.take(backend.array(data), xp.take(at, by_kind)), xp.astype(keys % n, xp.int32), bounds


def with_scales(
    backend: Backend, counts: Array, places: Array, scale: Array, first: int, last: int
) -> tuple[Array, Array]:
    """Counts of a tile as floating point numbers, and the scale of each one's sample."""
    of_values = backend.xp.take(backend.asarray(scale), backend.array(places)[first:last])
    return backend.asarray(backend.array(counts)[first:last]), of_values


def count_tails(backend: Backend, values: Array, ends: Array) -> tuple[Array, Array, Array]:
    """How many samples of each gene exceed j, for each j below `DIRECT_TERMS`, and counts summed one by one."""
    one = backend.xp.ones(1, dtype=backend.xp.float64)
    tails, singles, bounds, _ = _tails(backend, values, one, ends)
    return tails, singles, bounds


def weighted_tails(backend: Backend, y: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
    """Do as `count_tails` with weights (1 or gene, sample), and give those of the counts summed one by one."""
    xp = backend.xp
    ends = xp.arange(y.shape[0] + 1) * y.shape[1]
    every = xp.reshape(weights + xp.zeros_like(y), (-1,))
    return _tails(backend, xp.reshape(y, (-1,)), every, ends)


def _tails(backend: Backend, values: Array, weights: Array, ends: Array) -> tuple[Array, Array, Array, Array]:
    """Tails, the counts summed one by one with their bounds, and the weights of these (one for all if one is given)."""
    xp = backend.xp
    tails = backend.kernel("exceeding")(values, weights, ends)
    known = weights > 0.0
    large = xp.nonzero((values >= DIRECT_TERMS) & known)[0]
    small = xp.nonzero((values < DIRECT_TERMS) & (values != xp.floor(values)) & known)[0]
    before_large, before_small = (xp.searchsorted(found, ends) for found in (large, small))
    both = before_large + before_small
    bounds = xp.stack([both[:-1], both[:-1] + before_large[1:] - before_large[:-1], both[1:]], axis=1)
    at = large
    if small.shape[0]:  # within a gene after the large ones
        gene = [xp.searchsorted(ends, found, side="right") for found in (large, small)]
        order = xp.argsort(xp.concat([2 * gene[0], 2 * gene[1] + 1]), stable=True)
        at = xp.take(xp.concat([large, small]), order)
    return tails, xp.take(values, at), bounds, weights if weights.shape[0] == 1 else xp.take(weights, at)
