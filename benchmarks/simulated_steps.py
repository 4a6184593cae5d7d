"""Counts that wait when they are read, and steps that wait where a fit's compute: what a simulated run is made of."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import numpy as np

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
