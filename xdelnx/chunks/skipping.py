"""Genes whose chunks are damaged or gone: found in a pass of their own, and left out by reading zeros in their place.

A gene without a count takes no part in size factors, trend, prior and adjustment, so that all others are fitted as if
the store did not have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np

from xdelnx.chunks import tasks
from xdelnx.chunks.blocks import Blocks, renamed_blocks
from xdelnx.chunks.faults import ANEW, DamagedError
from xdelnx.chunks.reading import Lost


@dataclass(frozen=True)
class Damage:
    """Genes that cannot be read, from ``start`` up to ``stop``, and why."""

    start: int
    stop: int
    reason: str

    @property
    def genes(self) -> slice:
        """Positions of the genes."""
        return slice(self.start, self.stop)


def damaged(
    blocks: Blocks, counts: Any, offset: Any, weights: Any, settle: Callable[..., Any]
) -> list[Damage]:
    """Read every block once, and give what cannot be read.

    Parameters
    ----------
    blocks
        The counts in blocks of genes.
    counts, offset, weights
        The same as they came, with a per-entry offset and weights, which have to be readable, too: where a block is
        damaged that was merged of several chunks of genes, only those of the chunks that are are given.
    settle
        As for `xdelnx.chunks.passes.fit`.

    Raises
    ------
    DamagedError
        No gene can be read.
    """
    merged = blocks.counts, blocks.offset, blocks.weights
    found = _damaged(blocks, blocks.bounds, merged, settle)
    finer = [part for damage in found for part in _own_chunks(counts, damage)]
    if len(finer) > len(found):
        found = _damaged(blocks, finer, (counts, offset, weights), settle)
    if sum(damage.stop - damage.start for damage in found) == counts.shape[1]:
        what = f"no gene can be read: {found[0].reason}"
        raise DamagedError(what, 0, counts.shape[1], ANEW)
    return found


def _damaged(
    blocks: Blocks, parts: Sequence[slice], arrays: Sequence[Any], settle: Callable[..., Any]
) -> list[Damage]:
    """Which of these genes, by parts, cannot be read."""
    lazy = [array for array in arrays if isinstance(array, da.Array)]
    read = [renamed_blocks(_taken(array, parts), None, parts, tolerant=True) for array in lazy]
    checks = tasks.of_parts(blocks, "check", parts, _reason, zip(*read, strict=True))
    reasons = settle(checks, "check of the chunks")
    return [
        Damage(part.start, part.stop, str(reason))
        for part, reason in zip(parts, reasons, strict=True)
        if str(reason)
    ]


def _reason(*blocks: Any) -> np.ndarray:
    """Why one of the blocks of the same genes cannot be read; empty if all can."""
    return np.array(next((block.reason for block in blocks if isinstance(block, Lost)), ""))


def _taken(array: da.Array, parts: Sequence[slice]) -> da.Array:
    """These genes alone, each part a chunk with all samples."""
    widths = tuple(part.stop - part.start for part in parts)
    if sum(widths) < array.shape[1]:
        array = da.concatenate([array[:, part] for part in parts], axis=1)
    return array.rechunk((array.shape[0], widths), method="tasks")


def _own_chunks(source: da.Array, damage: Damage) -> Iterator[slice]:
    """Genes of a damaged block by the chunks that it was merged of; all of it where these are sparse matrices."""
    ends = np.cumsum(source.chunks[1]) if isinstance(source, da.Array) else np.zeros(0, dtype=int)
    inner = ends[(ends > damage.start) & (ends < damage.stop)]
    if not inner.size or not isinstance(source._meta, np.ndarray):
        inner = inner[:0]
    edges = [damage.start, *map(int, inner), damage.stop]
    yield from map(slice, edges[:-1], edges[1:])


def left_out(lost: Sequence[slice], counts: Any, offset: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Counts, and what comes with each of them, NumPy or Dask, without those of these genes, which are in order."""
    return _filled(counts, lost, 0), _filled(offset, lost, 0), _filled(weights, lost, 1)


def _filled(array: Any, lost: Sequence[slice], value: int) -> Any:
    """Array (sample, gene) with a number in the place of some genes; what has no genes is as it was."""
    if not lost or np.ndim(array) < 2:
        return array
    if not isinstance(array, da.Array):
        array = np.array(array)
        for gap in lost:
            array[:, gap] = value
        return array
    parts, at = [], 0
    for gap in [*lost, slice(array.shape[1], array.shape[1])]:
        parts += [array[:, at : gap.start]] if gap.start > at else []
        if gap.stop > gap.start:
            shape = array.shape[0], gap.stop - gap.start
            parts.append(da.full(shape, value, dtype=array.dtype, chunks=shape))
        at = gap.stop
    return da.concatenate(parts, axis=1).rechunk(array.chunks, method="tasks")


def runs(marked: np.ndarray) -> list[slice]:
    """Runs of genes that are marked (gene,), in order."""
    edges = np.flatnonzero(np.diff(marked.astype(np.int8), prepend=0, append=0))
    return [slice(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
