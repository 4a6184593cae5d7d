"""Outputs at a URL, as of an object store: made on this machine, and copied there whole or not at all.

Object stores have no rename. But what makes a Zarr store one is its metadata at the root, which is removed first and
copied last, so that at no moment there is half a store for a reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xdelnx.chunks.disks import full_disk_told
from xdelnx.chunks.faults import NoAnswerError
from xdelnx.chunks.reading import may_pass, no_answer, tried

ROOT_METADATA = "zarr.json"
STORE_MARKS = (ROOT_METADATA, ".zgroup", ".zmetadata")
"""Files by which a folder is known as a Zarr store."""


def is_url(place: Any) -> bool:
    """Whether this is a URL rather than a path of this machine or an object in memory."""
    return isinstance(place, str) and "://" in place


def local_name(url: str) -> str:
    """Name for what belongs to a URL and is kept on this machine, in the current folder."""
    return f"{url.rstrip('/').rpartition('/')[2]}-{sha256(url.encode()).hexdigest()[:8]}"


def must_stay(url: str, *, table: bool) -> str | None:
    """Why what is at a URL may not be replaced at all; an empty string if it may, None if there is nothing."""
    files, root = _opened(url)
    if not answered(url, files.exists, root):
        return None
    if answered(url, files.isdir, root):
        if table:
            return "is a folder and a table is a file; choose another name"
        if any(answered(url, files.exists, f"{root}/{name}") for name in STORE_MARKS):
            return ""
        return "is a folder but not a Zarr store, so it is not overwritten; choose another name"
    return "" if table else "is a file and not a Zarr store, so it is not overwritten; choose another name"


def _opened(url: str) -> tuple[Any, str]:
    """File system of a URL, which remembers no listing, and the path in it."""
    from fsspec.core import url_to_fs  # the package that stores at URLs need

    files, root = url_to_fs(url)
    files.invalidate_cache()
    return files, root.rstrip("/")


def answered(place: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a file system or store, and again where it fails at what may pass.

    Raises
    ------
    NoAnswerError
        It did so at every try; the message names the place.
    """
    try:
        return tried(function, *arguments)
    except Exception as error:
        if not may_pass(error):
            raise
        raise NoAnswerError(no_answer(place, error)) from error


def zarr_group(store: Any) -> Any:
    """Open a Zarr group for reading: at a path or URL, or of a store object; raises as Zarr does, or as `answered`.

    A path is given as such: of one that is text, Zarr 3.4 takes what is after # or ; for parts of a URL.
    """
    import zarr

    open_group = partial(zarr.open_group, mode="r")
    if is_url(store):
        return answered(store, open_group, store)
    return open_group(Path(store) if isinstance(store, str) else store)


@contextmanager
def uploaded(url: str, check: Callable[[], object]) -> Iterator[Path]:
    """Give a path on this machine; what is made there is at the URL in the end, after a check."""
    with TemporaryDirectory(prefix="xdelnx-") as folder:
        made = Path(folder) / local_name(url)
        with full_disk_told(made):
            yield made
        check()  # somebody may have been faster
        _copied(made, url)


def _copied(made: Path, url: str) -> None:
    """Put a file or a folder in the place of what is at a URL."""
    files, root = _opened(url)
    if made.is_file():
        answered(url, files.put_file, str(made), root)
        return
    if answered(url, files.exists, f"{root}/{ROOT_METADATA}"):
        answered(url, files.rm_file, f"{root}/{ROOT_METADATA}")
    if answered(url, files.exists, root):
        answered(url, lambda: files.rm(root, recursive=True))
    paths = sorted(path for path in made.rglob("*") if path.is_file() and path != made / ROOT_METADATA)
    targets = [f"{root}/{path.relative_to(made).as_posix()}" for path in paths]
    try:
        _put(url, files, paths, targets)
        answered(url, files.put_file, str(made / ROOT_METADATA), f"{root}/{ROOT_METADATA}")
    except BaseException:
        with suppress(OSError):
            files.rm(root, recursive=True)
        raise


def _put(url: str, files: Any, paths: list[Path], targets: list[str]) -> None:
    """Copy files, all at once or, where that fails, one after the other."""
    sources = [str(path) for path in paths]
    try:
        files.put(sources, targets)
    except FileNotFoundError:  # a file system that has folders
        for folder in {target.rpartition("/")[0] for target in targets}:
            files.makedirs(folder, exist_ok=True)
        files.put(sources, targets)
    except Exception as error:
        if not may_pass(error):
            raise
        for source, target in zip(sources, targets, strict=True):
            answered(url, files.put_file, source, target)
