"""Run the study: every data set and method once, each result on disk as soon as it is there."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import dask
import numpy as np

from validation.study import peers
from validation.study.drawing import Drawn, draw
from validation.study.grid import Cell
from validation.study.measures import measured
from validation.study.methods import METHODS, Outcome

Row = dict[str, Any]
DEFAULT = "xdelnx"


@dataclass(frozen=True)
class Task:
    """Some data sets of a cell, by methods of xdelnx or by one peer."""

    cell: Cell
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    real: Path | None
    environments: Path | None

    @property
    def fits(self) -> int:
        """How many fits it stands for."""
        return len(self.seeds) * len(self.methods)


def tasks(
    cells: Sequence[Cell],
    sets: int,
    names: Sequence[str],
    done: set[tuple[str, int, str]],
    *,
    peer_sets: int,
    **where: Any,
) -> Iterator[Task]:
    """What is still to be done: so many data sets of each cell, for peers no more than so many."""
    for cell in cells:
        if cell.model == "real" and where["real"] is None:
            continue
        ours = [name for name, method in METHODS.items() if method.where(cell)]
        for seed in range(sets):
            missing = tuple(name for name in ours if (cell.name, seed, name) not in done)
            if missing:
                yield Task(cell, (seed,), missing, **where)
        for peer in names:
            seeds = range(min(peer_sets, peers.sets_of(peer, cell)))
            left = tuple(seed for seed in seeds if (cell.name, seed, peer) not in done)
            if left and peers.takes_part(peer, cell):
                yield Task(cell, left, (peer,), **where)


def rows(task: Task) -> list[Row]:
    """Measures of every data set and method of a task."""
    sets, defaults = [], []
    with dask.config.set(scheduler="synchronous"):
        for seed in task.seeds:
            sets.append(_drawn(task.cell, seed, task.real))
            defaults.append(_default(task.cell, seed, task.real))
        outcomes = {name: _outcomes(name, task, sets, defaults) for name in task.methods}
    return [
        {"cell": task.cell.name, "seed": seed, "method": name}
        | ({} if outcome is None else measured(name, drawn, outcome, default))
        for name, found in outcomes.items()
        for seed, drawn, outcome, default in zip(task.seeds, sets, found, defaults, strict=True)
    ]


@lru_cache(maxsize=1)
def _drawn(cell: Cell, seed: int, real: Path | None) -> Drawn:
    return draw(cell, seed, real)


@lru_cache(maxsize=64)
def _default(cell: Cell, seed: int, real: Path | None) -> Outcome:
    """What the default finds, with which each peer is compared: fitted once in a process, not once a peer."""
    return METHODS[DEFAULT].run(_drawn(cell, seed, real))


def _outcomes(name: str, task: Task, sets: list[Drawn], defaults: list[Outcome]) -> Sequence[Outcome | None]:
    if name == DEFAULT:
        return defaults
    if name in METHODS:
        return [METHODS[name].run(drawn) for drawn in sets]
    return list(peers.outcomes(name, sets, task.environments))


def read(path: Path) -> list[Row]:
    """Results so far; a last line that was cut off is left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def run(todo: Sequence[Task], path: Path, workers: int | None = None) -> None:
    """Do the tasks on all cores, the largest first, and add their rows to the file."""
    context = multiprocessing.get_context("spawn")
    start, seconds, done, fits = time.monotonic(), 0.0, 0, sum(task.fits for task in todo)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool, path.open("a") as out:
        largest_first = sorted(todo, key=lambda task: -task.cell.n_samples)
        for future in as_completed([pool.submit(rows, task) for task in largest_first]):
            found = future.result()
            out.writelines(json.dumps(row, default=_plain) + "\n" for row in found)
            out.flush()
            done += len(found)
            seconds = time.monotonic() - start
            left = seconds / done * (fits - done)
            say(f"{done:,} of {fits:,} fits, {seconds / 60:.1f} min, about {left / 60:.0f} min left")
    say(f"\ndone in {seconds / 60:.1f} min\n", end="")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def say(text: str, end: str = "") -> None:
    """Progress: over itself on a terminal, a line each in a log."""
    print(
        f"\r{text}" if sys.stderr.isatty() else text.strip(),
        end=end if sys.stderr.isatty() else "\n",
        file=sys.stderr,
        flush=True,
    )
