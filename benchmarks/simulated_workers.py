"""Workers of a simulated run, all in one process of their own, connected to the scheduler as other machines are."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import dask

from benchmarks.simulated_steps import UNWATCHED, Run, Steps, counted_writes, peak_bytes, waiting_steps

LONGEST = 600.0  # seconds that workers may take to start or to stop


@dataclass(frozen=True)
class Spent:
    """Processor seconds of the workers' process, the bytes it wrote to connections, and its peak of memory."""

    processor: float
    written: int
    peak: int


@dataclass(frozen=True)
class Workers:
    """The other end of the process."""

    pipe: Connection

    def lose(self, which: int) -> None:
        """Close a worker with what it has."""
        self.pipe.send(which)

    def spent(self) -> Spent:
        """Say what was spent since the start; no worker can be lost afterwards."""
        self.pipe.send(None)
        if not self.pipe.poll(LONGEST):
            msg = "the simulated workers do not answer"
            raise TimeoutError(msg)
        found: Spent = self.pipe.recv()
        return found


@contextmanager
def started(address: str, run: Run, steps: Steps) -> Iterator[Workers]:
    """Start the workers of a run, and stop them afterwards."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(address, run, steps, there), daemon=True)
    process.start()
    try:
        yield Workers(here)
    finally:
        here.close()
        process.join(LONGEST)


def _serve(address: str, run: Run, steps: Steps, pipe: Connection) -> None:
    with dask.config.set(UNWATCHED), waiting_steps(run, steps), counted_writes() as written:
        asyncio.run(_serving(address, run, pipe, written))


async def _serving(address: str, run: Run, pipe: Connection, written: dict[str, int]) -> None:
    from distributed import Worker

    options = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "silence_logs": 50}
    workers = await asyncio.gather(*(Worker(address, name=str(i), **options) for i in range(run.workers)))
    begun, before = time.process_time(), sum(written.values())
    try:
        while (which := await asyncio.to_thread(pipe.recv)) is not None:
            await workers[which].close(timeout=2, nanny=False)
        spent = Spent(time.process_time() - begun, sum(written.values()) - before, peak_bytes())
        await asyncio.to_thread(pipe.send, spent)
        await asyncio.to_thread(pipe.recv)
    except EOFError:  # the other end is closed: all is done
        pass
    finally:
        await asyncio.gather(*(worker.close(timeout=2, nanny=False) for worker in workers))
