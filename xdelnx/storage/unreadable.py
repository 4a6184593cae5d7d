"""Words about files that cannot be read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Say where, if a file cannot be read: it ends too early, or what is there cannot be decoded."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error) as error:
        msg = f"{where} cannot be read, so the file is damaged or not complete; copy it again ({error})"
        raise OSError(msg) from error
