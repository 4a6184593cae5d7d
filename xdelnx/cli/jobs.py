"""Where a command runs, and what it says on the way: on a local scheduler or a cluster, a bar or a line."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from xdelnx.cli.option_types import LOCAL_SCHEDULERS

CONNECT_SECONDS = 30
BAR_AFTER_SECONDS = 1.0


def say(text: str) -> None:
    """Print a line for people, on the error stream."""
    print(f"xdelnx: {text}", file=sys.stderr, flush=True)


@contextmanager
def job(scheduler: str, what: str) -> Iterator[None]:
    """Run a step on a scheduler, with a bar on a terminal and a line otherwise."""
    import dask

    start = time.monotonic()
    say(what)
    if scheduler in LOCAL_SCHEDULERS:
        with _pool(scheduler) as pool, dask.config.set(scheduler=scheduler, **pool), _bar():
            yield
    else:
        with _client(scheduler) as client, _task_line(client):
            yield
    say(f"done in {time.monotonic() - start:.1f} s")


@contextmanager
def _pool(scheduler: str) -> Iterator[dict[str, Any]]:
    """Keep worker processes for the whole job: Dask would start new ones for each pass."""
    if scheduler != "processes":
        yield {}
        return
    from concurrent.futures import ProcessPoolExecutor

    from dask.multiprocessing import get_context
    from dask.system import CPU_COUNT

    executor = ProcessPoolExecutor(CPU_COUNT, mp_context=get_context(), initializer=_leave_interrupts)
    try:
        yield {"pool": executor}
    finally:  # after an interrupt, only what is under way is waited for
        executor.shutdown(cancel_futures=True)


def _leave_interrupts() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the one that started the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _bar() -> Any:
    from dask.diagnostics import ProgressBar

    return ProgressBar(minimum=BAR_AFTER_SECONDS, out=sys.stderr) if sys.stderr.isatty() else nullcontext()


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        msg = "running on a cluster needs the package distributed: pip install 'xdelnx[distributed]'"
        raise ImportError(msg) from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except OSError as error:
        msg = f"no Dask scheduler answers at {address}; check the address, or start one (dask scheduler)"
        raise ConnectionError(msg) from error
    say(f"on {address} ({len(client.scheduler_info()['workers'])} workers); watch {client.dashboard_link}")
    return client


@contextmanager
def _task_line(client: Any) -> Iterator[None]:
    """Keep a line on the terminal up to date with the tasks of the cluster."""
    if not sys.stderr.isatty():
        yield
        return
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(BAR_AFTER_SECONDS):
            running, waiting = client.run_on_scheduler(_tasks)
            print(f"\r{running:,} tasks running, {waiting:,} waiting   ", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        print(file=sys.stderr)


def _tasks(dask_scheduler: Any) -> tuple[int, int]:
    states = [task.state for task in dask_scheduler.tasks.values()]
    return states.count("processing"), sum(state in ("waiting", "queued", "no-worker") for state in states)
