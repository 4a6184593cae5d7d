"""A journal of a fit: what each pass made of each block of genes, on disk, so that a job that was stopped goes on.

A task writes its own result as soon as it has it, whole or not at all; a later run of the same job reads it and
leaves out the task. What lies between the passes is small and is computed again from those, to the same last digit.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from xdelnx.algorithms.survey import Survey
from xdelnx.chunks.disks import full_disk_told
from xdelnx.messages import fail

MANIFEST = "manifest.json"
_TORN = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)  # what reading half a file may raise


@dataclass(frozen=True)
class Journal:
    """Results of blocks in a folder, which all workers see under the same path.

    Parameters
    ----------
    folder
        Where they are; made by `begin`.
    manifest
        What the job is: two with equal manifests, but for when they were ``begun``, have equal results.
    begun
        When the job was begun, ISO 8601.
    prefix
        Of the names in the folder, for a part of the job that has the same passes as another.
    """

    folder: Path
    manifest: dict[str, Any]
    begun: str
    prefix: str = ""

    def begin(self) -> None:
        """Make the folder and say in it what the job is, unless that is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.is_begun:
            text = json.dumps(self.manifest | {"begun": self.begun}, indent=1)
            with _whole(self.folder / MANIFEST) as file:
                file.write(text.encode())

    @property
    def is_begun(self) -> bool:
        """Whether `begin` was called, by this process or an earlier one."""
        return (self.folder / MANIFEST).exists()

    def count(self) -> int:
        """Count the results that are there."""
        return len(list(self.folder.glob("*.npz")))

    def part(self, name: str) -> Journal:
        """Give the same folder to another part of the job."""
        return replace(self, prefix=f"{self.prefix}{name}-")

    def path(self, name: str) -> Path:
        """File of a result."""
        return self.folder / f"{self.prefix}{name}.npz"

    def kept(self, name: str) -> Any:
        """Result of that name; None if it is not there, or not whole."""
        return read(self.path(name))

    def remove(self) -> None:
        """Remove the folder: the job is done, or is not to go on."""
        shutil.rmtree(self.folder, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Manifest of a journal; None if there is none in the folder."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        fail(
            f"{folder} holds an unfinished fit whose {MANIFEST} is damaged; remove that folder to begin anew"
        )


_in_force: ContextVar[Journal | None] = ContextVar("journal", default=None)


def in_force() -> Journal | None:
    """Journal that a fit is to keep, if any."""
    return _in_force.get()


@contextmanager
def keeping(journal: Journal | None) -> Iterator[None]:
    """Have fits within keep this journal."""
    token = _in_force.set(journal)
    try:
        yield
    finally:
        _in_force.reset(token)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Have fits within keep a part of the journal in force, of that name."""
    journal = in_force()
    with keeping(None if journal is None else journal.part(name)):
        yield


# ---- files -----------------------------------------------------------------------------------------------


def computed(path: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, and write what it returns before it is given on."""
    value = function(*arguments)
    with _whole(Path(path)) as file:
        np.savez(file, **_packed(value))  # NumPy 2.1 would take allow_pickle for one of the arrays
    return value


def read(path: Path) -> Any:
    """Read what `computed` wrote; None if it is not there, or not whole."""
    try:
        with path.open("rb") as there, np.load(there, allow_pickle=False) as file:
            return _unpacked({name: file[name] for name in file.files})
    except _TORN:
        return None


@contextmanager
def _whole(path: Path) -> Iterator[Any]:
    """File to be written, which has its name once it is on the disk."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{uuid4().hex[:8]}")
    with full_disk_told(path):
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _packed(value: Any) -> dict[str, Any]:
    """Arrays by name, the kind of value before the name: a survey, arrays by name, or one array."""
    if isinstance(value, Survey):
        return {f"survey {name}": entry for name, entry in vars(value).items()}
    if isinstance(value, dict):
        return {f"arrays {name}": entry for name, entry in value.items()}
    return {"array ": value}


def _unpacked(arrays: dict[str, np.ndarray]) -> Any:
    kind = next(iter(arrays)).partition(" ")[0]
    named: dict[str, Any] = {name.partition(" ")[2]: array for name, array in arrays.items()}
    if kind == "survey":
        entries: dict[str, Any] = {
            name: array if array.ndim else array.item() for name, array in named.items()
        }
        return Survey(**entries)
    return named if kind == "arrays" else named[""]
