"""What tells one job from another: the store it reads, its options, and the versions of what computes it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from xdelnx.messages import counted
from xdelnx.storage.outputs import is_local

PACKAGES = (
    "xdelnx",
    "numpy",
    "scipy",
    "numba",
    "pandas",
    "xarray",
    "dask",
    "distributed",
    "zarr",
    "formulaic",
)


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # distributed is optional
            continue
    return found


def fingerprint(store: str | os.PathLike[str], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What makes a job the same as another: ``input``, ``option`` and ``version``, each with values by name."""
    as_stored = json.loads(json.dumps(dict(options)))
    found = of_store(store)
    first = {name: found[name] for name in [options["counts"]] if name in found}  # what is asked about most
    return {"input": first | found, "option": as_stored, "version": versions()}


def absolute(store: str | os.PathLike[str]) -> str:
    """Path of a store from anywhere on this machine, or its URL."""
    return os.path.abspath(store) if is_local(store) else str(store)


def of_store(store: str | os.PathLike[str]) -> dict[str, str]:
    """Describe each variable of a Zarr store by its files: how many, their size, when written, and a checksum.

    The checksum is over names, sizes and times of the files, not over what is in them: it takes one listing. So it
    sees every variable written anew, chunks that were added, cut or removed, and edited metadata. It does not see a
    file changed in place with its size and time kept; and a copy of a store is another store, unless its times
    were copied too (``cp -a``, ``rsync -t``). Of a store elsewhere (a URL) it is the entity tag instead of the time,
    where there is one.
    """
    by_variable: dict[str, list[tuple[str, int, str]]] = {}
    for name, size, mark in _local(Path(store)) if is_local(store) else _remote(str(store)):
        by_variable.setdefault(name.partition("/")[0], []).append((name, size, mark))
    return {variable: _described(files) for variable, files in sorted(by_variable.items())}


def stored_bytes(store: str | os.PathLike[str], name: str) -> int | None:
    """Size of a variable as it is stored; None of one elsewhere, or of a file."""
    if not is_local(store) or not Path(store).is_dir():
        return None
    return sum(size for _, size, _ in _local(Path(store) / name))


def _described(files: Iterable[tuple[str, int, str]]) -> str:
    entries = sorted(files)
    digest = hashlib.sha256("\n".join(f"{name}\t{size}\t{mark}" for name, size, mark in entries).encode())
    size = sum(size for _, size, _ in entries)
    last = max(mark for *_, mark in entries)
    return f"{counted(len(entries), 'file')}, {size:,} bytes, last {last}, {digest.hexdigest()[:16]}"


def _local(store: Path) -> Iterator[tuple[str, int, str]]:
    """Files of a folder: name in it, size, and when it was written; or the one file that is there instead."""
    below = (Path(folder, name) for folder, _, names in os.walk(store, followlinks=True) for name in names)
    for path in [store] if store.is_file() else below:
        found = path.stat()
        seconds, rest = divmod(found.st_mtime_ns, 10**9)
        moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        name = path.name if path == store else path.relative_to(store).as_posix()
        yield name, found.st_size, f"{moment}.{rest:09d}"


def _remote(url: str) -> Iterator[tuple[str, int, str]]:
    """Objects below a URL: name, size, and an entity tag or a time."""
    from fsspec.core import url_to_fs  # the package that stores at URLs need

    files, root = url_to_fs(url)
    for path, about in files.find(root, detail=True).items():
        marks = (about.get(key) for key in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created"))
        mark = next((str(mark) for mark in marks if mark), "")
        yield path.removeprefix(root).strip("/"), int(about.get("size") or 0), mark
