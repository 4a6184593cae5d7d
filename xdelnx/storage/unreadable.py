"""Words about files and stores that cannot be read: those that are damaged, and those that do not answer."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from xdelnx.chunks.faults import DamagedFileError
from xdelnx.chunks.reading import may_pass
from xdelnx.messages import fail
from xdelnx.storage.remote import answered


def check_there(path: Path) -> None:
    """Raise if there is no input at a path, or none that can be read more than once.

    Raises
    ------
    FileNotFoundError
        There is nothing.
    ValueError
        It is neither a file nor a folder.
    """
    if not path.exists():
        msg = f"there is nothing at {path}"
        raise FileNotFoundError(msg)
    if not (path.is_file() or path.is_dir()):
        fail(f"{path} is a pipe or a device, and inputs are read more than once; write it to a file first")


def read(where: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that reads, and again where a disk or network fails.

    Raises
    ------
    DamagedFileError
        What is there ends too early, or cannot be decoded.
    NoAnswerError
        The disk or network failed at every try.
    """
    return answered(where, _told, where, partial(function, *arguments))


def _told(where: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except FileNotFoundError:
        raise
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error) as error:
        if may_pass(error) and not _is_of_hdf5(error):
            raise
        raise DamagedFileError(where, f"{error}") from error


def _is_of_hdf5(error: Exception) -> bool:
    """Whether it is what h5py raises at a file that it cannot decode; a disk's errors have numbers."""
    return type(error) is OSError and error.errno is None
