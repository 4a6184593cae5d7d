"""A cluster whose scheduler is lost, or one of whose workers is slow."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr

from xdelnx.cli import main
from xdelnx.storage.unfinished import folder_of

distributed = pytest.importorskip("distributed")

FIT = ["fit", "counts.zarr", "fit.zarr", "--design", "~ batch + condition", "--no-progress"]
SLOW = """
import time
from xdelnx.chunks import journal

computed = journal.computed


def dask_setup(worker):
    def slowly(path, *arguments):
        time.sleep(SECONDS)
        return computed(path, *arguments)

    journal.computed = slowly
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    size = ["--n-samples", "10", "--n-genes", "600", "--n-batches", "2"]
    assert main(["simulate", "counts.zarr", *size]) == 0
    assert main([*FIT[:2], "whole.zarr", *FIT[3:]]) == 0
    return tmp_path


class Cluster:
    """A scheduler and workers, each a process of its own, as ``dask scheduler`` and ``dask worker`` start them."""

    def __init__(self):
        self.processes = []
        self.scheduler = self.run("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = self.said(self.scheduler, r"Scheduler at:\s+(\S+)")

    def run(self, *words):
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.processes.append(process)
        return process

    def said(self, process, pattern):
        for line in process.stderr:
            found = re.search(pattern, line)
            if found:
                return found[1]
        raise AssertionError(f"it ended without {pattern}")

    def worker(self, seconds):
        """Start a worker that takes so many seconds longer for each result of a block."""
        preload = Path(f"slow{len(self.processes)}.py")
        preload.write_text(SLOW.replace("SECONDS", str(seconds)))
        words = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--preload", str(preload.resolve())]
        process = self.run("worker", self.address, *words)
        self.said(process, r"(Registered to)")
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
            process.stderr.close()


def same(name):
    xr.testing.assert_identical(xr.open_zarr(name).load(), xr.open_zarr("whole.zarr").load())


def test_a_scheduler_that_is_lost(here):
    """The command ends in words and time, and goes on without a cluster to the same bits."""
    with Cluster() as cluster:
        cluster.worker(0.3)
        command = [sys.executable, "-m", "xdelnx", *FIT, "--scheduler", cluster.address]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as job:
            folder = folder_of("fit.zarr")
            deadline = time.monotonic() + 120
            while len(list(folder.glob("*.npz"))) < 20:
                assert job.poll() is None, job.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            cluster.scheduler.send_signal(signal.SIGKILL)
            said = job.communicate(timeout=90)[1]
    assert job.returncode == 1
    lines = said.strip().splitlines()
    assert "the same command goes on from there" in said
    assert f"the Dask scheduler at {cluster.address} was lost" in lines[-1]
    assert not Path("fit.zarr").exists()
    assert main(FIT) == 0
    same("fit.zarr")


def test_a_slow_worker(here):
    """It holds one block at a time, and all others go to the rest; each result is kept once, and nothing is lost."""
    with Cluster() as cluster:
        cluster.worker(2.0)
        cluster.worker(0.1)
        assert main([*FIT, "--scheduler", cluster.address]) == 0
    same("fit.zarr")
