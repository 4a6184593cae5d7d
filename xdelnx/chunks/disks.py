"""Disks that are full, told by the folder, with what is free there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xdelnx.messages import megabytes

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def full_disk_told(path: Path, needed: int | None = None) -> Iterator[None]:
    """Say which disk is full where writing a path fails for that; ``needed`` bytes at most, if it is known."""
    try:
        yield
    except OSError as error:
        if getattr(error, "exception", error).errno not in _FULL:  # the first of a worker process
            raise
        told = OSError(_message(path.parent, needed))
        told.errno = error.errno
        raise told from error


def _message(folder: Path, needed: int | None) -> str:
    there = next((above for above in (folder, *folder.parents) if above.exists()), Path(os.sep))
    free = megabytes(shutil.disk_usage(there).free)
    enough = "" if needed is None else f", and {megabytes(needed)} at most are needed"
    return (
        f"the disk of {folder} is full, or your share of it ({free} are free now{enough}): nothing half-written is "
        "left; make room, or choose another place, and give the same command again"
    )
