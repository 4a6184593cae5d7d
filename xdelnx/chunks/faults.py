"""Workers that died and chunks that cannot be read, told by the genes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask.base
import numpy as np
from dask._task_spec import convert_legacy_graph

_OF_GENES = re.compile(r"(\w+)-(\d+):(\d+)-[0-9a-f]{32}")  # names that `xdelnx.chunks.tasks` gives

_OF_LOST_SCHEDULERS = {"CancelledError", "ClosedClientError", "CommClosedError"}  # of distributed, or its own

ANEW = "copy it anew, or convert again"
_LEFT_OUT = "xdelnx.fit leaves its genes out with skip_corrupt=True (--skip-corrupt)"
REMEDY = f"{ANEW}; {_LEFT_OUT}"


class BlockError(RuntimeError):
    """What went wrong at one block of genes.

    Parameters
    ----------
    message
        What happened.
    start, stop
        Positions of the block's genes.
    """

    kind: type[Exception] = RuntimeError  # of the same error with names

    def __init__(self, message: str, start: int, stop: int) -> None:
        super().__init__(message, start, stop)
        self.message, self.start, self.stop = message, start, stop

    def __str__(self) -> str:
        return f"{self.message} ({self.stop - self.start:,} genes, from number {self.start + 1:,} on)"

    def named(self, genes: np.ndarray) -> Exception:
        """Give the same with the names of the genes."""
        first, last = genes[self.start], genes[self.stop - 1]
        return self.kind(f"{self.message} (genes {first} to {last}, {self.stop - self.start:,} of them)")


class LostWorkersError(BlockError):
    """Worker after worker died at the same block of genes."""


class UnreadableError(BlockError):
    """A block of genes cannot be read from where it is stored."""

    kind = OSError


class DamagedError(UnreadableError):
    """A block of genes cannot be read, however often that is tried: a chunk of it is damaged, or gone.

    Parameters
    ----------
    what
        What is damaged.
    start, stop
        Positions of the block's genes.
    advice
        What to do.
    """

    def __init__(self, what: str, start: int, stop: int, advice: str = REMEDY) -> None:
        super().__init__(f"{what}; {advice}", start, stop)
        self.args = what, start, stop, advice
        self.what = what


class NoAnswerError(OSError):
    """A store failed at each of several tries."""


class DamagedFileError(OSError):
    """A file ends too early, or cannot be decoded.

    Parameters
    ----------
    part
        Which part of it.
    reason
        What its library says.
    """

    remedy = f"copy it again; {_LEFT_OUT}"  # where it is some genes that cannot be read

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(part, reason)
        self.part, self.reason = part, reason

    @property
    def what(self) -> str:
        """What is damaged, without advice."""
        return self._with("")

    def __str__(self) -> str:
        return self._with("; copy it again")

    def _with(self, advice: str) -> str:
        return f"{self.part} cannot be read, so the file is damaged or not complete{advice} ({self.reason})"


class MissingChunkError(FileNotFoundError):
    """A chunk of an array, all of which were written, is not there.

    Parameters
    ----------
    array, chunk
        Where the array is, and the key of the chunk in it.
    """

    def __init__(self, array: str, chunk: str) -> None:
        super().__init__(array, chunk)
        self.array, self.chunk = array, chunk

    def __str__(self) -> str:
        return f"{self.array}, chunk {self.chunk}, is missing; copy it anew, or make the store again"


@contextmanager
def named_by(genes: np.ndarray) -> Iterator[None]:
    """Say by name at which genes something went wrong inside."""
    try:
        yield
    except BlockError as error:
        raise error.named(genes) from error.__cause__


@contextmanager
def told_by_genes(value: Any, what: str) -> Iterator[None]:
    """Say at which genes workers died while this is computed inside."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "KilledWorker":  # of distributed, which is not imported for it
            raise
        genes = _genes(error.args[0], value)
        if genes is None:
            raise
        message = (
            f"{what}: workers died {error.args[2] + 1} times at the same block, out of memory as a rule (their logs "
            "say more); give them more memory, or fewer threads each: `xdelnx fit --plan` says what a thread takes, "
            "which smaller chunks in the store lessen only where one holds more than 16 million counts"
        )
        raise LostWorkersError(message, *genes) from error


@contextmanager
def told_of_scheduler(client: Any) -> Iterator[None]:
    """Say that the scheduler of a cluster was lost where what its client computes inside ends for that."""
    where = getattr(getattr(client, "scheduler", None), "address", "")
    try:
        yield
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if client is None or not kinds & _OF_LOST_SCHEDULERS:
            raise
        msg = (
            f"the Dask scheduler at {where} was lost; start it again, or choose another or none (--scheduler), and "
            "give the same command: a fit goes on from where it stopped"
        )
        raise ConnectionError(msg) from error


def _genes(task: Any, value: Any) -> tuple[int, int] | None:
    """Genes of a task: its name says them, or that of a task that waits for it."""
    graph: dict[Any, Any] = {}
    for collection in dask.base.unpack_collections(value)[0]:
        graph |= dict(collection.__dask_graph__())
    tasks, reached = convert_legacy_graph(graph), {task}
    while reached:
        for key in reached:
            found = _OF_GENES.fullmatch(str(key))
            if found:
                return int(found[2]), int(found[3])
        reached = {key for key, entry in tasks.items() if reached & set(entry.dependencies)}
    return None
