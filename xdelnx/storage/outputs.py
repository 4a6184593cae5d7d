"""Where outputs go, stores and tables: whole or not at all, and never over what must stay."""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from xdelnx.chunks.disks import full_disk_told
from xdelnx.messages import fail
from xdelnx.storage import remote
from xdelnx.storage.remote import is_url

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)
"""Errors that a folder gives which is not the user's, or no place for files."""


def check_output(
    path: str | os.PathLike[str], *, overwrite: bool, table: bool = False, apart_from: Iterable[Any] = ()
) -> Path:
    """Return the output's true path, or an error if something is there that must stay.

    Parameters
    ----------
    path
        Where to write.
    overwrite
        Whether what is there may be replaced: a Zarr store or an empty folder by a store, a file by a table.
    table
        Whether the output is a file, and not a store.
    apart_from
        Inputs and further outputs. Those that are paths must neither be this one, nor lie in it or around it.

    Raises
    ------
    ValueError
        If the output is not apart from the others.
    FileExistsError
        If something is there that may not be replaced.
    """
    target = PurePosixPath(str(path)) if is_url(path) else Path(os.path.realpath(path))  # a link stays a link
    for other in apart_from:
        if is_url(path) == is_url(other) and isinstance(other, str | os.PathLike):
            _check_apart(path, target, other)
    reason = (
        remote.must_stay(str(path), table=table) if is_url(path) else _must_stay(Path(target), table=table)
    )
    if reason == "" and not overwrite:
        reason = "exists already; choose another name, or overwrite it (overwrite=True, --overwrite)"
    if reason:
        msg = f"{path} {reason}"
        raise FileExistsError(msg)
    return Path(target)


def is_local(source: Any) -> bool:
    """Whether this is a path of this machine, rather than a URL or an object in memory."""
    return isinstance(source, str | os.PathLike) and not is_url(source)


def _check_apart(path: Any, target: PurePath, other: Any) -> None:
    """Raise ValueError if replacing the output would take something else away with it, or change it."""
    there = PurePosixPath(str(other)) if is_url(other) else Path(os.path.realpath(other))
    if target == there:
        name = "" if str(path) == str(other) else f" ({other})"
        fail(f"the output {path} is also an input or another output{name}; choose another name")
    if there in target.parents:
        fail(f"the output {path} lies inside {other}, an input or another output; choose another place")
    if target in there.parents:
        fail(f"the output {path} contains {other}, an input or another output; choose another name")


def _must_stay(target: Path, *, table: bool) -> str | None:
    """Why what is there is not replaced, even if that is asked for; as `xdelnx.storage.remote.must_stay`."""
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir():
        return f"cannot be made: {above} is a file, not a folder"
    if target.is_dir() and table:
        return "is a folder and a table is a file; choose another name"
    if target.is_dir() and any(target.iterdir()) and not _is_store(target):
        return "is a folder but not a Zarr store, so it is not overwritten; choose another name"
    if target.exists() and not target.is_dir() and not table:
        return "is a file and not a Zarr store, so it is not overwritten; choose another name"
    return "" if target.exists() else None


def _is_store(path: Path) -> bool:
    return any((path / name).exists() for name in remote.STORE_MARKS)


@contextmanager
def replacing(
    path: str | os.PathLike[str], *, overwrite: bool = False, table: bool = False, needed: int | None = None
) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    An error says where a disk is full, and that ``needed`` bytes at most are needed.
    """
    target = check_output(path, overwrite=overwrite, table=table)
    if is_url(path):
        with remote.uploaded(str(path), lambda: check_output(path, overwrite=overwrite, table=table)) as made:
            yield made
        return
    with full_disk_told(target, needed), _unwritable_told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _moved_to(target, lambda: check_output(path, overwrite=overwrite, table=table)) as partial:
            yield partial


@contextmanager
def _unwritable_told(target: Path) -> Iterator[None]:
    """Say which folder cannot be written to, rather than which temporary path in it."""
    try:
        yield
    except OSError as error:
        folder = next(above for above in target.parents if above.exists())
        inside = error.filename is not None and folder in Path(os.fsdecode(error.filename)).parents
        if inside and error.errno in UNWRITABLE:
            msg = f"cannot write to {folder} ({error.strerror}): choose another place for {target.name}"
            raise type(error)(msg) from error
        raise


@contextmanager
def _moved_to(target: Path, check: Callable[[], object]) -> Iterator[Path]:
    """Give a temporary path beside a target, to which it is renamed on success, after a check."""
    mark = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    partial, old = (target.parent / f".{target.name}.{mark}.{kind}" for kind in ("partial", "old"))
    try:
        yield partial
        check()  # somebody may have been faster
        if target.exists():
            target.rename(old)
        partial.rename(target)
    except BaseException:
        atexit.register(_remove, partial)  # a worker that is still writing would make it again
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        _remove(partial)
        _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
