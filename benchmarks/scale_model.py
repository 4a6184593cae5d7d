"""What a fit of very many cells needs: a model with its constants, and a simulated run of the real graph.

Run with ``python -m benchmarks.scale_model``. The model is bytes and operations over rates. Rates of this machine are
measured in the same run; those of a card are assumptions from its data sheet, marked "not measured". The simulation
runs the graph of a fit (`benchmarks.simulated_graph`), with steps that only wait, on many workers in a process of their
own. It measures the scheduler's processor time, bytes on the way, stragglers, and the loss of workers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results_file import write_table
from benchmarks.simulated_graph import PASSES, READS, Found, simulate
from benchmarks.simulated_steps import Run
from xdelnx.chunks.tasks import JOINED_AT_ONCE

GENES = 30_000
# Evaluations a fit of cells makes of every non-zero count (benchmarks/README.md: coefficients three times,
# overdispersion once), and of which part they are.
EVALUATIONS = {"score and information": 7.6, "dispersion": 6.3, "deviance": 2.0}
# float64 operations of an evaluation, counted from the formulas, a division as 8.
OPERATIONS = {"score and information": 40, "dispersion": 45, "deviance": 90}
REPEATS = 5  # of each measurement, of which the median counts
NONZERO_BYTES = 16  # read by an evaluation: count and scale
TASKS = 7  # of a block: in each pass a read and a call; for the second fit what the first gave
STORED = 2  # bytes of a count


@dataclass(frozen=True)
class Card:
    """Rates of a card, none of them measured."""

    name: str = "H200-class, not measured"
    bytes_a_second: float = 4.0e12 * 0.6
    operations_a_second: float = 30e12 * 0.3
    bus: float = 40e9  # bytes a second from pinned memory
    memory: float = 130e9
    evaluation: float = (
        200e-6  # seconds an evaluation of a tile costs whatever its size: launches, one look back
    )


@dataclass(frozen=True)
class Host:
    """Rates of this machine.

    Parameters
    ----------
    decode
        Counts decoded from Zarr a second and core.
    compressed
        Bytes a count takes in the store.
    nonzero, entry
        Seconds of one core for all evaluations of a non-zero count, and for looking at an entry.
    task
        Seconds of the scheduler for a task.
    moved
        Bytes that workers send for a cell and a block.
    """

    decode: float
    compressed: float
    nonzero: float
    entry: float
    task: float
    moved: float


@dataclass(frozen=True)
class Job:
    """A fit, and what it runs on."""

    cells: float
    genes: int = GENES
    density: float = 0.05
    coefficients: int = 2
    cards: int = 1
    readers: int = 4  # threads a card
    disk: float = 5e9  # bytes a second, of all disks together
    network: float = 2.5e9  # bytes a second from each worker, of which a card has one
    block: float = 2**29  # counts


@dataclass(frozen=True)
class Cost:
    """Seconds by what they are for, the whole, and bytes of a card and of its host."""

    reading: float
    disks: float
    transfer: float
    computing: float
    scheduling: float
    network: float
    whole: float
    card_bytes: float
    host_bytes: float

    @property
    def bound(self) -> str:
        """What takes longest."""
        parts = {"decoding": self.reading, "disks": self.disks, "card": self.transfer + self.computing,
                 "scheduler": self.scheduling, "network": self.network}  # fmt: skip
        return max(parts, key=lambda name: parts[name])


def model(job: Job, host: Host, card: Card) -> Cost:
    """Cost of a job: reading, the card and the scheduler go on at the same time."""
    entries = job.cells * job.genes
    non_zero = entries * job.density
    share = 1.0 + 0.1 * (job.coefficients - 2)  # of the algebra by kind, beside the sums over counts
    reading = READS * entries / (host.decode * job.readers * job.cards)
    disks = READS * entries * host.compressed / job.disk
    transfer = PASSES * entries * STORED / (card.bus * job.cards)
    blocks = max(entries / job.block, 1.0)
    seconds = sum(
        times * max(NONZERO_BYTES / card.bytes_a_second, OPERATIONS[what] / card.operations_a_second)
        for what, times in EVALUATIONS.items()
    )
    taking_out = PASSES * entries * (2 * STORED + 8 * 2) / card.bytes_a_second
    computing = (non_zero * seconds * share + taking_out) / job.cards
    computing += blocks / job.cards * sum(EVALUATIONS.values()) * card.evaluation * 3
    scheduling = tasks(blocks) * host.task
    network = host.moved * job.cells * blocks / (job.network * job.cards)
    whole = max(reading, disks, transfer + computing, scheduling, network) + (reading / max(blocks, 1.0))
    held = job.block * (STORED + 8 * job.density * 3) + job.cells * 8 * 3
    return Cost(reading, disks, transfer, computing, scheduling, network, whole,
                held + card.memory / 4, job.block * STORED * job.readers * 2)  # fmt: skip


def tasks(blocks: float) -> float:
    """Tasks of a fit: those of each block, and those that join what eight looks at the counts told, and these."""
    return (TASKS + 1.0 / (JOINED_AT_ONCE - 1)) * blocks + 6


# ---- constants ------------------------------------------------------------------------------------------


def measured(size: float) -> Host:
    """Rates of this machine; ``size`` of the arrays, 1 for a run that counts."""
    import zarr

    import xdelnx as xd
    from benchmarks.kernels import nonzero_kernels

    n = max(int(20_000 * size), 200)
    counts = xd.simulate(n, 400, kind="cells", seed=1)["counts"].values.astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.zarr"
        store = zarr.create_array(store=str(path), shape=counts.shape, chunks=(n, 50), dtype=counts.dtype)
        store[:] = counts
        stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        opened = zarr.open_array(str(path), mode="r")
        decode = counts.size / _seconds(lambda: opened[:])
    calls = nonzero_kernels(size)
    rates = {}
    for name, (visits, call) in calls.items():
        call()
        rates[name] = _seconds(call) / visits
    nonzero = (
        EVALUATIONS["score and information"] * rates["newton_differences"]
        + EVALUATIONS["dispersion"] * rates["dispersion_differences"]
        + EVALUATIONS["deviance"] * rates["deviance_differences"]
    )
    entry = rates["look_at_whole_numbers (an entry)"]
    return Host(decode, stored / counts.size, nonzero, entry, task=np.nan, moved=np.nan)


def _seconds(call: Any, repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


# ---- tables ---------------------------------------------------------------------------------------------


JOBS = {
    "68,579 x 20,000, 1 card": Job(68_579, 20_000),
    "1 million x 20,000, 1 card": Job(1e6, 20_000),
    "10 million x 30,000, 1 card": Job(1e7),
    "10 million x 30,000, 8 cards": Job(1e7, cards=8, disk=2e10),
    "10 million x 30,000, 8 cards, 16 readers each": Job(1e7, cards=8, readers=16, disk=2e10),
    "10 million x 30,000, 64 cards, 16 readers each": Job(1e7, cards=64, readers=16, disk=1e11),
    "10 million x 30,000, 8 cards, 20 coefficients": Job(
        1e7, cards=8, readers=16, disk=2e10, coefficients=20
    ),
    "10 million x 30,000 at 20 %, 8 cards": Job(1e7, density=0.2, cards=8, readers=16, disk=2e10),
    "100 million x 30,000, 64 cards, 16 readers each": Job(1e8, cards=64, readers=16, disk=1e11),
}


HEAD = ["cells x genes", "blocks", "workers", "stragglers (10 x)", "lost", "tasks", "seconds", "before the first",
        "ideal", "scheduler s", "ms a task", "workers' s", "GB to scheduler", "GB to workers", "GB from workers",
        "peak GB",
        "genes with p"]  # fmt: skip


def run_rows(runs: list[Run]) -> tuple[list[list[str]], list[Found]]:
    """Row of each simulated run, and what was found of it."""
    simulate(Run(4, 2, 16, 64, read=0.0, compute=0.0))  # compiles
    found = [simulate(run) for run in runs]
    return [_row(run, of_run) for run, of_run in zip(runs, found, strict=True)], found


def _row(run: Run, found: Found) -> list[str]:
    asked = [f"{run.cells:,} x {run.genes:,}", f"{run.blocks:,}", str(run.workers), f"{100 * run.stragglers:.0f} %",
             str(run.lost)]  # fmt: skip
    seconds = [f"{s:.1f}" for s in (found.seconds, found.before, found.ideal, found.scheduler)]
    sizes = [f"{n / 1e9:.2f}" for n in (found.graphs, found.sent, found.moved, found.peak)]
    task = f"{1e3 * found.scheduler / found.tasks:.2f}"
    return [*asked, f"{found.tasks:,}", *seconds, task, f"{found.workers:.1f}", *sizes, f"{found.genes:,}"]


def model_rows(host: Host, card: Card) -> list[list[str]]:
    """Row of each job."""
    rows = []
    for name, job in JOBS.items():
        cost = model(job, host, card)
        seconds = (
            cost.reading,
            cost.disks,
            cost.transfer,
            cost.computing,
            cost.scheduling,
            cost.network,
            cost.whole,
        )
        rows.append([name, *(f"{s:,.1f}" for s in seconds), cost.bound, f"{cost.card_bytes / 1e9:.0f}",
                     f"{cost.host_bytes / 1e9:.1f}"])  # fmt: skip
    return rows


def main() -> None:
    """Measure, simulate, and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=float, default=1.0, help="of everything, to try this out")
    parser.add_argument("--out", default=None, help="folder; default benchmarks/results")
    args = parser.parse_args()
    genes, blocks, cells = (max(int(n * args.size), 8) for n in (GENES, 556, 1e7))  # 2^29 counts a block
    few, every = Run(blocks, 32, max(cells // 10_000, 8), genes), Run(blocks, 8, cells, genes)
    runs = [few, replace(few, stragglers=0.02), replace(few, lost=2), every, replace(every, workers=16)]
    simulated, found = run_rows(runs)
    task, moved = found[0].scheduler / found[0].tasks, found[-1].moved / (cells * blocks)
    host, card = replace(measured(args.size), task=task, moved=moved), Card()
    median = f"measured, median of {REPEATS}"
    constants = [
        ["decoding, counts a second and core", f"{host.decode:.3g}", median],
        ["bytes a count in the store", f"{host.compressed:.3g}", "measured, one store"],
        ["this processor, ns a non-zero and fit, one core", f"{1e9 * host.nonzero:.3g}", median],
        ["looking at an entry, ns", f"{1e9 * host.entry:.3g}", median],
        [
            "scheduler, ms a task",
            f"{1e3 * host.task:.3g}",
            f"measured, mean of {found[0].tasks:,} tasks, one run",
        ],
        ["from workers, bytes a cell and block", f"{host.moved:.3g}", "measured, one run"],
        *([what, f"{value:.3g}", "not measured"] for what, value in vars(card).items() if what != "name"),
        *([f"evaluations: {what}", str(n), "counted"] for what, n in EVALUATIONS.items()),
        *([f"operations: {what}", str(n), "counted"] for what, n in OPERATIONS.items()),
    ]
    write_table(
        "scale-model",
        "A model of very many cells, and the real graph with kernels that wait",
        [
            ("Constants", ["constant", "value", "from"], constants),
            ("Model: seconds, and GB of a card and of its host (a card's own rates are not measured)",
             ["job", "decoding", "disks", "transfer", "computing", "scheduler", "network", "whole", "bound by", "card",
              "host"],
             model_rows(host, card)),
            ("Simulated runs of the graph, one each", HEAD, simulated),
        ],
        args.out,
    )  # fmt: skip


if __name__ == "__main__":
    main()
