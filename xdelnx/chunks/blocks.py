"""Chunks: counts in blocks of genes, each with all samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import getitem
from typing import Any
from uuid import uuid4

import dask
import dask.array as da
import dask.local
import dask.threaded
import numpy as np
from dask._task_spec import DataNode, Task, TaskRef, convert_legacy_graph
from dask.core import flatten
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from xdelnx.algorithms.matrices import as_dense, as_matrix
from xdelnx.algorithms.weighting import Entries
from xdelnx.chunks.faults import told_by_genes, told_of_scheduler
from xdelnx.chunks.journal import Journal
from xdelnx.chunks.reading import guarded
from xdelnx.chunks.schedulers import client_in_force, scheduler
from xdelnx.chunks.watching import watching
from xdelnx.steps.outliers import replace_counts

BLOCK_ENTRIES = 16_000_000  # counts of a block at most, 8 million of 64 bits, unless one gene has more: 64 MB
BLOCKS = 8  # at least so many for data that is not chunked, to keep a few workers busy
SMALLEST_BLOCK = 256  # genes, unless the data has smaller chunks
SAMPLE_BYTES = 1000  # that a graph may hold for each sample: its row of the design, and what is made of it
LARGE_GRAPH, LARGE_GRAPH_BYTES = (
    "distributed.admin.large-graph-warning-threshold",
    10_000_000,
)  # as distributed has it


# ---- blocks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blocks:
    """Counts, and a per-entry offset if there is one, in blocks of genes with all samples.

    Parameters
    ----------
    counts
        (sample, gene) Dask array, one chunk of samples.
    offset
        The same for the natural log of a per-entry scale, or None.
    in_memory
        Whether the counts are an array in memory and not read or computed with each pass.
    replaced
        (gene, sample), lazy or not: which counts `xdelnx.steps.outliers.replace_counts` replaces as they are
        read; None for none.
    scale
        (sample,) scale for that, lazy or not.
    weights
        Weights of the counts, a Dask array as these, or (sample,); None for none.
    journal
        Where passes keep what they make of each block, and look for it first; None for nowhere.
    """

    counts: da.Array
    offset: da.Array | None = None
    in_memory: bool = False
    replaced: Any = None
    scale: Any = None
    weights: Any = None
    journal: Journal | None = None

    @property
    def kept(self) -> bool:
        """Whether what one pass makes of a block may wait in memory for the next: neither on a cluster nor on disk."""
        run = scheduler() or dask.base.get_scheduler()
        return (
            self.in_memory and self.journal is None and run in {None, dask.threaded.get, dask.local.get_sync}
        )

    @property
    def bounds(self) -> list[slice]:
        """Genes of each block."""
        ends = np.cumsum(self.counts.chunks[1])
        return [
            slice(int(stop - size), int(stop)) for size, stop in zip(self.counts.chunks[1], ends, strict=True)
        ]

    def read(self, after: Any = None) -> list[tuple[Delayed, Delayed | None]]:
        """Give each block of counts with its offset (or `Entries`), under names of their own in each call.

        Passes that are separated by the step across genes must not share a read: one lazy array
        used by both would keep every block in memory until the first pass is over. Nor may they
        begin before what they wait for, ``after``, is there: workers that are idle meanwhile would
        read every block.
        """
        counts = renamed_blocks(self.counts, after, self.bounds)
        offsets: list[Any] = [None] * len(counts)
        if self.offset is not None:
            offsets = renamed_blocks(self.offset, after, self.bounds)
        if self.weights is not None:
            offsets = self._entries(offsets, after)
        pairs = list(zip(counts, offsets, strict=True))
        if self.replaced is None:
            return pairs
        mask, scale = dask.delayed(self.replaced), dask.delayed(self.scale)
        return [
            (dask.delayed(_replaced)(*pair, mask, (part.start, part.stop), scale), pair[1])
            for pair, part in zip(pairs, self.bounds, strict=True)
        ]

    def _entries(self, offsets: list[Any], after: Any) -> list[Any]:
        """Offset and weights of each block."""
        if isinstance(self.weights, da.Array):
            weights = renamed_blocks(self.weights, after, self.bounds)
        else:
            weights = [as_it_is(self.weights)] * len(offsets)
        return [dask.delayed(Entries)(*pair) for pair in zip(offsets, weights, strict=True)]


def _replaced(
    counts: Any, offset: np.ndarray | None, mask: np.ndarray, genes: tuple[int, int], scale: np.ndarray
) -> Any:
    return replace_counts(counts, offset, mask[slice(*genes)], scale)


def renamed_blocks(
    array: da.Array, after: Any, bounds: Sequence[slice], *, tolerant: bool = False
) -> list[Delayed]:
    """Blocks of an array whose every task has a new name, and none runs before ``after`` is computed.

    What goes wrong in a task is told by its genes, of which each block has those within its ``bounds``; what is
    damaged raises or, where that is ``tolerant``, is `xdelnx.chunks.reading.Lost`.

    (`dask.graph_manipulation.clone` leaves the names inside tasks as they were: dask issue 12455.)
    """
    (array,) = dask.optimize(array)
    graph = convert_legacy_graph(dict(array.__dask_graph__()))
    name = f"read-{uuid4().hex}"
    names = {key: (name, i) for i, key in enumerate(graph)}
    layer: dict[Any, Any] = {
        names[key]: task.substitute(names, key=names[key]) for key, task in graph.items()
    }
    keys = [names[key] for key in flatten(array.__dask_keys__())]
    layer = guarded(layer, keys, bounds, tolerant=tolerant)
    waits: list[Any] = [after] if isinstance(after, Delayed) else []
    if waits:
        stores = {key for key, task in layer.items() if isinstance(task, DataNode)}
        layer = {key: _later(task, after.key, stores) for key, task in layer.items()}
    renamed = HighLevelGraph.from_collections(name, layer, waits)
    return [Delayed(key, renamed, layer=name) for key in keys]


def _later(task: Any, key: Any, stores: set[Any]) -> Any:
    """Make a task that depends on nothing, or on the array of a store alone, depend on a key, whose value it drops."""
    if not isinstance(task, Task) or task.dependencies - stores:
        return task
    return Task(task.key, _second, TaskRef(key), task)


def _second(_first: Any, second: Any) -> Any:
    return second


def gene_blocks(
    counts: Any, offset: Any = None, weights: Any = None, *, entries: int | None = None
) -> Blocks:
    """Arrange counts (sample, gene), a per-entry offset, and weights, per sample or entry, in blocks of genes.

    A block has ``entries`` counts at most, `BLOCK_ENTRIES` if None, half of them of 64 bits, unless one gene has more.
    """
    halves = 2 if counts.dtype.itemsize > 4 else 1
    limit = max((entries or BLOCK_ENTRIES) // halves // counts.shape[0], 1)
    if isinstance(counts, da.Array):
        widths = _merged(counts.chunks[1], limit)
    else:
        widths = _even(counts.shape[1], limit)
    offset = None if offset is None else _chunked(offset, widths)
    weights = _chunked(weights, widths) if np.ndim(weights) == 2 else weights
    in_memory = not isinstance(counts, da.Array)
    return Blocks(_chunked(counts, widths), offset, in_memory=in_memory, weights=weights)


def _chunked(array: Any, widths: tuple[int, ...]) -> da.Array:
    chunks = (array.shape[0], widths)
    if isinstance(array, da.Array):
        return array.rechunk(chunks, method="tasks")  # p2p would hold every block at a barrier
    return da.from_array(_InMemory(array), chunks=chunks, name=False, asarray=False, meta=array[:0, :0])


class _InMemory:
    """An array in memory, of which Dask takes parts; of an ordinary array it would make a copy first."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]


def _even(n_genes: int, limit: int) -> tuple[int, ...]:
    return _widths(n_genes, min(max(-(-n_genes // BLOCKS), SMALLEST_BLOCK), limit))


def _widths(n_genes: int, width: int) -> tuple[int, ...]:
    full, rest = divmod(n_genes, width)
    return (width,) * full + ((rest,) if rest else ())


def _merged(chunks: Sequence[int], limit: int) -> tuple[int, ...]:
    """Merge neighbouring chunks to blocks of a good size, and cut those that are far too large.

    Small chunks are merged so that there are few tasks, but not below `BLOCKS` blocks.
    """
    wanted = max(min(limit, -(-sum(chunks) // BLOCKS)), 1)
    widths: list[int] = []
    for chunk in chunks:
        if chunk > 2 * limit:
            widths.extend(_widths(chunk, limit))
        elif widths and widths[-1] + chunk <= wanted:
            widths[-1] += chunk
        else:
            widths.append(chunk)
    return tuple(widths)


def dense(counts: da.Array) -> da.Array:
    """The same array; where its blocks are sparse, each becomes an ordinary array when it is computed."""
    if isinstance(counts._meta, np.ndarray):
        return counts
    meta = np.empty((0, 0), dtype=counts.dtype)
    return da.map_blocks(_dense, counts, dtype=meta.dtype, meta=meta)


def _dense(block: Any) -> np.ndarray:
    return as_dense(as_matrix(block))


# ---- results ---------------------------------------------------------------------------------------------


def by_block(
    blocks: Blocks, function: Callable[..., Any], by_gene: np.ndarray | None = None, **by_sample: np.ndarray
) -> da.Array:
    """Dask array (sample, gene) of what a function makes of each block, its part of ``by_gene``, and ``by_sample``."""
    meta = np.empty((0, 0), dtype=np.float64)
    arrays = [blocks.counts]
    if by_gene is not None:
        arrays.append(da.from_array(by_gene[None, :], chunks=(1, blocks.counts.chunks[1]), name=False))
    shared = {name: as_it_is(values) for name, values in by_sample.items()}
    return da.map_blocks(function, *arrays, dtype=np.float64, meta=meta, **shared)


def settled(value: Any, what: str = "computing") -> Any:
    """Compute on the scheduler in force, and show how far that is (`xdelnx.progress`)."""
    with told_of_scheduler(client_in_force()), told_by_genes(value, what), watching(value, what):
        return dask.compute(value, scheduler=scheduler())[0]


@contextmanager
def by_sample(counts: Any) -> Iterator[None]:
    """Have a cluster warn of graphs that hold counts, not of those with numbers by sample, which may be many."""
    with dask.config.set({LARGE_GRAPH: LARGE_GRAPH_BYTES + SAMPLE_BYTES * counts.shape[0]}):
        yield


def left_lazy(value: Any, what: str = "") -> Any:  # noqa: ARG001
    """Leave a step of the fit in the graph: the counterpart of `settled`."""
    return value


def as_it_is(value: Any) -> Delayed:
    """Give a value to tasks without a look through its parts for what is still to be computed.

    What all blocks need, above all numbers by sample, takes one such call before them: a task that is given
    the value itself has a copy of its own in the graph.
    """
    return value if isinstance(value, Delayed) else dask.delayed(value, traverse=False)


def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function here and now, in the caller's process: the counterpart of `lazily`."""
    return function(*arguments)


def lazily(function: Callable[..., Any], *arguments: Any) -> Delayed:
    """Call a function when its arguments are there."""
    return dask.delayed(function)(*arguments)


def pick(result: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """One array of a result: itself, or lazily as a Dask array of one chunk."""
    if isinstance(result, Delayed):
        return da.from_delayed(dask.delayed(getitem)(result, name), shape, dtype)
    return result[name]


def vector(values: Delayed, size: int) -> da.Array:
    """Numbers (size,) that are computed later."""
    return da.from_delayed(values, (size,), np.float64)


def mask(values: Any, shape: tuple[int, int]) -> Any:
    """Booleans of that shape, as a Dask array where they are computed later."""
    return da.from_delayed(values, shape, bool) if isinstance(values, Delayed) else values
