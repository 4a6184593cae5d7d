"""Memory of a whole process: a plan bounds what the kernel counts, and a job ends well within what the kernel gives.

The limit is RLIMIT_DATA, set before the command begins: all that a process writes to and that is no file, heap, arrays
and stacks, resident or only reserved. It takes no privileges, and leaves out code and files alone; those are in
the peaks of resident memory that are compared and printed.
"""

import os
import subprocess
import sys

import dask.array as da
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.cli import main
from xdelnx.storage.stores import write_store
from xdelnx.verbs.planning import estimate

pytestmark = [
    pytest.mark.skipif(
        not os.path.exists("/proc/self/status"), reason="Linux tells and limits a process' memory"
    ),
    pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning"),  # of cells with few genes
]
MB = 1_000_000
PEAK = "print(*[line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line])"
COMMAND = f"import sys; from xdelnx.cli import main; status = main(sys.argv[1:]); {PEAK}; sys.exit(status)"
LOAD = "import sys, xdelnx; xdelnx.open_counts(sys.argv[1]).load()"


def run(code, *words, limit=None, threads=2):
    """A process of its own, limited to so many bytes."""
    command = [sys.executable, "-c", code, *words]
    if limit is not None:
        command = ["sh", "-c", f'ulimit -d {limit // 1024} && exec "$@"', "sh", *command]
    environment = dict(os.environ, DASK_NUM_WORKERS=str(threads))
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def fitted(formula, *options, threads=2):
    """Largest resident memory, in bytes, of a process that fits the store, once its kernels are compiled."""
    words = ["fit", "counts.zarr", "fit.zarr", "--design", formula, "--no-progress", "--overwrite", *options]
    assert main(words) == 0
    return peak(COMMAND, words, threads=threads)


def peak(code, words, **how):
    """Largest resident memory, in bytes, of a process that ends well."""
    done = run(code, *words, **how)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]) * 1024


def planned(formula, threads=2, **options):
    """Bytes that a plan says."""
    data = xd.open_counts("counts.zarr")
    return estimate(data, {"design": formula, "contrasts": "last", **options}).memory(threads)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def store(n_samples, n_genes, times=1, dtype="int32", **how):
    """Store of simulated counts, with every gene so many times; what they take in memory."""
    made = xd.simulate(n_samples, n_genes, n_batches=2, covariate="age", chunks=how.pop("chunks", 64), **how)
    write_store(made, "made.zarr")
    made = xd.open_counts("made.zarr")
    counts = da.concatenate([made["counts"].data.astype(dtype)] * times, axis=1)
    names = {"sample": made["sample"], "gene": [f"g{i}" for i in range(times * n_genes)]}
    data = xr.Dataset({"counts": (("sample", "gene"), counts)}, names)
    write_store(data.merge(made.drop_dims("gene")), "counts.zarr")
    return counts.nbytes


# ---- plans -----------------------------------------------------------------------------------------------

SHAPES = {
    "bulk": {"n_samples": 28, "n_genes": 16_199},
    "many bulk samples": {"n_samples": 100, "n_genes": 60_000},
    "cells": {"n_samples": 20_000, "n_genes": 2_000, "kind": "cells"},
    "many cells": {"n_samples": 100_000, "n_genes": 500, "kind": "cells"},
    "counts without zeros": {"n_samples": 100_000, "n_genes": 128},
    "very many cells": {"n_samples": 500_000, "n_genes": 32, "kind": "cells", "chunks": 4},
}
DESIGNS = ["~ condition", "~ batch + age + condition"]
OPTIONS = {
    "edger": ["--method", "edger"],
    "robust": ["--robust"],
    "replace": ["--cooks", "replace"],
    "tmm": ["--size-factors", "tmm"],
    "by": ["--by", "batch"],
}


@pytest.mark.parametrize(("shape", "formula"), [("bulk", DESIGNS[0]), ("short", DESIGNS[1])])
def test_a_plan_is_a_bound(shape, formula):
    """From above, and within a factor of two."""
    store(**SHAPES.get(shape, {"n_samples": 50_000, "n_genes": 32, "kind": "cells", "chunks": 4}))
    found = fitted(formula, threads=1)
    assert found < planned(formula, threads=1) < 2 * found


@pytest.mark.stress
@pytest.mark.parametrize("shape", SHAPES)
def test_plans_are_bounds(shape):
    store(**SHAPES[shape])
    for formula in DESIGNS:
        for threads in (1, 2):
            compare(shape, formula, [], threads)


@pytest.mark.stress
def test_plans_are_bounds_for_options():
    store(**SHAPES["many bulk samples"])
    for options in OPTIONS.values():
        compare("many bulk samples", "~ age + condition", options, 2)


def compare(shape, formula, options, threads):
    """One peak with its plan, printed."""
    named = {options[0].strip("-").replace("-", "_"): options[1] if options[1:] else True} if options else {}
    found = fitted(formula, *options, threads=threads)
    plan = planned(formula, threads, **named)
    what = f"{shape}, {formula}, {threads} threads {' '.join(options)}"
    print(f"\n{what}: peak {found / MB:.0f} MB, plan {plan / MB:.0f} MB, {plan / found:.2f} x")
    assert found < plan < 2 * found, what


# ---- limits ----------------------------------------------------------------------------------------------


def within(limit, nbytes, code=COMMAND, threads=2):
    """Fit the store within a limit that is set from outside; say the peak."""
    xd.fit(xd.open_counts("counts.zarr").isel(gene=slice(0, 200)).load(), "~ condition")  # compiles
    found = peak(
        code, ["fit", "counts.zarr", "fit.zarr", "--design", "~ condition"], limit=limit, threads=threads
    )
    result = xr.open_zarr("fit.zarr")
    assert result["pval"].notnull().sum() > 0.8 * result.sizes["gene"]
    entries = xd.open_counts("counts.zarr")["counts"].size
    print(
        f"\n{entries:,} counts, {nbytes / MB:,.0f} MB, within {limit / MB:.0f} MB: peak {found / MB:.0f} MB"
    )
    assert found < limit


def test_a_fit_takes_less_than_its_counts():
    """Counts of 640 MB within 600 MB, in blocks as small beside them as those of a large store."""
    nbytes = store(5_000, 500, times=32, dtype="int64", kind="cells")
    assert "MemoryError" in run(LOAD, "counts.zarr", limit=600 * MB).stderr
    within(600 * MB, nbytes, f"from xdelnx.chunks import blocks; blocks.BLOCKS = 50; {COMMAND}")


@pytest.mark.stress
@pytest.mark.parametrize(
    ("n_genes", "times", "dtype", "threads"),
    [(5_000, 1, "int32", 2), (2_560, 25, "int64", 1)],
    ids=["entries", "tenfold"],
)
def test_within_one_gigabyte(n_genes, times, dtype, threads):
    """100 million counts; and ten gigabytes of them, ten times the memory of the worker."""
    nbytes = store(20_000, n_genes, times, dtype, kind="cells", chunks=256)
    within(1000 * MB, nbytes, threads=threads)
