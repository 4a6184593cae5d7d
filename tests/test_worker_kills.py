"""Workers of a cluster killed while a fit is at work: nothing is lost, and the result is the same bit by bit."""

import os
import random
import signal
import threading
from collections import Counter

import dask
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.cli import main

distributed = pytest.importorskip("distributed")

FORMULA = "~ batch + condition"
A_FIT = 3  # kills at most in one fit: a block gives up at the fourth death of its worker


class Killer(threading.Thread):
    """Kills a worker that is at work, at random moments, a few times; its nanny starts another in its place."""

    def __init__(self, cluster, kills, rng):
        super().__init__(daemon=True)
        self.cluster, self.kills, self.rng = cluster, kills, rng
        self.over, self.hits = threading.Event(), Counter()

    def run(self):
        while self.hits["kills"] < self.kills and not self.over.wait(self.rng.uniform(0.05, 1.0)):
            busy = list(self.busy())
            if busy:
                pid, tasks, results = self.rng.choice(busy)
                os.kill(pid, signal.SIGKILL)
                self.hits += Counter({"kills": 1, "tasks at work": tasks, "results held": results})

    def busy(self):
        """Process, tasks and results of each worker that has a task, and a nanny that knows: or it would not return."""
        for nanny in list(self.cluster.workers.values()):
            state = self.cluster.scheduler.workers.get(nanny.worker_address)
            if state is not None and state.processing and nanny.status.name == "running":
                yield nanny.pid, len(state.processing), len(state.has_what)


@pytest.fixture
def cluster():
    """Two workers, which are replaced however often they die.

    A cluster looks 15 seconds after a worker's death whether there is another in its place, and gives that place up if
    that one, too, was just killed; without workers a fit waits for good.
    """
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made,
    ):
        yield made


def killing(cluster, kills, rng, fit):
    """What a fit gives while workers are killed, and how many were."""
    killer = Killer(cluster, kills, rng)
    killer.start()
    try:
        result = fit()
    finally:
        killer.over.set()
        killer.join()
    return result, killer.hits


def survive(cluster, kills, seed, n_genes):
    """Fit until so many workers were killed, with a journal and without in turn: how many, and how many results."""
    assert (
        main(["simulate", "counts.zarr", "--n-genes", str(n_genes), "--n-batches", "2", "--chunks", "64"])
        == 0
    )
    data, rng, hits = xd.open_counts("counts.zarr"), random.Random(seed), Counter()
    expected = xd.fit(data, FORMULA)
    command = ["fit", "counts.zarr", "fit.zarr", "--design", FORMULA, "--overwrite"]
    command += ["--scheduler", cluster.scheduler_address]

    def with_journal():
        assert main(command) == 0
        return xr.open_zarr("fit.zarr").load()

    def without_journal():
        # The default client: nannies hand Dask's options on, and a client among them cannot be.
        with distributed.Client(cluster):
            return xd.fit(data, FORMULA)

    while hits["kills"] < kills:
        fit = without_journal if hits["results"] % 2 else with_journal
        found, killed = killing(cluster, min(A_FIT, kills - hits["kills"]), rng, fit)
        xr.testing.assert_equal(found, expected)  # NaN in the same places, and the same bits elsewhere
        hits += killed + Counter(results=1)
        print(f"so far {dict(hits)}", flush=True)
    return dict(hits)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_killed_workers_lose_nothing(cluster):
    assert survive(cluster, 4, seed=0, n_genes=4000)["kills"] == 4


@pytest.mark.stress
def test_thirty_killed_workers_lose_nothing(cluster):
    hits = survive(cluster, 30, seed=1, n_genes=4000)
    print(f"\n30 workers killed at work on a cluster of two, every result the same bit by bit: {hits}")
