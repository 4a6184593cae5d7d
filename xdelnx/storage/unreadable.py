"""Words about files and stores that cannot be read: those that are damaged, and those that do not answer."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from xdelnx.chunks.faults import DamagedFileError
from xdelnx.chunks.reading import may_pass
from xdelnx.storage.remote import answered


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
    with _of_damage(where):
        return function()


@contextmanager
def _of_damage(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error) as error:
        if may_pass(error) and not _is_of_hdf5(error):
            raise
        raise DamagedFileError(where, f"{error}") from error


def _is_of_hdf5(error: Exception) -> bool:
    """Whether it is what h5py raises at a file that it cannot decode; a disk's errors have numbers."""
    return type(error) is OSError and error.errno is None
