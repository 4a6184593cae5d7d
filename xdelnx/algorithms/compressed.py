"""A block of counts as a task gets it, and what is made of it once: each gene for the path that costs it least.

Most counts of many samples need be visited no more than once: put on the nodes that stand for the samples
(`xdelnx.algorithms.zeros`, or along a covariate `xdelnx.algorithms.covariate`) they are in every later sum. Of the
other genes of many zeros the non-zero counts are taken out, and of the rest every entry is visited.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xdelnx.algorithms.basis import Layout
from xdelnx.algorithms.covariate import CovariateNodes
from xdelnx.algorithms.matrices import flat_rows, is_sparse
from xdelnx.algorithms.observations import mean_and_variance
from xdelnx.algorithms.subsampling import Subsample
from xdelnx.algorithms.weighting import counts_with_weight, estimable
from xdelnx.algorithms.zeros import SampleScale, StandIns, from_moments
from xdelnx.kernels.backend import Backend
from xdelnx.kernels.dense import SMALLEST_MEAN

Array = Any

SMALLEST_TILE = 16  # genes of a tile: columns are cut out of the block this many at once
DENSE_BELOW = 0.8  # of the samples: a gene with more to visit than this share takes the dense path
NODES_BELOW = 0.3  # of the samples: with no more stand-ins than this share, counts are put on these
LARGEST_ON_NODES = 50.0  # mean count of a gene; the error of a deviance from nodes grows with it
LARGEST_ON_COVARIATE = 200.0  # the same, where the alternative is to visit a kind for each sample
RARE = (
    4.0 * SMALLEST_MEAN
)  # expected count, in the sample of least scale of a kind with counts, by their mean


@dataclass(frozen=True)
class NonZero:
    """The non-zero counts of some genes, where these alone are visited.

    Parameters
    ----------
    genes, size
        Positions in the block, and how many counts each has.
    counts, places
        Flat, by gene and kind: the counts, and their samples' places in the order by kind.
    bounds
        (gene, kind + 1): where each gene's kinds begin.
    """

    genes: np.ndarray
    size: np.ndarray
    counts: Array
    places: Array
    bounds: Array


@dataclass(frozen=True)
class OnNodes:
    """The counts of some genes where they are put on nodes, and what else of them is asked for.

    Parameters
    ----------
    genes
        Positions in the block.
    by_node
        (gene, node): what falls of the counts to each node.
    mean, variance
        (gene,) of the counts.
    tails, singles, bounds
        Counts without their samples (`xdelnx.kernels.dense.count_tails`).
    """

    genes: np.ndarray
    by_node: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    tails: np.ndarray
    singles: np.ndarray
    bounds: np.ndarray

    def part(self, which: slice | np.ndarray) -> OnNodes:
        """Some of the genes."""
        by_gene = {name: values[which] for name, values in vars(self).items() if name != "singles"}
        return replace(self, **by_gene)


@dataclass(frozen=True)
class Compressed:
    """What is made of the counts of a block.

    Parameters
    ----------
    dense
        Genes with counts of which every entry is visited, as positions in the block.
    few, on_nodes
        The others, if any: those of which the non-zero counts are visited, and those whose counts are on nodes.
    nodes
        The nodes of a covariate that these are on, if not the stand-ins of the kinds.
    """

    dense: np.ndarray
    few: NonZero | None = None
    on_nodes: OnNodes | None = None
    nodes: CovariateNodes | None = None


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


def compress(
    backend: Backend, layout: Layout, block: Block, nodes: CovariateNodes | None = None
) -> Compressed:
    """Decide which genes' samples are not visited one by one, and take their counts out."""
    if nodes is not None:
        return _on_covariate(backend, layout, block, nodes)
    if _stand_ins_serve(backend, block):
        return _on_stand_ins(backend, layout, block)
    block = moved(backend, block)
    non_zero = non_zero_by_gene(backend, layout, block)
    pays = _pays(non_zero, block)
    few, dense = (np.flatnonzero((non_zero > 0) & chosen) for chosen in (pays, ~pays))
    if few.size == 0:  # as in bulk data: a kernel that is not called is not compiled
        return Compressed(dense)
    size = non_zero[few]
    taken = _taken_out(backend, layout.order, layout.starts, block.there, few, size)
    return Compressed(dense, NonZero(few, size, *taken))


def moved(backend: Backend, block: Block) -> Block:
    """Move what the block has of every entry to the device, in its own type; of a sparse matrix parts, as needed."""
    if backend.xp is np or block.moved is not None or is_sparse(block.counts):
        return block
    offset = None if block.offset is None else backend.array(block.offset)
    return replace(block, moved=backend.array(block.counts), offset=offset)


def non_zero_by_gene(backend: Backend, layout: Layout, block: Block) -> np.ndarray:
    """Non-zero counts of each gene; those of weight 0 do not count, nor do genes with too few others."""
    if block.weights is not None:
        found = counts_with_weight(block.counts, block.weights)
        return found if block.weights.ndim == 1 else np.where(estimable(layout, block.weights), found, 0)
    if is_sparse(block.counts):
        return np.diff(block.counts.indptr)
    return backend.to_numpy(backend.kernel("nonzero_by_gene")(*flat_rows(block.there), *block.counts.shape))


# ---- which path a gene takes: by its own counts, so that it does not depend on the gene's block ----------


def _pays(non_zero: np.ndarray, block: Block) -> np.ndarray:
    """Whether visiting the non-zero counts alone, and a few samples for the zeros, costs a gene less: (gene,)."""
    if block.offset is not None or block.weights is not None:
        return np.zeros(non_zero.shape, dtype=bool)
    n_samples, nodes = block.counts.shape[0], block.scale.zeros.scale.size
    return nodes + non_zero < DENSE_BELOW * n_samples


def _stand_ins_serve(backend: Backend, block: Block) -> bool:
    """Whether counts are put on the kinds' stand-ins."""
    few = block.scale.zeros.scale.size < NODES_BELOW * block.counts.shape[0]
    return backend.at_nodes and block.offset is None and block.weights is None and few


# ---- counts on nodes -------------------------------------------------------------------------------------


def _small(backend: Backend, counts: Any, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Genes whose mean is below a limit, so that sums over nodes lose no digits, the others, non-zero counts of all.

    Genes without a count are neither.
    """
    if is_sparse(counts):
        non_zero, total = np.diff(counts.indptr), np.asarray(counts.sum(axis=0, dtype=np.float64))
    else:
        non_zero, total = backend.kernel("sums_by_gene")(*flat_rows(counts), *counts.shape)
    small = total < limit * counts.shape[0]
    return np.flatnonzero((non_zero > 0) & small), np.flatnonzero((non_zero > 0) & ~small), non_zero


def _on_covariate(backend: Backend, layout: Layout, block: Block, nodes: CovariateNodes) -> Compressed:
    """Put counts on nodes along a covariate, in the samples' own order, as one kind."""
    genes, dense, non_zero = _small(backend, block.counts, LARGEST_ON_COVARIATE)
    if genes.size == 0:
        return Compressed(dense, nodes=nodes)
    one = np.arange(layout.order.size), layout.starts[[0, -1]]
    taken = _taken_out(backend, *one, block.counts, genes, non_zero[genes])
    by_node = _along_covariate(backend, nodes, *taken)
    on_nodes = _with_terms(backend, genes, by_node, taken[0], taken[2], layout.order.size)
    return Compressed(dense, on_nodes=on_nodes, nodes=nodes)


def _along_covariate(
    backend: Backend, nodes: CovariateNodes, counts: np.ndarray, places: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """What falls of the counts to each node, (gene, node), for as many genes at once as the cache holds."""
    by_node, width = np.empty((bounds.shape[0], nodes.size)), node_width(backend, nodes.size)
    for start in range(0, bounds.shape[0], width):
        part = slice(start, start + width)
        ends = np.append(bounds[part, 0], bounds[part, 1][-1])
        by_node[part] = backend.kernel("spread")(counts, places, ends, *nodes.spread_arguments)
    return by_node


def node_width(backend: Backend, n_nodes: int) -> int:
    """Genes of a tile with so many nodes."""
    return max(backend.tile // n_nodes, SMALLEST_TILE)


def _on_stand_ins(backend: Backend, layout: Layout, block: Block) -> Compressed:
    """Put counts on the stand-ins of the kinds; genes that are too rare for that keep them."""
    zeros, n = block.scale.zeros, layout.order.size
    genes, dense, non_zero = _small(backend, block.counts, LARGEST_ON_NODES)
    if genes.size == 0:
        return Compressed(dense)
    size = non_zero[genes]
    taken = _taken_out(backend, layout.order[zeros.order], zeros.pieces, block.counts, genes, size)
    by_node = backend.kernel("spread_by_piece")(*taken, zeros.pieces, zeros.nodes, zeros.x, from_moments())
    on_nodes = _with_terms(backend, genes, by_node, taken[0], taken[2], n)
    rare = _rare(block.scale, by_node)
    if not rare.any():
        return Compressed(dense, on_nodes=on_nodes)
    few = _picked(genes, size, *taken, rare, zeros)
    return Compressed(dense, few, on_nodes.part(~rare))


def _picked(
    genes: np.ndarray,
    size: np.ndarray,
    counts: np.ndarray,
    places: np.ndarray,
    bounds: np.ndarray,
    which: np.ndarray,
    zeros: StandIns,
) -> NonZero:
    """Counts of some of the genes, with places and bounds as those of kinds instead of pieces."""
    theirs = np.repeat(which, size)
    of_kinds = np.ascontiguousarray(bounds[which][:, zeros.kinds])
    of_kinds += (np.cumsum(size[which]) - of_kinds[:, -1])[:, None]
    in_kinds = zeros.order[places[theirs]].astype(np.int32)
    return NonZero(genes[which], size[which], counts[theirs], in_kinds, of_kinds)


def _rare(scale: SampleScale, by_node: np.ndarray) -> np.ndarray:
    """Whether means may be so small where there are counts that sums are not smooth (`SMALLEST_MEAN`): (gene,)."""
    zeros = scale.zeros
    totals = np.add.reduceat(by_node, zeros.starts[:-1], axis=1)
    least = totals / scale.kind_totals * zeros.least
    return np.any((totals != 0.0) & ~(least > RARE), axis=1)


def _with_terms(
    backend: Backend, genes: np.ndarray, by_node: np.ndarray, counts: np.ndarray, bounds: np.ndarray, n: int
) -> OnNodes:
    """Genes on nodes with the terms that hold no mean."""
    first, last = bounds[:, 0], bounds[:, -1]
    ends = np.append(first, last[-1])
    mean = backend.kernel("value_totals")(counts, np.stack([first, last], axis=1))[:, 0] / n
    moments = mean_and_variance(backend, counts, ends, mean, n)
    return OnNodes(genes, by_node, *moments, *backend.kernel("count_tails")(counts, ends))


def _taken_out(
    backend: Backend,
    order: np.ndarray,
    starts: np.ndarray,
    matrix: Any,
    genes: np.ndarray,
    non_zero: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Non-zero counts of some genes by kind, their samples' places in that order, and bounds."""
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
