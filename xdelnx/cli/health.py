"""What is installed, where it would compute, and whether it does: each finding with advice where it needs some."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from xdelnx.messages import counted

# Extras of a user, and what each is for; the others are for work on the package itself.
EXTRAS = {
    "anndata": "AnnData files",
    "plot": "pictures",
    "distributed": "clusters",
    "gpu-cuda12": "a card with CUDA 12",
    "gpu-cuda13": "a card with CUDA 13",
}
THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
TOLERANCE = 1e-8  # of a statistic of about 11; it is off by 1e-14
LITTLE_MEMORY = 2e9  # bytes; a block of counts with its arithmetic takes a few hundred megabytes a thread


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    text
        What was found.
    advice
        What to do about it, if anything.
    problem
        Whether fits fail, or would be wrong, because of it.
    """

    text: str
    advice: str = ""
    problem: bool = False


def packages() -> Iterator[Finding]:
    """Packages that are needed, with their versions, and those of the extras."""
    from packaging.requirements import Requirement

    needed = [Requirement(line) for line in metadata.requires("xdelnx") or ()]
    yield Finding(
        f"xdelnx {metadata.version('xdelnx')}, Python {platform.python_version()}, {platform.platform()}"
    )
    for requirement in needed:
        if requirement.marker is None:
            yield _package(requirement)
    for extra, purpose in EXTRAS.items():
        optional = [one for one in needed if one.marker and f'extra == "{extra}"' in str(one.marker)]
        absent = [one.name for one in optional if _version(one.name) is None]
        if absent:
            advice = f"for {purpose}: pip install 'xdelnx[{extra}]'"
            yield Finding(f"not installed: {', '.join(absent)}", advice)
        else:
            yield from map(_package, optional)


def _package(requirement: Any) -> Finding:
    version, advice = _version(requirement.name), f"pip install '{requirement.name}{requirement.specifier}'"
    if version is None:
        return Finding(f"{requirement.name}: not installed", advice, problem=True)
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding(f"{requirement.name} {version}: needs {requirement.specifier}", advice, problem=True)
    return Finding(f"{requirement.name} {version}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def machine() -> Iterator[Finding]:
    """Cores, limits of threads, memory and cards."""
    from dask.system import CPU_COUNT

    yield Finding(f"{counted(CPU_COUNT, 'core')} for Dask's threads, of {os.cpu_count()}")
    limits = [f"{name}={os.environ[name]}" for name in THREADS if name in os.environ]
    if limits:
        yield Finding(f"set: {', '.join(limits)}", "not needed: kernels are serial, and Dask has the threads")
    yield _memory()
    yield from _cards()


def _memory() -> Finding:
    try:
        import psutil
    except ImportError:
        return Finding("memory: unknown without psutil")
    free = psutil.virtual_memory().available
    words = f"{free / 1e9:.1f} GB of memory free, of {psutil.virtual_memory().total / 1e9:.1f}"
    little = "little: use fewer threads (dask.config.set(num_workers=1)) or narrower chunks"
    return Finding(words, little if free < LITTLE_MEMORY else "")


def _cards() -> Iterator[Finding]:
    try:
        import cupy
    except ImportError:
        yield Finding("no CuPy, so no card is used")
        return
    try:
        number = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        yield Finding(f"no card that CuPy can use ({error})")
        return
    for i in range(number):
        name = cupy.cuda.runtime.getDeviceProperties(i)["name"].decode()
        with cupy.cuda.Device(i):
            free, total = cupy.cuda.runtime.memGetInfo()
        yield Finding(f"card {i}: {name}, {free / 1e9:.1f} GB of memory free, of {total / 1e9:.1f}")


def scheduler(where: str) -> Iterator[Finding]:
    """Where Dask runs tasks; of a cluster its workers, and whether their versions are those here."""
    from xdelnx.cli.jobs import cluster_at
    from xdelnx.cli.option_types import LOCAL_SCHEDULERS

    if where in LOCAL_SCHEDULERS:
        yield Finding(f"tasks run in {where}" if where != "synchronous" else "tasks run one after the other")
        return
    with cluster_at(where) as client:
        workers = client.scheduler_info()["workers"].values()
        memory = min((worker["memory_limit"] for worker in workers), default=0)
        text = f"{counted(len(workers), 'worker')} at {where}, of at least {memory / 1e9:.1f} GB"
        yield Finding(text, "" if workers else "start workers: dask worker ADDRESS", problem=not workers)
        try:
            client.get_versions(check=True)
        except ValueError as error:
            advice = "install the same versions on the workers as here"
            yield Finding(f"versions differ: {error}", advice, problem=True)


def kernels() -> Iterator[Finding]:
    """Where compiled code is kept, and whether a fit runs and gives what it must."""
    from xdelnx.kernels import dense

    paths = {str(found.stats.cache_path) for found in vars(dense).values() if hasattr(found, "stats")}
    for path in sorted(paths):
        writable = os.access(path if os.path.isdir(path) else os.path.dirname(path), os.W_OK)
        advice = "every process compiles anew: set NUMBA_CACHE_DIR to a folder that can be written to"
        yield Finding(f"compiled code is kept in {path}", "" if writable else advice)
    start = time.perf_counter()
    off = _poisson_test_is_off_by()
    wrong = not off < TOLERANCE
    yield Finding(
        f"a test of two groups is off by {off:.1g} from its closed form", _BROKEN * wrong, problem=wrong
    )
    yield _fit(start)


_BROKEN = "the numbers cannot be relied on; please report this, with all that stands here"


def _poisson_test_is_off_by() -> float:
    """How far a likelihood-ratio test of Poisson counts is from the formula for two groups of equal size."""
    import numpy as np
    import xarray as xr

    from xdelnx.verbs.fitting import fit

    counts = np.array([[10], [12], [11], [20], [22], [24]])
    data = xr.Dataset(
        {"counts": (("sample", "gene"), counts), "group": ("sample", list("aaabbb"))}, {"gene": ["g"]}
    )
    found = fit(data, "~ group", size_factors=None, overdispersion=False, shrinkage=False)
    each = counts[:3].sum(), counts[3:].sum()
    half = sum(each) / 2
    return abs(float(found["stat"].item()) - 2 * sum(total * math.log(total / half) for total in each))


def _fit(start: float) -> Finding:
    import numpy as np

    from xdelnx.verbs.fitting import fit
    from xdelnx.verbs.simulation import simulate

    pval = fit(simulate(n_samples=8, n_genes=200, seed=1), "~ condition", size_factors="ratio")["pval"].values
    tested = int(np.isfinite(pval).sum())
    seconds = time.perf_counter() - start
    text = f"a small fit ran in {seconds:.1f} s" + (", compiling included" if seconds > 2 else "")
    return Finding(text, "" if tested else _BROKEN, problem=tested == 0)


def findings(where: str) -> Iterator[tuple[str, Iterator[Finding]]]:
    """Everything that is looked at, by what it is about."""
    yield "Packages", packages()
    yield "Machine", machine()
    yield "Scheduler", scheduler(where)
    yield "Kernels", kernels()


def examined(topic: Iterator[Finding]) -> Iterator[Finding]:
    """Findings of a topic; what stops the look itself is a finding, too."""
    try:
        yield from topic
    except Exception as error:  # noqa: BLE001  # the doctor reports what fails, whatever it is
        yield Finding(f"{type(error).__name__}: {error}", problem=True)
