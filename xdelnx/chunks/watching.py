"""How many blocks of a pass are done, on a local scheduler or on a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask.base
from dask._task_spec import convert_legacy_graph
from dask.callbacks import Callback
from dask.core import flatten

from xdelnx.chunks.schedulers import client_in_force
from xdelnx.progress import Stage, stage

POLL = 0.5  # seconds between two questions to a cluster's scheduler
NO_WORKERS = "waiting for workers, of which the cluster has none"
JOINING = "joining-"  # begins the names of tasks that join the results of some blocks


@contextmanager
def watching(value: Any, what: str) -> Iterator[None]:
    """Show how many of the blocks are done while what depends on them is computed inside."""
    with stage(what) as at:
        if at is None:
            yield
            return
        keys = block_keys(value)
        at.total = len(keys)
        client = client_in_force()
        with _Finished(keys, at) if client is None else _polled(client, keys, at):
            yield


def block_keys(value: Any) -> set[Any]:
    """Tasks that are counted: what is asked for, or the first tasks below it that are several.

    A pass asks for the results of all blocks, or for one value that joins them.
    """
    collections, _ = dask.base.unpack_collections(value)
    keys = {key for one in collections for key in flatten(one.__dask_keys__())}
    if len(keys) != 1:
        return keys
    graph = convert_legacy_graph(dict(collections[0].__dask_graph__()))
    while len(keys) == 1:
        below = graph[next(iter(keys))].dependencies
        if not below:
            break
        keys = set(below)
    while joining := {key for key in keys if str(key).startswith(JOINING)}:
        keys = keys - joining | {below for key in joining for below in graph[key].dependencies}
    return {key for key in keys if graph[key].dependencies} or keys


class _Finished(Callback):
    """Counts what a local scheduler has finished."""

    def __init__(self, keys: set[Any], at: Stage) -> None:
        super().__init__(posttask=self._count)
        self.keys, self.at = keys, at

    def _count(self, key: Any, *_: Any) -> None:
        self.at.done += key in self.keys


@contextmanager
def _polled(client: Any, keys: set[Any], at: Stage) -> Iterator[None]:
    """Ask the scheduler of a cluster now and then what is finished."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(POLL):
            try:
                known, unfinished, workers = client.run_on_scheduler(_states, keys=list(keys))
            except Exception:  # noqa: BLE001 - whatever ails it, the computation tells; time still shows
                return
            if not workers:
                at.aside = NO_WORKERS
            elif at.aside == NO_WORKERS:  # and not that this process compiles
                at.aside = ""
            if known or at.done:  # or else the graph is on its way
                at.done = len(keys) - unfinished

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _states(keys: list[Any], dask_scheduler: Any) -> tuple[int, int, int]:
    """How many tasks the scheduler knows, how many it has yet to finish, and how many workers it has."""
    states = [dask_scheduler.tasks[key].state for key in keys if key in dask_scheduler.tasks]
    unfinished = sum(state not in {"memory", "erred", "released"} for state in states)
    return len(states), unfinished, len(dask_scheduler.workers)
