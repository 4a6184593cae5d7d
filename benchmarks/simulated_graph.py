"""The real graph of a fit, with steps that wait in the place of those that read and compute.

Everything between the steps is that of a fit: the design, the passes, what is sent to tasks, numbers by sample of
all cells, the step across genes, and the tests.
"""

from __future__ import annotations

import time
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
# What a worker measures of itself and of its process, which here all workers share.
UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
}


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
    """Seconds, those before the first task, an ideal scheduler's; processor seconds, tasks, genes with a p-value."""

    seconds: float
    before: float
    ideal: float
    processor: float
    tasks: int
    genes: int


def simulate(run: Run) -> Found:
    """Fit on a cluster in this process."""
    from distributed import Client, LocalCluster

    import xdelnx as xd

    options = {"n_workers": run.workers, "threads_per_worker": 1, "processes": False, "memory_limit": 0}
    data = waiting_counts(run)
    with (
        dask.config.set(UNWATCHED),
        waiting_steps(run),
        LocalCluster(**options, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        seen = _watched(cluster.scheduler)
        loss = _losing(client, cluster, run)
        start, processor = time.perf_counter(), time.process_time()
        fit = xd.fit(data, "~ condition", device="cpu")
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        if loss is not None:
            loss.join()
    per_block = READS * run.read + PASSES * run.compute * (1.0 + 9.0 * run.stragglers)
    ideal = run.blocks * per_block / run.workers
    genes = int(np.isfinite(fit["pval"].values).sum())
    return Found(seconds, seen.began - start, ideal, processor, seen.ran, genes)


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
def waiting_steps(run: Run) -> Iterator[None]:
    """Put steps that wait in the place of those that look at counts and compute."""
    from xdelnx.chunks import blocks, passes

    steps, calls, results = passes.steps, count(), _recorded()

    def waiting(name: str) -> Callable[..., Any]:
        def step(_plan: Any, block: Any, *_arguments: Any, **_options: Any) -> Any:
            slow = run.stragglers and next(calls) % round(1.0 / run.stragglers) == 0
            time.sleep(run.compute * (10.0 if slow else 1.0))
            at = np.arange(block.n_genes) % len(results[name]["iterations"])
            return {what: values[at] for what, values in results[name].items()}

        return step

    originals = steps.fit_step, steps.refit_step, passes.look, blocks.BLOCK_ENTRIES
    steps.fit_step, steps.refit_step, passes.look = waiting("fit_step"), waiting("refit_step"), _look
    blocks.BLOCK_ENTRIES = run.cells * run.width
    try:
        yield
    finally:
        steps.fit_step, steps.refit_step, passes.look, blocks.BLOCK_ENTRIES = originals


@cache
def _recorded() -> dict[str, dict[str, np.ndarray]]:
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
    return 1000.0 + np.arange(cells) % 997


def _look(counts: Any, _with_them: Any = None) -> Any:
    """Survey of a block that nobody has looked at."""
    from xdelnx.algorithms.survey import Survey

    cells, genes = counts.shape
    none = np.zeros(genes, dtype=np.int64)
    return Survey(
        totals=_totals(cells), expressed=none == 0, negative=none, not_finite=none, non_zero=genes, fractions=0,
        largest=1.0, offset_scale=np.zeros(()), bad_offset=none, large_offset=none, bad_weight=none,
    )  # fmt: skip


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


def _losing(client: Any, cluster: Any, run: Run) -> Thread | None:
    """Thread that closes workers in the middle of the run, one after another."""
    if not run.lost:
        return None
    pause = 0.3 * run.blocks * (READS * run.read + PASSES * run.compute) / run.workers

    def lose() -> None:
        for i in range(run.lost):
            time.sleep(pause)
            client.sync(cluster.workers[i].close, timeout=2, nanny=False)

    thread = Thread(target=lose, daemon=True)
    thread.start()
    return thread
