"""The real graph of a fit, with steps that wait in the place of those that read and compute.

Everything between the steps is that of a fit: the design, the passes, what is sent to tasks, numbers by sample of
all cells, the step across genes, and the tests. The scheduler is in this process, with the client; the workers are in
another (`benchmarks.simulated_workers`), to which it is connected as to other machines.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Thread
from typing import Any

import dask
import numpy as np

from benchmarks.simulated_steps import (
    UNWATCHED,
    Run,
    counted_writes,
    peak_bytes,
    recorded,
    waiting_counts,
    waiting_steps,
)
from benchmarks.simulated_workers import started

READS = 3  # of every block: the look with the size factors, the first fit, the second
PASSES = 2  # of these with computing


@dataclass(frozen=True)
class Found:
    """What came of a run.

    Parameters
    ----------
    seconds, before, ideal
        In all; until the first task, above all for the design; of a scheduler that takes no time.
    scheduler, workers
        Processor seconds of the scheduler with the client's connection to it, and of the workers' process.
    tasks, genes
        Tasks that ran, and genes with a p-value.
    graphs, sent, moved
        Bytes from the client to the scheduler, from there to workers, and from workers to each other or back.
    peak
        Bytes of both processes together.
    """

    seconds: float
    before: float
    ideal: float
    scheduler: float
    workers: float
    tasks: int
    genes: int
    graphs: int
    sent: int
    moved: int
    peak: int


def simulate(run: Run) -> Found:
    """Fit on a cluster whose workers only wait."""
    from distributed import Client, LocalCluster

    import xdelnx as xd

    data, steps = waiting_counts(run), recorded()
    apart = {"n_workers": 0, "processes": False, "protocol": "tcp://", "dashboard_address": ":0"}
    with (
        dask.config.set(UNWATCHED),
        waiting_steps(run, steps),
        LocalCluster(**apart) as cluster,
        Client(cluster) as client,
        started(cluster.scheduler_address, run, steps) as workers,
        counted_writes() as written,
    ):
        client.wait_for_workers(run.workers)
        seen, loss = _watched(cluster.scheduler), _losing(workers, run)
        begun = Clock.now()
        fit = xd.fit(data, "~ condition", device="cpu")
        spent = Clock.now().since(begun)
        if loss is not None:
            loss.join()
        graphs = written.pop(cluster.scheduler_address, 0)
        after = workers.spent()
    return Found(
        seconds=spent.wall,
        before=seen.began - begun.wall,
        ideal=_ideal(run),
        scheduler=spent.process - spent.thread,
        workers=after.processor,
        tasks=seen.ran,
        genes=int(np.isfinite(fit["pval"].values).sum()),
        graphs=graphs,
        sent=sum(written.values()),
        moved=after.written,
        peak=peak_bytes() + after.peak,
    )


@dataclass(frozen=True)
class Clock:
    """Seconds by the clock, of this process' processors, and of this thread's, which is the client's own."""

    wall: float
    process: float
    thread: float

    @classmethod
    def now(cls) -> Clock:
        """Read all three."""
        return cls(time.perf_counter(), time.process_time(), time.thread_time())

    def since(self, begun: Clock) -> Clock:
        """Give what has passed."""
        return Clock(self.wall - begun.wall, self.process - begun.process, self.thread - begun.thread)


def _ideal(run: Run) -> float:
    """Seconds if workers never wait for the scheduler or for each other."""
    per_block = READS * run.read + PASSES * run.compute * (1.0 + 9.0 * run.stragglers)
    return run.blocks * per_block / run.workers


def _watched(scheduler: Any) -> Any:
    """Count tasks that end, and note when the first are asked for."""
    from distributed.diagnostics.plugin import SchedulerPlugin

    class Watching(SchedulerPlugin):
        ran, began = 0, np.inf

        def update_graph(self, *_: Any, **__: Any) -> None:
            self.began = min(self.began, time.perf_counter())

        def transition(self, _key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
            self.ran += (start, finish) == ("processing", "memory")

    seen = Watching()
    scheduler.add_plugin(seen)
    return seen


def _losing(workers: Any, run: Run) -> Thread | None:
    """Thread that closes workers in the middle of the run, one after another."""
    if not run.lost:
        return None
    pause = 0.3 * _ideal(run)

    def lose() -> None:
        for i in range(run.lost):
            time.sleep(pause)
            workers.lose(i)

    thread = Thread(target=lose, daemon=True)
    thread.start()
    return thread
