"""A block of genes cut into tiles that fit the cache, or the card, each gene by the path that costs it least."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xdelnx.algorithms.basis import Layout
from xdelnx.algorithms.covariate import CovariateNodes
from xdelnx.algorithms.matrices import as_dense, flat_rows, is_sparse
from xdelnx.algorithms.node_observations import NodeObservations
from xdelnx.algorithms.observations import DenseObservations, NonZeroObservations, Observations
from xdelnx.algorithms.subsampling import Subsample
from xdelnx.algorithms.weighting import counts_with_weight, estimable
from xdelnx.algorithms.zeros import SampleScale
from xdelnx.kernels.backend import Backend

SMALLEST_TILE = 16  # genes of a tile: columns are cut out of the block this many at once
DENSE_BELOW = 0.8  # of the samples: a gene with more to visit than this share takes the dense path
TINIEST_WEIGHT = 1e-30  # of a node, by which counts are divided
LARGEST_ON_NODES = 200.0  # mean count of a gene; the error of a deviance from nodes grows with it


@dataclass(frozen=True)
class Compressed:
    """The non-zero counts of the genes of a block for which it pays to visit these alone.

    Parameters
    ----------
    dense
        Genes with counts of which every entry is visited, as positions in the block.
    genes, non_zero
        The others, and how many counts they have.
    counts, places
        Flat, by gene and kind: the counts, and their samples' places in the order by kind.
    bounds
        (gene, kind + 1): where each gene's kinds begin; with ``nodes`` (gene, 2), where it begins and ends.
    nodes, on_nodes
        The nodes that these counts are put on, if any, and what falls of them to each node: (gene, node).
    """

    dense: np.ndarray
    genes: np.ndarray
    non_zero: np.ndarray
    counts: np.ndarray
    places: np.ndarray
    bounds: np.ndarray
    nodes: CovariateNodes | None = None
    on_nodes: np.ndarray | None = None


@dataclass(frozen=True)
class Block:
    """Counts of some genes, as a task gets them.

    Parameters
    ----------
    counts
        (sample, gene), an array or sparse by columns (`xdelnx.algorithms.matrices`).
    scale
        Scale of the samples, by kind.
    offset
        (sample, gene) natural log of a further scale of each entry, or None.
    compressed
        What an earlier pass made of the counts, if it was kept.
    weights
        (sample,) or (sample, gene) weights of the counts, or None.
    nodes
        What may stand for the samples along a covariate, or None.
    moved
        The counts on the device, where it is not the host.
    """

    counts: Any
    scale: SampleScale
    offset: np.ndarray | None = None
    compressed: Compressed | None = None
    weights: np.ndarray | None = None
    nodes: CovariateNodes | None = None
    moved: Any = None

    @property
    def there(self) -> Any:
        """The counts, for kernels."""
        return self.counts if self.moved is None else self.moved

    @property
    def n_genes(self) -> int:
        """Genes of the block."""
        return self.counts.shape[1]

    def drawn(self, some: Subsample, layout: Layout) -> Block:
        """Only some of the samples, which lie in this layout."""
        rows = some.rows
        offset, weights = (None if values is None else values[rows] for values in (self.offset, self.weights))
        return Block(self.counts[rows], some.scale(self.scale, layout), offset, weights=weights)


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
    block = _moved(backend, block)
    few = block.compressed
    if few is None or few.nodes is not nodes:
        few = compress(backend, layout, block, nodes)
    yield from _dense_tiles(backend, layout, block, few.dense)
    if few.genes.size:
        at_nodes = None if nodes is None else _node_tiles(backend, nodes, few)
        yield from at_nodes or _nonzero_tiles(backend, layout, block.scale, few)


def compress(
    backend: Backend, layout: Layout, block: Block, nodes: CovariateNodes | None = None
) -> Compressed:
    """Decide which genes' zeros are not visited, and take their counts out."""
    block = _moved(backend, block)
    non_zero = _non_zero(backend, layout, block)
    pays = _pays(non_zero, block) if nodes is None else _small_enough(block.counts)
    genes = np.flatnonzero((non_zero > 0) & pays)
    order, starts = layout.order, layout.starts
    if nodes is not None:  # in the samples' own order, as one kind
        order, starts = np.arange(order.size), starts[[0, -1]]
    counts = _taken_out(backend, order, starts, block.there, genes, non_zero[genes])
    dense = np.flatnonzero((non_zero > 0) & ~pays)
    on_nodes = None if nodes is None else _on_nodes(backend, nodes, *counts)
    return Compressed(dense, genes, non_zero[genes], *counts, nodes, on_nodes)


def dense_tiles(
    backend: Backend, layout: Layout, block: Block, genes: np.ndarray | None = None
) -> Iterator[DenseTile]:
    """Cut the block, or some genes of it, into tiles whose every entry is visited, for results by sample.

    Genes without a count are left out, unless they are given. The samples of a tile are in the order
    of ``layout.order``.
    """
    block = _moved(backend, block)
    if genes is None:
        genes = np.flatnonzero(_non_zero(backend, layout, block) > 0)
    yield from _dense_tiles(backend, layout, block, genes)


def _moved(backend: Backend, block: Block) -> Block:
    """Move what the block has of every entry to the device, in its own type; of a sparse matrix parts, as needed."""
    if backend.xp is np or block.moved is not None or is_sparse(block.counts):
        return block
    offset = None if block.offset is None else backend.array(block.offset)
    return replace(block, moved=backend.array(block.counts), offset=offset)


def _non_zero(backend: Backend, layout: Layout, block: Block) -> np.ndarray:
    """Non-zero counts of each gene; those of weight 0 do not count, nor do genes with too few others."""
    if block.weights is not None:
        found = counts_with_weight(block.counts, block.weights)
        return found if block.weights.ndim == 1 else np.where(estimable(layout, block.weights), found, 0)
    if is_sparse(block.counts):
        return np.diff(block.counts.indptr)
    return backend.to_numpy(backend.kernel("nonzero_by_gene")(*flat_rows(block.there), *block.counts.shape))


def _pays(non_zero: np.ndarray, block: Block) -> np.ndarray:
    """Whether visiting the non-zero counts alone, and a few samples for the zeros, costs a gene less.

    Decided by the gene's own counts, so that a gene's path does not depend on its block.
    """
    if block.offset is not None or block.weights is not None:
        return np.zeros(non_zero.shape, dtype=bool)
    n_samples, nodes = block.counts.shape[0], block.scale.zeros.scale.size
    return nodes + non_zero < DENSE_BELOW * n_samples


def _small_enough(counts: Any) -> np.ndarray:
    """Whether a gene's counts are not so large that sums over nodes lose digits: (gene,)."""
    total = counts.sum(axis=0, dtype=np.float64)
    return np.asarray(total) < LARGEST_ON_NODES * counts.shape[0]


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


def _nonzero_tiles(backend: Backend, layout: Layout, scale: SampleScale, few: Compressed) -> Iterator[Tile]:
    zeros, with_scales = scale.zeros, backend.kernel("with_scales")
    nodes = backend.asarray(zeros.scale[None, :]), backend.asarray(zeros.weights[None, :]), zeros.starts
    dense = DenseObservations(backend, backend.asarray(np.zeros((1, zeros.scale.size))), *nodes)
    kinds = backend.asarray(scale.kind_totals[None, :]), backend.asarray(layout.sizes[None, :])
    cost = np.cumsum(few.non_zero + zeros.scale.size)
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


def _on_nodes(
    backend: Backend, nodes: CovariateNodes, counts: np.ndarray, places: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """What falls of the counts to each node, (gene, node), for as many genes at once as the cache holds."""
    on_nodes, width = np.empty((bounds.shape[0], nodes.size)), _node_width(backend, nodes)
    for start in range(0, bounds.shape[0], width):
        part = slice(start, start + width)
        ends = np.append(bounds[part, 0], bounds[part, 1][-1])
        on_nodes[part] = backend.kernel("spread")(counts, places, ends, *nodes.spread_arguments)
    return on_nodes


def _node_width(backend: Backend, nodes: CovariateNodes) -> int:
    return max(backend.tile // nodes.size, SMALLEST_TILE)


def _node_tiles(backend: Backend, nodes: CovariateNodes, few: Compressed) -> Iterator[Tile]:
    assert few.on_nodes is not None
    samples, width = nodes.samples, _node_width(backend, nodes)
    weights = np.where(samples.weights == 0.0, TINIEST_WEIGHT, samples.weights)[None, :]
    shared = backend.asarray(samples.scale[None, :]), backend.asarray(weights), samples.starts
    for start in range(0, few.genes.size, width):
        part = slice(start, start + width)
        bounds = few.bounds[part]
        first, last = bounds[0, 0], bounds[-1, 1]
        y = backend.asarray(few.on_nodes[part] / weights)
        dense = DenseObservations(backend, y, *shared, weighted=True)
        values, ends = backend.asarray(few.counts[first:last]), np.append(bounds[:, 0], last) - first
        observations = NodeObservations(backend, nodes, dense, values, ends, nodes.at.size)
        yield Tile(few.genes[part], observations, nodes)


def _taken_out(
    backend: Backend,
    order: np.ndarray,
    starts: np.ndarray,
    matrix: Any,
    genes: np.ndarray,
    non_zero: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Non-zero counts of some genes by kind, their samples' places in that order, and bounds."""
    if genes.size == 0:  # as in bulk data: a kernel that is not called is not compiled
        return np.zeros(0), np.zeros(0, dtype=np.int32), np.zeros((0, starts.size), dtype=np.int64)
    if not is_sparse(matrix):
        flat, stride = flat_rows(matrix)
        wanted, how_many = np.zeros((2, matrix.shape[1]), dtype=np.int64)
        wanted[genes], how_many[genes] = 1, non_zero
        bits = flat.view(f"u{flat.itemsize}")
        return backend.kernel("compress")(flat, bits, stride, wanted, how_many, order, starts)
    ends = np.concatenate([[0], np.cumsum(non_zero)])
    arrays = matrix.data, matrix.indices, matrix.indptr
    place = np.empty_like(order)
    place[order] = np.arange(place.size)
    return backend.kernel("compress_columns")(*arrays, genes, ends, place, starts)
