"""The real graph of a fit, with steps that wait in the place of those that read and compute.

Everything between the steps is that of a fit: the design, the passes, what is sent to tasks, numbers by sample of
all cells, the step across genes, and the tests. The scheduler is in this process, with the client; the workers are in
another (`benchmarks.simulated_workers`), to which it is connected as to other machines.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from threading import Thread
from typing import Any

import dask
import numpy as np

READS = 3  # of every block: the look with the size factors, the first fit, the second
PASSES = 2  # of these with computing
# What scheduler and worker measure of themselves all the time, here in two processes for all of them.
UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
}

Steps = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Run:
    """One simulated run.

    Parameters
    ----------
    blocks, workers
        How many.
    cells, genes
        Of the counts, which are never there.
    read, compute
        Seconds that reading a block and computing on it wait.
    stragglers
        Share of the blocks that take ten times as long.
    lost
        Workers that are lost on the way.
    """

    blocks: int
    workers: int
    cells: int = 1000
    genes: int = 30_000
    read: float = 0.05
    compute: float = 0.1
    stragglers: float = 0.0
    lost: int = 0

    @property
    def width(self) -> int:
        """Genes of a block."""
        return -(-self.genes // self.blocks)


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
    from benchmarks.simulated_workers import started

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


def peak_bytes() -> int:
    """Most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def counted_writes() -> Iterator[Counter[str]]:
    """Count the bytes that this process writes to connections, by the address of the other end."""
    from distributed.comm.tcp import TCP

    written: Counter[str] = Counter()
    original = TCP.write

    async def write(self: Any, *arguments: Any, **options: Any) -> Any:
        size = await original(self, *arguments, **options)
        written[self.peer_address] += size or 0
        return size

    TCP.write = write
    try:
        yield written
    finally:
        TCP.write = original


# ---- counts and steps that wait --------------------------------------------------------------------------


def waiting_counts(run: Run) -> Any:
    """Dataset of counts whose blocks wait when they are read, one task each, as of a store."""
    import dask.array as da
    import xarray as xr

    widths = [min(run.width, run.genes - start) for start in range(0, run.genes, run.width)]
    counts = da.map_blocks(
        _read,
        run.read,
        chunks=((run.cells,), tuple(widths)),
        dtype=np.uint16,
        meta=np.zeros((0, 0), np.uint16),
    )
    return xr.Dataset(
        {"counts": (("sample", "gene"), counts)},
        {"condition": ("sample", np.arange(run.cells) % 2), "gene": [f"g{i}" for i in range(run.genes)]},
    )


def _read(seconds: float, block_info: Any = None) -> np.ndarray:
    time.sleep(seconds)
    return np.broadcast_to(np.ones((), np.uint16), block_info[None]["chunk-shape"])


@contextmanager
def waiting_steps(run: Run, results: Steps) -> Iterator[None]:
    """Put steps that wait in the place of those that look at counts and compute; they give recorded results."""
    from xdelnx.chunks import blocks, passes

    steps, calls = passes.steps, count()

    def waiting(name: str) -> Callable[..., Any]:
        def step(_plan: Any, block: Any, *_arguments: Any, **_options: Any) -> Any:
            slow = run.stragglers and next(calls) % round(1.0 / run.stragglers) == 0
            time.sleep(run.compute * (10.0 if slow else 1.0))
            at = np.arange(block.n_genes) % len(results[name]["iterations"])
            return {what: values[at] for what, values in results[name].items()}

        return step

    originals = steps.fit_step, steps.refit_step, passes.look, blocks.BLOCK_ENTRIES
    steps.fit_step, steps.refit_step, passes.look = waiting("fit_step"), waiting("refit_step"), look
    blocks.BLOCK_ENTRIES = run.cells * run.width
    try:
        yield
    finally:
        steps.fit_step, steps.refit_step, passes.look, blocks.BLOCK_ENTRIES = originals


@cache
def recorded() -> Steps:
    """What both steps made of the genes of a small fit."""
    import xdelnx as xd
    from xdelnx.chunks import passes

    steps, kept = passes.steps, {}
    originals = {name: getattr(steps, name) for name in ("fit_step", "refit_step")}

    def keeping(name: str) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            kept[name] = originals[name](*arguments, **options)
            return kept[name]

        return step

    try:
        for name in originals:
            setattr(steps, name, keeping(name))
        xd.fit(xd.simulate(16, 200, seed=1), "~ condition", device="cpu")
    finally:
        for name, original in originals.items():
            setattr(steps, name, original)
    return kept


@cache
def _totals(cells: int) -> np.ndarray:
    from xdelnx.algorithms.survey import small

    return small(1000.0 + np.arange(cells) % 997)


def look(counts: Any, _with_them: Any = None) -> Any:
    """Survey of a block that nobody has looked at."""
    from xdelnx.algorithms.survey import Survey

    cells, genes = counts.shape
    none = np.zeros(genes, dtype=np.int64)
    return Survey(
        totals=_totals(cells), expressed=none == 0, negative=none, not_finite=none, non_zero=genes, fractions=0,
        largest=1.0, offset_scale=np.zeros(()), bad_offset=none, large_offset=none, bad_weight=none,
    )  # fmt: skip


# ---- what is seen of it ----------------------------------------------------------------------------------


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
