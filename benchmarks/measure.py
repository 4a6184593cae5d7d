"""Run one command and say what it cost; say what machine this is, and wait until it is quiet."""

from __future__ import annotations

import math
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

QUIET = 0.2  # cores busy
LIBRARIES = ("numpy", "scipy", "numba", "pandas", "xarray", "dask", "zarr")


@dataclass(frozen=True)
class Cost:
    """Outcome of a command: exit status, wall-clock and processor seconds, peak memory (MB), and its last words.

    ``others`` is how many cores other processes kept busy meanwhile (NaN where the system does not tell).
    """

    status: int
    seconds: float
    processor: float
    peak_mb: float
    said: str
    load: float
    others: float
    timed_out: bool = False

    @property
    def record(self) -> dict[str, Any]:
        """As it is written down."""
        return {
            "whole": self.seconds,
            "processor": self.processor,
            "peak_mb": self.peak_mb,
            "load": self.load,
            "others": self.others,
        }


def run(
    command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, limit: float = 900.0
) -> Cost:
    """Run a command in a process group of its own; beyond the limit (seconds) the group is ended.

    The peak is that of the largest process of the command, from the operating system's account of it.
    """
    load, busy, start = os.getloadavg()[0], _busy_seconds(), time.perf_counter()
    with log.open("w") as text:
        process = subprocess.Popen(
            command,
            stdout=text,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(env or {}),
            start_new_session=True,
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, end)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
    seconds, own = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    others = max(_busy_seconds() - busy - own, 0.0) / seconds
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    unit = 1024**2 if sys.platform == "darwin" else 1024
    said = re.sub(r"(/[^\s/:'\"]+){2,}", "...", lines[-1]) if lines else ""  # no paths of this machine
    return Cost(process.returncode, seconds, own, usage.ru_maxrss / unit, said, load, others, late.is_set())


def _busy_seconds() -> float:
    """Processor seconds that all processes have used since the machine started."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return math.nan
    user, nice, system, _, _, *rest = (int(word) for word in stat.read_text().split("\n")[0].split()[1:])
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")


def wait_until_quiet(minutes: float, below: float = QUIET, watch: float = 3.0) -> float:
    """Wait until fewer cores than ``below`` are busy (over ``watch`` seconds), so many minutes at most; return them."""
    if minutes <= 0.0:
        return math.nan
    end = time.monotonic() + 60.0 * minutes
    while True:
        busy, start = _busy_seconds(), time.perf_counter()
        time.sleep(watch)
        cores = (_busy_seconds() - busy) / (time.perf_counter() - start)
        if not cores >= below or time.monotonic() >= end:
            return cores


def machine() -> dict[str, Any]:
    """Processor, cores, memory and versions."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
        "revision": _revision(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    """Model as the system names it, with family and model number where the name says little."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    pairs = (line.partition(":") for line in info.read_text().split("\n\n")[0].splitlines())
    said = {key.strip(): value.strip() for key, _, value in pairs}
    name = said.get("model name", platform.machine())
    return f"{name} (family {said.get('cpu family', '?')}, model {said.get('model', '?')})"


def _revision() -> str:
    """Commit of the sources, where they are in a repository."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
