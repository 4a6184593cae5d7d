"""How much of reading goes on while a card computes: the passes of a fit, with waits of known length.

Run with ``python -m benchmarks.overlap``; needs no card. Threads read ahead and take turns at the card as they do in a
fit with ``device="gpu"``. A block waits for a known time when it is read, and for another when it is computed on, as
long decoding and kernels do, both without holding up other threads.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import dask

from benchmarks.gpu import dry_run
from benchmarks.results_file import write_table
from benchmarks.simulated_graph import PASSES, READS
from benchmarks.simulated_steps import Run, recorded, waiting_counts, waiting_steps

CASES = [  # blocks, seconds to read one and to compute on it, threads
    (16, 0.2, 0.02, 4),
    (16, 0.2, 0.1, 4),
    (16, 0.1, 0.1, 4),
    (16, 0.05, 0.2, 4),
    (16, 0.1, 0.1, 2),
    (16, 0.1, 0.1, 1),
]


def in_turns(blocks: int, read: float, compute: float, threads: int) -> float:
    """Seconds if all threads read, and nobody reads while one computes."""
    return blocks * (READS * read / threads + PASSES * compute)


def at_best(blocks: int, read: float, compute: float, threads: int) -> float:
    """Seconds if no thread ever waits but for its turn, of which there is one at a time."""
    return blocks * (read / threads + PASSES * max(compute, (read + compute) / threads))


def elapsed(run: Run) -> float:
    """Seconds of a fit by threads of this process."""
    import xdelnx as xd
    from xdelnx.chunks.devices import ENTRY_SHARE
    from xdelnx.kernels import devices

    data, steps = waiting_counts(run), recorded()
    with dry_run(), waiting_steps(run, steps), dask.config.set(scheduler="threads", num_workers=run.workers):
        devices.free_memory = lambda: run.cells * run.width * ENTRY_SHARE  # for blocks of that width
        start = time.perf_counter()
        xd.fit(data, "~ condition", device="gpu")
        return time.perf_counter() - start


def measure(cases: list[tuple[int, float, float, int]]) -> list[list[str]]:
    """Row of each case; what the same fit takes without any wait is taken off."""
    rows = []
    for case in cases:
        blocks, read, compute, threads = case
        run = Run(blocks, threads, 1000, 64 * blocks, read, compute)
        still = replace(run, read=0.0, compute=0.0)
        elapsed(still)  # compiles
        own = elapsed(still)
        waited = elapsed(run) - own
        turns, best = in_turns(*case), at_best(*case)
        hidden = (
            f"{100 * (turns - waited) / (turns - best):.0f} %" if turns > best * 1.001 else "none to hide"
        )
        rows.append([f"{blocks} blocks, {threads} threads", f"{read:g}", f"{compute:g}", f"{turns:.2f}",
                     f"{waited:.2f}", f"{best:.2f}", hidden, f"{own:.2f}"])  # fmt: skip
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=None, help="folder; default benchmarks/results")
    head = ["fit", "read, s a block", "compute, s a block", "in turns, s", "measured, s", "at best, s",
            "of what can be hidden", "without waits, s"]  # fmt: skip
    title = "Reading ahead while a card computes, with waits of known length"
    write_table("overlap", title, [("", head, measure(CASES))], parser.parse_args().out)


if __name__ == "__main__":
    main()
