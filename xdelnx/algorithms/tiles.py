"""A block of genes cut into tiles that fit the cache, or the card, each gene by the path that costs it least."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xdelnx.algorithms.basis import Layout
from xdelnx.algorithms.compressed import (
    SMALLEST_TILE,
    Block,
    NonZero,
    OnNodes,
    compress,
    moved,
    node_width,
    non_zero_by_gene,
)
from xdelnx.algorithms.covariate import CovariateNodes
from xdelnx.algorithms.matrices import as_dense, flat_rows, is_sparse
from xdelnx.algorithms.node_observations import CovariateObservations, FactorObservations
from xdelnx.algorithms.observations import DenseObservations, NonZeroObservations, Observations
from xdelnx.algorithms.zeros import SampleScale, WeightedSamples
from xdelnx.kernels.backend import Backend

TINIEST_WEIGHT = 1e-30  # of a node, by which counts are divided


@dataclass(frozen=True)
class Tile:
    """Some genes of a block that have counts, ready for the algorithms."""

    genes: np.ndarray  # positions in the block
    observations: Observations
    nodes: CovariateNodes | None = None  # whose kinds the observations have, if not the layout's


@dataclass(frozen=True)
class DenseTile(Tile):
    """A tile whose every entry is visited."""

    observations: DenseObservations


def tiles(
    backend: Backend, layout: Layout, block: Block, nodes: CovariateNodes | None = None
) -> Iterator[Tile]:
    """Cut the block into tiles of a size for the backend; genes without a count are left out.

    With ``nodes`` the samples of a gene are visited once, to put its counts there. Whoever asks for that has to fit
    such tiles with the basis of the nodes, and to fit the genes again that these do not follow.
    """
    block = moved(backend, block)
    made = block.compressed
    if made is None or made.nodes is not nodes:
        made = compress(backend, layout, block, nodes)
    yield from _dense_tiles(backend, layout, block, made.dense)
    if made.few is not None:
        yield from _nonzero_tiles(backend, layout, block.scale, made.few)
    if made.on_nodes is not None:
        of_kinds = _factor_tiles(backend, layout, block.scale, made.on_nodes)
        yield from of_kinds if nodes is None else _covariate_tiles(backend, nodes, made.on_nodes)


def dense_tiles(
    backend: Backend, layout: Layout, block: Block, genes: np.ndarray | None = None
) -> Iterator[DenseTile]:
    """Cut the block, or some genes of it, into tiles whose every entry is visited, for results by sample.

    Genes without a count are left out, unless they are given. The samples of a tile are in the order
    of ``layout.order``.
    """
    block = moved(backend, block)
    if genes is None:
        genes = np.flatnonzero(non_zero_by_gene(backend, layout, block) > 0)
    yield from _dense_tiles(backend, layout, block, genes)


def _dense_tiles(backend: Backend, layout: Layout, block: Block, genes: np.ndarray) -> Iterator[DenseTile]:
    order, starts = layout.order, layout.starts
    width = max(backend.tile // order.size, SMALLEST_TILE)
    given = np.ones(order.size) if block.weights is None else block.weights
    weights = backend.asarray(given[order][None, :]) if given.ndim == 1 else None
    given = given if given.ndim == 1 else backend.array(given)
    shared = backend.asarray(block.scale.by_kind[None, :])
    for first in range(0, genes.size, width):
        part = genes[first : first + width]
        y = _by_kind(backend, block.there, part, order)
        scale = shared
        if block.offset is not None:
            scale = shared * backend.xp.exp(_by_kind(backend, block.offset, part, order))
        v = backend.asarray(_by_kind(backend, given, part, order)) if weights is None else weights
        weighted = block.weights is not None
        yield DenseTile(part, DenseObservations(backend, backend.asarray(y), scale, v, starts, weighted))


def _by_kind(backend: Backend, matrix: Any, genes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Columns of a matrix (sample, gene) as rows, their samples by kind: (gene, sample), float64."""
    if is_sparse(matrix):
        matrix, genes = as_dense(matrix[:, genes]), np.arange(genes.size)
    return backend.kernel("dense_rows")(*flat_rows(matrix), genes, order)


def _nonzero_tiles(backend: Backend, layout: Layout, scale: SampleScale, few: NonZero) -> Iterator[Tile]:
    zeros, with_scales = scale.zeros, backend.kernel("with_scales")
    nodes = backend.asarray(zeros.scale[None, :]), backend.asarray(zeros.weights[None, :]), zeros.starts
    dense = DenseObservations(backend, backend.asarray(np.zeros((1, zeros.scale.size))), *nodes)
    kinds = backend.asarray(scale.kind_totals[None, :]), backend.asarray(layout.sizes[None, :])
    cost = np.cumsum(few.size + zeros.scale.size)
    cuts = np.searchsorted(cost, np.arange(backend.nonzero_tile, cost[-1], backend.nonzero_tile))
    for part in np.split(np.arange(few.genes.size), cuts):
        if part.size == 0:
            continue
        first, last = int(few.bounds[part[0], 0]), int(few.bounds[part[-1], -1])
        values, of_values = with_scales(few.counts, few.places, scale.by_kind, first, last)
        bounds = backend.indices(few.bounds[part[0] : part[-1] + 1] - first)
        observations = NonZeroObservations(
            backend, dense, values, of_values, bounds, *kinds, layout.order.size
        )
        yield Tile(few.genes[part], observations)


def _factor_tiles(backend: Backend, layout: Layout, scale: SampleScale, counts: OnNodes) -> Iterator[Tile]:
    """Tiles of genes whose counts are on the stand-ins of the kinds."""
    zeros, n = scale.zeros, layout.order.size
    totals, sizes, least = (
        backend.asarray(values[None, :]) for values in (scale.kind_totals, layout.sizes, zeros.least)
    )
    for part in _parts(backend, counts, zeros):
        observations = FactorObservations(*_at_nodes(backend, part, zeros), n, totals, sizes, least)
        yield Tile(part.genes, observations)


def _covariate_tiles(backend: Backend, nodes: CovariateNodes, counts: OnNodes) -> Iterator[Tile]:
    """Tiles of genes whose counts are on the nodes of a covariate."""
    for part in _parts(backend, counts, nodes.samples):
        common = _at_nodes(backend, part, nodes.samples)
        yield Tile(part.genes, CovariateObservations(*common, nodes.at.size, nodes), nodes)


def _parts(backend: Backend, counts: OnNodes, samples: WeightedSamples) -> Iterator[OnNodes]:
    width = node_width(backend, samples.scale.size)
    for start in range(0, counts.genes.size, width):
        yield counts.part(slice(start, start + width))


def _at_nodes(
    backend: Backend, counts: OnNodes, samples: WeightedSamples
) -> tuple[Backend, DenseObservations, tuple[Any, Any], tuple[Any, Any, Any]]:
    """What `NodeObservations` are made of."""
    weights = np.where(samples.weights == 0.0, TINIEST_WEIGHT, samples.weights)[None, :]
    y, scale = backend.asarray(counts.by_node / weights), backend.asarray(samples.scale[None, :])
    nodes = DenseObservations(backend, y, scale, backend.asarray(weights), samples.starts, weighted=True)
    tails = backend.asarray(counts.tails), backend.asarray(counts.singles), backend.indices(counts.bounds)
    return backend, nodes, (backend.asarray(counts.mean), backend.asarray(counts.variance)), tails
