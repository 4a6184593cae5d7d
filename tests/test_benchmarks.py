"""The benchmarks run, on tiny problems, so that they do not rot; their numbers are measured elsewhere."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xdelnx as xd

ROOT = Path(__file__).parent.parent


def module(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module(f"benchmarks.{name}")


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_kernels(monkeypatch):
    kernels = module("kernels", monkeypatch)
    timings = kernels.measure(size=0.003, repeats=1)
    names = {timing.name for group in timings.values() for timing in group}
    assert {
        "newton_sums",
        "newton_differences",
        "compress",
        "spread (a non-zero)",
        "spread_by_piece",
        "local_median",
    } <= names
    assert all(timing.best > 0 and timing.entries > 0 for group in timings.values() for timing in group)


def test_contrasts(monkeypatch):
    rows = module("contrasts", monkeypatch).measure(size=0.02, repeats=1)
    assert len(rows) == 3
    assert all(float(row[1]) > 0 and float(row[2]) > 0 for row in rows)


def test_peers(tmp_path):
    """The runner with xdelnx alone: every kind of scenario, and one peer that is not installed."""
    peers = ["xdelnx", "xdelnx command line", "pydeseq2"]
    scenarios = ["pb28", "multi60", "cells5k_cov", "atlas"]
    done = command(
        "benchmarks.peers", "--scale", 0.005, "--runs", 1, "--only", *peers, "--scenarios", *scenarios,
        "--out", tmp_path / "results", "--work", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "results").glob("*.json")
    result = json.loads(path.read_text())
    for scenario in ("pb28", "multi60", "cells5k_cov"):
        part = result["scenarios"][scenario]
        assert part["agreement"]["xdelnx"]["log10_p"] == pytest.approx(1.0), "xdelnx with itself"
        assert "pydeseq2" in part["skipped"]
        for name in peers[:2]:
            (run,) = part["runs"][name]
            assert "failed" not in run, run["failed"]
            assert run["whole"] > run.get("computing", 0.0) > -1.0
            assert run["peak_mb"] > 20, "an interpreter with NumPy has more"
    (run,) = result["atlas"]["runs"]
    assert "failed" not in run, run["failed"]
    assert list(tmp_path.glob("xdelnx-benchmark-*")) == [], "the data of the benchmark are left behind"
    table = path.with_suffix(".md").read_text()
    assert "| xdelnx |" in table
    assert "pydeseq2: no folder of peers given" in table


def test_atlas(tmp_path):
    size = "--cells", 3000, "--genes", 200, "--density", 0.05
    done = command("benchmarks.atlas", *size, "--work", tmp_path / "atlas", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    table = next(tmp_path.glob("*-atlas-3000x200.md")).read_text()
    assert "| genes tested | 1" in table, "of 200 genes, 5 % of which have no count"
    counts = xd.open_counts(tmp_path / "atlas" / "counts.zarr")["counts"].values
    # 600,000 counts; the 200 genes' own densities are from a wide distribution, but it is solved for these
    assert (counts > 0).mean() == pytest.approx(0.05, rel=0.03)


def test_counts_drawn_by_gaps_are_negative_binomial(monkeypatch):
    """Both moments, and the zeros, against the formulas; 2e5 draws each."""
    draw_block = module("counts_by_gap", monkeypatch).draw_block
    n, scale = 200_000, np.array([0.5, 2.0])
    order = np.arange(n)
    mean, theta = np.array([[0.1, 0.4], [1.5, 1.5], [0.0, 0.02]]), np.array([3.0, 0.2, 1.0])
    by_sample = np.where(order % (n // 2) < n // 4, *scale)  # rising in both groups
    counts = draw_block(1, (order, by_sample, np.array([0, n // 2, n])), mean, theta)
    for g in range(3):
        for k in range(2):
            for s in scale:
                some = counts[n // 2 * k : n // 2 * (k + 1), g][by_sample[: n // 2] == s].astype(float)
                mu, size = mean[g, k] * s, n // 4
                sd = np.sqrt(mu + theta[g] * mu**2)
                assert some.mean() == pytest.approx(mu, abs=5 * sd / np.sqrt(size))
                assert some.var() == pytest.approx(sd**2, rel=0.25, abs=1e-12)
                zero = (1 + theta[g] * mu) ** (-1 / theta[g])
                assert (some == 0).mean() == pytest.approx(
                    zero, abs=5 * np.sqrt(zero * (1 - zero) / size) + 1e-12
                )


def test_scaling(tmp_path):
    done = command("benchmarks.scaling", "--scale", 0.01, "--repeats", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*-scaling.md")
    assert path.read_text().count("slope") == 5


def test_slope(monkeypatch):
    scaling = module("scaling", monkeypatch)
    assert scaling.slope([1.0, 10.0, 100.0], [2.0, 20.0, 200.0]) == pytest.approx(1.0, rel=1e-12)


def test_significant(monkeypatch):
    """Benjamini-Hochberg by hand: 0.01 <= 0.05 / 4 and 0.02 <= 0.05 * 2 / 4, but 0.2 and 0.9 are not."""
    report = module("report", monkeypatch)
    assert report.significant(np.array([0.9, 0.01, 0.2, 0.02, np.nan])) == 2
    assert report.significant(np.full(3, 0.5)) == 0


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler is installed")
def test_gpu_without_a_card(tmp_path):
    """All of it, with the card's kernels on the processor."""
    done = command("benchmarks.gpu", "--dry-run", "--size", 0.0005, "--no-cpu", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("gpu-none-dry-run-*.json")
    result = json.loads(path.read_text())
    assert all(kernel["entries_a_second"] > 0 for kernel in result["kernels"].values())
    for shape in result["fits"].values():
        run = shape["runs"]["gpu"]
        assert run["whole"] > run["computing"] > 0
        assert run["reading"] > 0


def test_gpu_floors(monkeypatch):
    """1e9 entries of 8 bytes and 40 operations: 2.4 ms of an H100's memory, 1.2 ms of its arithmetic."""
    gpu = module("gpu", monkeypatch)
    found = {"newton_sums": {"entries": 10**9, "seconds": [0.01, 0.0048]}}
    gpu.beside_floor(found, "NVIDIA H100 80GB HBM3")
    assert found["newton_sums"]["floor_seconds"] == pytest.approx(8e9 / 3.35e12)
    assert found["newton_sums"]["times_floor"] == pytest.approx(2.01, abs=0.01)


def test_scale_model(monkeypatch):
    """Twice the cells take twice the time, twice the cards half of it; whoever is slowest is named."""
    scale = module("scale_model", monkeypatch)
    rates = {"decode": 1e9, "compressed": 0.2, "nonzero": 7e-8, "entry": 1e-9, "task": 1e-3, "moved": 2.0}
    host, card = scale.Host(**rates), scale.Card()
    job = scale.Job(1e7)
    one, two = scale.model(job, host, card), scale.model(scale.replace(job, cells=2e7), host, card)
    cards = scale.model(scale.replace(job, cards=2), host, card)
    for part in ("reading", "disks", "transfer", "computing"):
        assert getattr(two, part) == pytest.approx(2.0 * getattr(one, part))
    assert cards.computing == pytest.approx(0.5 * one.computing)
    assert one.reading == pytest.approx(3 * 3e11 / 4e9)  # three reads by four threads
    assert one.bound == "decoding"
    assert one.network == pytest.approx(2.0 * 1e7 * (3e11 / 2**29) / 2.5e9)  # two bytes a cell and block
    assert two.network == pytest.approx(4.0 * one.network)  # twice the cells are twice the blocks, too
    assert scale.model(scale.replace(job, readers=10_000, disk=1e6), host, card).bound == "disks"
    assert scale.model(scale.replace(job, cards=10_000, disk=1e12), host, card).bound == "scheduler"


def test_simulated_graph(monkeypatch):
    """Every gene has its result, also where a worker is lost on the way; as many tasks as the model has."""
    graph, scale = module("simulated_graph", monkeypatch), module("scale_model", monkeypatch)
    for lost in (0, 1):
        found = graph.simulate(graph.Run(16, 3, 60, 400, read=0.01, compute=0.02, lost=lost))
        assert found.genes > 350
        if lost:
            assert found.tasks >= 7 * 16, "what a worker had is computed again"
        else:  # of 16 looks at the counts, 8 and 8 are joined, and these two
            assert found.tasks == pytest.approx(scale.tasks(16), abs=1.0)
        assert 0.0 < found.before < found.seconds
        assert found.graphs > 2 * 60 * 24, "the order of the samples and their scales, for each of two passes"
        assert found.peak > 20e6


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler is installed")
def test_overlap(monkeypatch):
    """Of 8 blocks on 4 threads: 0.2 s of looks, and two passes that are bound by computing, or by reading."""
    overlap = module("overlap", monkeypatch)
    assert overlap.in_turns(8, 0.1, 0.2, 4) == pytest.approx(3 * 0.2 + 2 * 1.6)
    assert overlap.at_best(8, 0.1, 0.2, 4) == pytest.approx(0.2 + 2 * 1.6)
    assert overlap.at_best(8, 0.7, 0.1, 4) == pytest.approx(1.4 + 2 * 1.6)
    assert len(overlap.measure([(2, 0.0, 0.01, 2)])) == 1
