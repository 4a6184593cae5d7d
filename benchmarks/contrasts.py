"""What many contrasts cost beside a fit: seconds of processor time, as medians.

Run with ``python -m benchmarks.contrasts [--size 1] [--repeats 5]``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results_file import write_table

if TYPE_CHECKING:
    import xarray as xr

LEVELS = 9  # of the factor: 36 pairs
CASES = {
    "60 x 5,000, ~ batch + dose": ("bulk", 60, 5000, "~ batch + dose"),
    "60 x 5,000, ~ dose": ("bulk", 60, 5000, "~ dose"),
    "3,000 x 1,500 cells, ~ dose": ("cells", 3000, 1500, "~ dose"),
}


def data(kind: str, n_samples: int, n_genes: int) -> xr.Dataset:
    """Simulated counts with a factor of nine levels."""
    import xdelnx

    counts = xdelnx.simulate(n_samples, n_genes, kind=kind, n_batches=2, seed=2)
    dose = np.random.default_rng(0).permutation(np.arange(n_samples) % LEVELS)
    return counts.assign(dose=("sample", np.array([f"d{level}" for level in dose], dtype=object)))


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median processor time of a call, after one that compiles."""
    call()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return float(np.median(found))


def measure(size: float = 1.0, repeats: int = 5) -> list[list[str]]:
    """Rows of the table: a fit, all pairs in the same call, a contrast's share of a fit."""
    import xdelnx

    rows = []
    for title, (kind, n_samples, n_genes, formula) in CASES.items():
        counts = data(kind, max(int(n_samples * min(size, 1.0)), 4 * LEVELS), max(int(n_genes * size), 150))
        alone = seconds(lambda c=counts, f=formula: xdelnx.fit(c, f, contrasts=None), repeats)
        pairs = seconds(lambda c=counts, f=formula: xdelnx.fit(c, f, contrasts="pairwise(dose)"), repeats)
        each = (pairs - alone) / (LEVELS * (LEVELS - 1) // 2)
        rows.append(
            [title, f"{alone:.3f}", f"{pairs:.3f}", f"{each / alone:.3f}", f"{alone * 36 / pairs:.1f} x"]
        )
    return rows


def main() -> None:
    """Measure, print, and write under ``benchmarks/results``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", default=None, help="folder; default benchmarks/results")
    arguments = parser.parse_args()
    head = ["case", "a fit alone, s", "with 36 pairs, s", "a contrast, in fits", "36 fits take"]
    rows = measure(arguments.size, arguments.repeats)
    write_table("contrasts", "Many contrasts of one fit", [("", head, rows)], arguments.out)


if __name__ == "__main__":
    main()
