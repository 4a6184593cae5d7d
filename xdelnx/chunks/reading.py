"""Reads of counts that go wrong: what may pass is tried again, and what is damaged is told by chunk and genes."""

from __future__ import annotations

import gzip
import itertools
import lzma
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from operator import getitem
from typing import Any

from dask._task_spec import DataNode, Task
from dask.array.core import getter, getter_inline, getter_nofancy

from xdelnx.chunks.faults import (
    DamagedError,
    DamagedFileError,
    MissingChunkError,
    NoAnswerError,
    UnreadableError,
)
from xdelnx.messages import listing

WAITS = (1.0, 5.0)
"""Seconds before the second try, and before the third and last."""

_DAMAGED = (  # of codecs, and of a chunk that is gone
    *(RuntimeError, ValueError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile),
    MissingChunkError,
)
_FINAL = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, gzip.BadGzipFile),
    *(DamagedFileError, NoAnswerError),  # which were tried again
)
_OF_STORES = ("obstore", "aiohttp", "botocore")  # packages with errors of the network that are no OSError
_OF_WORDS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ParamValidationError")
_GETTERS = (getter, getter_nofancy, getter_inline, getitem)
_LAYERS = 12  # that xarray may put around an array of Zarr


def tried(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a function, and again, after a wait, where it fails at what may pass."""
    for wait in WAITS:
        try:
            return function(*arguments, **named)
        except Exception as error:
            if not may_pass(error):
                raise
        time.sleep(wait)
    return function(*arguments, **named)


def may_pass(error: Exception) -> bool:
    """Whether an error is one of a disk or network, which the next try need not have."""
    if isinstance(error, OSError):
        return not isinstance(error, _FINAL)
    kind = type(error)
    return kind.__module__.partition(".")[0] in _OF_STORES and kind.__name__ not in _OF_WORDS


def no_answer(place: Any, error: Exception) -> str:
    """Say that a store failed at each try."""
    tries = len(WAITS) + 1
    return f"{place} did not answer in {tries} tries ({type(error).__name__}: {error}); see to the store"


@dataclass(frozen=True)
class Lost:
    """Stands for a block that is damaged; ``reason`` says how."""

    reason: str


def guarded(
    graph: Mapping[Any, Any], blocks: Sequence[Any], bounds: Sequence[slice], *, tolerant: bool = False
) -> dict[Any, Any]:
    """Have each task of a graph that gives these blocks say what it could not read, and of which genes.

    It raises; where that is to be tolerated, a block that is damaged is `Lost`.
    """
    genes = _genes(graph, blocks, bounds)
    return {
        key: _guarded(task, genes[key], tolerant) if key in genes else task for key, task in graph.items()
    }


def _guarded(node: Any, genes: tuple[int, int], tolerant: bool) -> Any:  # noqa: FBT001
    if isinstance(node, DataNode):
        return DataNode(node.key, _strict(node.value))
    return _Reading.of(node, genes, tolerant) if type(node) is Task else node


def _strict(value: Any) -> Any:
    """What a task reads, strict about chunks that are gone."""
    if _zarr_array(value) is None:
        return value
    from xdelnx.chunks.strict import enforced

    return enforced(value)


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

    def __init__(
        self, function: Callable[..., Any], genes: tuple[int, int], *, tolerant: bool = False
    ) -> None:
        self.function, self.genes, self.tolerant = function, genes, tolerant

    @classmethod
    def of(cls, task: Task, genes: tuple[int, int], tolerant: bool) -> Task:  # noqa: FBT001
        """Task that does the same under the same name."""
        arguments = [_strict(value) for value in task.args]
        return Task(task.key, cls(task.func, genes, tolerant=tolerant), *arguments, **task.kwargs)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if not self.tolerant:
            return self._tried(*arguments, **named)
        try:
            return _lost(arguments) or self._tried(*arguments, **named)
        except DamagedError as error:
            return Lost(error.what)

    def _tried(self, *arguments: Any, **named: Any) -> Any:
        try:
            return tried(self.function, *arguments, **named)
        except Exception as error:
            raise self._told(error, arguments) from error

    def _told(self, error: Exception, arguments: tuple[Any, ...]) -> Exception:
        """Error that says which genes; the same if no array of Zarr or AnnData is read, or something else is wrong."""
        if isinstance(error, DamagedFileError):
            return DamagedError(error.what, *self.genes, error.remedy)
        source = next((entry for entry in arguments if _zarr_array(entry) is not None), None)
        if source is None:
            return error
        array, reason = _zarr_array(source), f"{type(error).__name__}: {error}"
        if may_pass(error):
            return UnreadableError(no_answer(array.store_path, error), *self.genes)
        index, gone = _index(self.function, arguments), isinstance(error, MissingChunkError)
        if not isinstance(error, _DAMAGED) or (not gone and (index is None or _is_readable(source, index))):
            return error
        chunks = list(_damaged(array, index)) if index is not None and _is_whole(source) else []
        chunks = chunks or ([error.chunk] if isinstance(error, MissingChunkError) else [])
        where = f", chunk {listing(chunks, 3)}," if chunks else ""
        what = "is missing" if gone else f"is damaged and cannot be decoded ({reason})"
        return DamagedError(f"{array.store_path}{where} {what}", *self.genes)


def _lost(value: Any) -> Lost | None:
    """The first of the parts that a task puts together that is lost."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return next((found for found in map(_lost, value) if found is not None), None)
    return value if isinstance(value, Lost) else None


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
        return _slices(arguments[1])
    if not arguments or not isinstance(arguments[0], dict):
        return None
    names = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], tuple) else ()
    given = dict(zip(names, arguments[3:], strict=False))  # what the tasks inside call by these names
    readers = (task for task in arguments[0].values() if isinstance(task, Task) and task.func in _GETTERS)
    part = next((task.args[1] for task in readers), None)
    return _slices(given.get(getattr(part, "key", None), part))


def _slices(part: Any) -> Sequence[slice] | None:
    found = getattr(part, "value", part)
    return found if isinstance(found, tuple) and all(isinstance(entry, slice) for entry in found) else None


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
