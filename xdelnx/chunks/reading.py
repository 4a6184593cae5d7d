"""Reads of counts that go wrong: what may pass is tried again, and what is damaged is told by chunk and genes."""

from __future__ import annotations

import gzip
import itertools
import lzma
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from operator import getitem
from typing import Any

from dask._task_spec import Task
from dask.array.core import getter, getter_inline, getter_nofancy

from xdelnx.chunks.faults import UnreadableError
from xdelnx.messages import listing

WAITS = (1.0, 5.0)
"""Seconds before the second try, and before the third and last."""

_DAMAGED = (RuntimeError, ValueError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)  # of codecs
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, gzip.BadGzipFile)
_OF_STORES = ("obstore", "aiohttp", "botocore")  # packages with errors of the network that are no OSError
_GETTERS = (getter, getter_nofancy, getter_inline, getitem)
_LAYERS = 12  # that xarray may put around an array of Zarr


def guarded(graph: Mapping[Any, Any], blocks: Sequence[Any], bounds: Sequence[slice]) -> dict[Any, Any]:
    """Have each task of a graph that gives these blocks say what it could not read, and of which genes."""
    genes = _genes(graph, blocks, bounds)
    return {
        key: _Reading.of(task, genes[key]) if type(task) is Task and key in genes else task
        for key, task in graph.items()
    }


def _genes(
    graph: Mapping[Any, Any], blocks: Sequence[Any], bounds: Sequence[slice]
) -> dict[Any, tuple[int, int]]:
    """First and last gene, and one more, of the blocks that a task has a part in."""
    found = {key: (part.start, part.stop) for key, part in zip(blocks, bounds, strict=True)}
    order = TopologicalSorter({key: task.dependencies for key, task in graph.items()}).static_order()
    for key in reversed(list(order)):
        if key in found:
            start, stop = found[key]
            for needed in graph[key].dependencies if key in graph else ():
                first, last = found.get(needed, (start, stop))
                found[needed] = min(first, start), max(last, stop)
    return found


class _Reading:
    """Function of a task, called again where that may help, with words about what it cannot read."""

    def __init__(self, function: Callable[..., Any], genes: tuple[int, int]) -> None:
        self.function, self.genes = function, genes

    @classmethod
    def of(cls, task: Task, genes: tuple[int, int]) -> Task:
        """Task that does the same under the same name."""
        return Task(task.key, cls(task.func, genes), *task.args, **task.kwargs)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        for wait in WAITS:
            try:
                return self.function(*arguments, **named)
            except Exception as error:
                if not _may_pass(error):
                    raise self._told(error, arguments) from error
            time.sleep(wait)
        try:
            return self.function(*arguments, **named)
        except Exception as error:
            raise self._told(error, arguments) from error

    def _told(self, error: Exception, arguments: tuple[Any, ...]) -> Exception:
        """Error that says which genes; the same where no array of Zarr is read, or something else is wrong."""
        source = next((entry for entry in arguments if _zarr_array(entry) is not None), None)
        if source is None:
            return error
        array, reason = _zarr_array(source), f"{type(error).__name__}: {error}"
        if _may_pass(error):
            message = (
                f"{array.store_path} did not answer in {len(WAITS) + 1} tries ({reason}); see to the store"
            )
            return UnreadableError(message, *self.genes)
        index = _index(self.function, arguments)
        if index is None or not isinstance(error, _DAMAGED) or _is_readable(source, index):
            return error
        chunks = list(_damaged(array, index)) if _is_whole(source) else []
        where = f", chunk {listing(chunks, 3)}," if chunks else ""
        what = f"{array.store_path}{where} is damaged and cannot be decoded ({reason})"
        return UnreadableError(f"{what}; copy it anew, or convert again", *self.genes)


def _may_pass(error: Exception) -> bool:
    """Whether an error is one of a disk or network, which the next try need not have."""
    if isinstance(error, OSError):
        return not isinstance(error, _FINAL)
    return type(error).__module__.partition(".")[0] in _OF_STORES


def _zarr_array(value: Any) -> Any:
    """Array of Zarr that this is, or that xarray has put layers around; None of anything else."""
    for _ in range(_LAYERS):
        if hasattr(value, "store_path"):
            return value
        value = getattr(value, "array", getattr(value, "_array", None))
        if value is None:
            return None
    return None


def _index(function: Callable[..., Any], arguments: Sequence[Any]) -> Sequence[slice] | None:
    """Which part of an array a task reads, by itself or, fused with others, in the first of these; None if unknown."""
    if function in _GETTERS:
        found = getattr(arguments[1], "value", arguments[1])
        return found if isinstance(found, tuple) and all(isinstance(part, slice) for part in found) else None
    inner = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
    for task in inner.values():
        if isinstance(task, Task) and task.func in _GETTERS:
            return _index(task.func, task.args)
    return None


def _damaged(array: Any, index: Sequence[slice]) -> Iterator[str]:
    """Names of the chunks (or shards) in a part of an array that cannot be decoded."""
    grid = array.shards or array.chunks
    if len(index) != len(grid):
        return
    spans = [
        range(part.indices(size)[0] // chunk, -(-part.indices(size)[1] // chunk))
        for part, size, chunk in zip(index, array.shape, grid, strict=True)
    ]
    for place in itertools.product(*spans):
        try:
            array[tuple(slice(i * chunk, (i + 1) * chunk) for i, chunk in zip(place, grid, strict=True))]
        except _DAMAGED:
            yield array.metadata.encode_chunk_key(place)


def _is_readable(source: Any, index: Sequence[slice]) -> bool:
    """Whether it was not the reading that failed but what else a task does."""
    try:
        getter(source, tuple(index))
    except _DAMAGED:
        return False
    return True


def _is_whole(source: Any) -> bool:
    """Whether what is read is the whole array, in its own order, rather than a part that xarray takes of it."""
    for _ in range(_LAYERS):
        parts = getattr(getattr(source, "key", None), "tuple", ())
        if any(part != slice(None) for part in parts):
            return False
        source = getattr(source, "array", None)
    return True
