"""Stores whose every chunk was written: one that is gone is an error, where Zarr would give zeros without a word.

A Zarr store may leave out chunks that hold nothing but the fill value, so that a reader cannot know whether one that
is not there was ever there. Our writers write them all, and say so in an attribute of the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.storage import WrapperStore

from xdelnx.chunks.faults import MissingChunkError

MARK = "_nc_chunks_written"
"""Attribute of a group: by the name of an array, how many chunks (or shards) along each dimension were all written.

xarray hides attributes of groups that begin like those of NCZarr, so that a copy which it makes, without chunks of
zeros, does not claim the same.
"""

_LAYERS = ("array", "_array")  # what xarray's layers around an array call it


def mark(group: Any) -> None:
    """Say that all chunks of each array that a group has now are written, or will be before anyone reads it."""
    arrays = dict(group.arrays())  # as the folder lists them, in any order
    group.attrs[MARK] = {name: _grid(arrays[name]) for name in sorted(arrays)}


def _grid(array: Any) -> list[int]:
    chunks = array.shards or array.chunks
    return [-(-size // chunk) for size, chunk in zip(array.shape, chunks, strict=True)]


def strictly(group: Any) -> StrictStore | None:
    """Store of a group, which raises where a chunk is gone that was written; None if the group is not marked."""
    marked = group.attrs.get(MARK)
    if not isinstance(marked, dict):
        return None
    return StrictStore(
        group.store, {f"{group.path}/{name}".strip("/"): tuple(grid) for name, grid in marked.items()}
    )


def enforced(value: Any) -> Any:
    """The same array, or layers of xarray around it, that raises where a chunk is gone, if its group is marked."""
    if isinstance(value, zarr.Array):
        return _enforced(value)
    for name in _LAYERS:
        inner = getattr(value, name, None)
        strict = inner if inner is None else enforced(inner)
        if strict is not inner:
            changed = copy(value)
            setattr(changed, name, strict)
            return changed
    return value


def _enforced(array: Any) -> Any:
    if isinstance(array.store, StrictStore) or not array.path:
        return array
    try:
        group = zarr.open_group(array.store, path=array.path.rpartition("/")[0], mode="r")
    except (OSError, ValueError, KeyError):  # an array without a group
        return array
    store = strictly(group)
    return array if store is None else zarr.open_array(store, path=array.path, mode="r")


class StrictStore(WrapperStore[Store]):
    """A store in which a chunk that was written and is not there is an error.

    Parameters
    ----------
    store
        The store itself.
    written
        How many chunks were written along each dimension, by the path of the array.
    """

    def __init__(self, store: Store, written: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__(store)
        self.written = dict(written)

    def with_read_only(self, read_only: bool = False) -> StrictStore:  # noqa: FBT001, FBT002 - as Zarr calls it
        """Give the same for reading alone."""
        return type(self)(self._store.with_read_only(read_only), self.written)

    def __str__(self) -> str:
        files, path = getattr(self._store, "fs", None), getattr(self._store, "path", None)
        return str(self._store) if files is None else str(files.unstrip_protocol(path))  # a URL

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Read as the store does, but raise where a chunk is gone."""
        found = await self._store.get(key, prototype, byte_range)
        if found is None:
            path, _, chunk = key.rpartition("/c")
            if self._was_written(path, chunk):
                array = f"{self}/{path}"
                raise MissingChunkError(array, f"c{chunk}")
        return found

    def _was_written(self, path: str, chunk: str) -> bool:
        """Whether ``/0/3`` is a chunk of the array at that path that was there once."""
        place = chunk.split("/")[1:]
        grid = self.written.get(path)
        if grid is None or len(place) != len(grid) or not all(part.isdecimal() for part in place):
            return False
        return all(int(part) < size for part, size in zip(place, grid, strict=True))
