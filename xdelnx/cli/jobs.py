"""Where a command runs, on a local scheduler or a cluster, and what it says before and after."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xdelnx.cli.cards import CUDA, local_cluster
from xdelnx.cli.option_types import LOCAL_SCHEDULERS
from xdelnx.progress import clear, stage

CONNECT_SECONDS = 30


def say(text: str) -> None:
    """Print a line for people, on the error stream."""
    clear()
    print(f"xdelnx: {text}", file=sys.stderr, flush=True)


@contextmanager
def job(scheduler: str, what: str) -> Iterator[None]:
    """Run a step on a scheduler, and say what it is and how long it took."""
    import dask

    start = time.monotonic()
    say(what)
    shown = stage(what.split()[0])
    if scheduler in LOCAL_SCHEDULERS:
        with _pool(scheduler) as pool, dask.config.set(scheduler=scheduler, **pool), shown:
            yield
    else:
        with cluster_at(scheduler), shown:
            yield
    say(f"done in {time.monotonic() - start:.1f} s")


@contextmanager
def cluster_at(scheduler: str) -> Iterator[Any]:
    """Client of the cluster at an address, or of one of this machine's cards."""
    if scheduler == CUDA:
        with local_cluster() as cluster, _client(cluster) as client:
            yield client
    else:
        with _client(scheduler) as client:
            yield client


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


def _client(where: Any) -> Any:
    """Client of a cluster, or of the scheduler at an address."""
    try:
        from distributed import Client
    except ImportError as error:
        msg = "running on a cluster needs the package distributed: pip install 'xdelnx[distributed]'"
        raise ImportError(msg) from error
    try:
        client = Client(where, timeout=CONNECT_SECONDS)
    except OSError as error:
        msg = f"no Dask scheduler answers at {where}; check the address, or start one (dask scheduler)"
        raise ConnectionError(msg) from error
    about = client.scheduler_info()
    say(f"on {about['address']} ({len(about['workers'])} workers); watch {client.dashboard_link}")
    return client
