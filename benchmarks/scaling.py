"""How the cost of a fit with its test grows: with genes, non-zero counts, and columns of the design.

    python -m benchmarks.scaling [--scale 1] [--repeats 3]

Counts in memory, after one fit that does not count. The slope is that of log(seconds) on log(size), by least
squares: 1 is linear.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.results_file import write_table

if TYPE_CHECKING:
    import xarray as xr

Table = tuple[str, list[str], list[list[str]]]


def seconds_of(dataset: xr.Dataset, formula: str, repeats: int) -> float:
    """Median seconds of a fit with the test of the last term."""
    import xdelnx

    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        xdelnx.fit(dataset, formula)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[1:]))


def slope(sizes: list[float], seconds: list[float]) -> float:
    """Of log(seconds) on log(size)."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def _table(title: str, unit: str, sizes: list[float], seconds: list[float]) -> Table:
    rows = [
        [f"{size:,.0f}", f"{taken:.3f}", f"{1e6 * taken / size:.2f}"]
        for size, taken in zip(sizes, seconds, strict=True)
    ]
    upper = slope(sizes[-3:], seconds[-3:])
    rows.append([f"slope {slope(sizes, seconds):.2f}", f"of the last three {upper:.2f}", ""])
    return title, [unit, "seconds", f"us for each of the {unit}"], rows


def against_genes(scale: float, repeats: int) -> Table:
    """28 samples, 4,000 to 40,000 genes."""
    import xdelnx

    sizes = [max(int(n * scale), 120) for n in (4_000, 8_700, 18_600, 40_000)]
    dataset = xdelnx.simulate(28, sizes[-1], seed=3)
    taken = [seconds_of(dataset.isel(gene=slice(0, n)), "~ condition", repeats) for n in sizes]
    return _table("Genes: 28 samples, ~ condition", "genes", [float(n) for n in sizes], taken)


def against_nonzeros(scale: float, repeats: int) -> Table:
    """The same cells and genes, counts thinned: non-zeros over a decade."""
    import xdelnx

    shape = max(int(20_000 * scale), 200), max(int(2_000 * scale), 120)
    dataset = xdelnx.simulate(*shape, kind="cells", seed=4)
    counts, rng = dataset["counts"].values, np.random.default_rng(4)
    sizes, taken = [], []
    for keep in (0.03, 0.1, 0.3, 1.0):
        thinned = rng.binomial(counts, keep).astype(np.int32)
        sizes.append(float(np.count_nonzero(thinned)))
        taken.append(seconds_of(dataset.assign(counts=(("sample", "gene"), thinned)), "~ condition", repeats))
    title = f"Non-zero counts: {shape[0]:,} cells x {shape[1]:,} genes, ~ condition"
    return _table(title, "non-zero counts", sizes, taken)


def against_cells(scale: float, repeats: int) -> Table:
    """1,000 genes, 5,000 to 50,000 cells at the same density: entries and non-zeros grow together."""
    import xdelnx

    sizes, taken = [], []
    for n in (5_000, 10_800, 23_200, 50_000):
        dataset = xdelnx.simulate(
            max(int(n * scale), 100), max(int(1_000 * scale), 120), kind="cells", seed=5
        )
        sizes.append(float(np.count_nonzero(dataset["counts"].values)))
        taken.append(seconds_of(dataset, "~ condition", repeats))
    return _table("Cells: 5,000 to 50,000 x 1,000 genes, ~ condition", "non-zero counts", sizes, taken)


def against_donors(scale: float, repeats: int) -> list[Table]:
    """5 to 40 donors and a condition: bulk (three samples a donor and condition) and cells."""
    import xdelnx

    tables = []
    for kind, n_samples, n_genes in (("bulk", 240, 4_000), ("cells", 8_000, 1_000)):
        sizes, taken = [5, 10, 20, 40], []
        shape = max(int(n_samples * max(scale, 0.4)), 96), max(int(n_genes * scale), 120)
        for donors in sizes:
            dataset = xdelnx.simulate(*shape, n_batches=donors, kind=kind, seed=6).rename(batch="donor")
            taken.append(seconds_of(dataset, "~ donor + condition", repeats))
        title = f"Donors: {shape[0]:,} {kind} samples x {shape[1]:,} genes, ~ donor + condition"
        tables.append(_table(title, "donors", [float(n) for n in sizes], taken))
    return tables


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of the problems, to try this out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", default=None, help="folder; default benchmarks/results")
    args = parser.parse_args()
    tables = [part(args.scale, args.repeats) for part in (against_genes, against_nonzeros, against_cells)]
    tables += against_donors(args.scale, args.repeats)
    write_table("scaling", "Growth of the cost of a fit with its test", tables, args.out)


if __name__ == "__main__":
    main()
