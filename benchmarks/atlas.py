"""An atlas of cells from Zarr to Zarr: `xdelnx fit` from a cold shell, and its peak memory.

    python -m benchmarks.atlas --cells 1000000 --genes 20000 --density 0.05 --work FOLDER

The store is made once, block by block, and kept in FOLDER (without it, it is made elsewhere and removed). The cost
of making it goes with the non-zero counts, not with the entries.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import measure
from benchmarks.counts_by_gap import draw_block
from benchmarks.results_file import write_table

if TYPE_CHECKING:
    import xarray as xr

CELLS, GENES, DENSITY = 68_579, 20_000, 0.03  # the shape of PBMC68k
COMMAND_LINE = [sys.executable, "-c", "import sys; from xdelnx.cli import main; sys.exit(main())"]
FORMULA = "~ condition"
STORE, FIT = "counts.zarr", "fit.zarr"
SEED = 2
SIGNIFICANT = 0.05  # false discovery rate


def make_atlas(store: Path, n_samples: int = CELLS, n_genes: int = GENES, density: float = DENSITY) -> None:
    """Write a store of simulated cells, their counts thinned to a share of non-zeros, block by block."""
    import dask

    import xdelnx
    from xdelnx.storage.stores import gene_chunk, write_store

    width = gene_chunk(n_samples, n_genes, np.uint16)
    levels = ("ctrl", "stim")
    dataset = xdelnx.simulate(n_samples, n_genes, kind="cells", levels=levels, seed=SEED, chunks=width)
    dataset["counts"] = dataset["counts"].copy(data=_counts(dataset, width, density))
    with dask.config.set(scheduler="synchronous"):  # one block in memory at a time
        write_store(dataset, store, overwrite=True)


def _counts(dataset: xr.Dataset, width: int, density: float) -> Any:
    """Counts (sample, gene) as a Dask array whose every block is drawn from a seed of its own."""
    import dask
    import dask.array as da

    scale = dataset["size_factor_true"].values
    group = (dataset["condition"].values == "stim").astype(np.int64)
    order = np.lexsort((scale, group))
    mean, theta = dataset["base_mean"].values, np.nan_to_num(dataset["dispersion"].values)
    change = np.exp2(dataset["lfc"].values)
    by_group = thinning(mean, change, theta, scale, density) * np.stack([mean, mean * change], axis=1)
    given = dask.delayed((order, scale[order], np.searchsorted(group[order], [0, 1, 2])), traverse=False)
    blocks = []
    for number, first in enumerate(range(0, mean.size, width)):
        part = slice(first, first + width)
        block = dask.delayed(draw_block, pure=False)(SEED + number, given, by_group[part], theta[part])
        blocks.append(da.from_delayed(block, (scale.size, by_group[part].shape[0]), np.uint16))
    return da.concatenate(blocks, axis=1)


def thinning(
    mean: np.ndarray, change: np.ndarray, theta: np.ndarray, scale: np.ndarray, density: float
) -> float:
    """Find what the means are multiplied by for this share of non-zero counts, by bisection in its logarithm.

    A negative binomial whose counts are thinned is one of a smaller mean and the same overdispersion.
    """
    typical = np.quantile(scale, (np.arange(50) + 0.5) / 50)
    rates = np.concatenate([mean, mean * change])[:, None] * typical
    theta = np.maximum(np.concatenate([theta, theta]), 1e-9)[:, None]
    low, high = -20.0, 20.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        found = np.mean(-np.expm1(-np.log1p(theta * rates * np.exp(middle)) / theta))
        low, high = (middle, high) if found < density else (low, middle)
    return float(np.exp(high))


def run_fit(work: Path, limit: float, pause: float = 0.0) -> dict[str, Any]:
    """Fit the folder's store, from a cold shell: what it cost, or why it failed."""
    out = work / FIT
    shutil.rmtree(out, ignore_errors=True)
    measure.wait_until_quiet(pause)
    command = [*COMMAND_LINE, "fit", str(work / STORE), str(out), "--design", FORMULA]
    env = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    cost = measure.run(command, work / "fit.txt", env=env, limit=limit)
    if cost.status != 0 or cost.timed_out:
        return cost.record | {"failed": cost.said or "stopped"}
    return cost.record


def stored_bytes(store: Path) -> int:
    """Size of a store on disk."""
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def outcome(work: Path) -> dict[str, str]:
    """What the fit found, beside the truth that the store holds."""
    import xarray as xr

    truth, fit = xr.open_zarr(work / STORE), xr.open_zarr(work / FIT)
    found, changed = fit["padj"].values[-1] < SIGNIFICANT, truth["is_de"].values
    tested = np.isfinite(fit["pval"].values[-1])
    return {
        "mean counts of a cell": f"{fit['library_size'].values.mean():,.0f}",
        "genes tested": f"{tested.sum():,}",
        "changed, of them": f"{(tested & changed).sum():,}",
        f"found at {SIGNIFICANT:.0%}": f"{found.sum():,}",
        "changed, of those found": f"{(found & changed).sum():,}",
    }


def _rows(runs: Sequence[dict[str, Any]]) -> list[list[str]]:
    return [
        [str(i + 1), run.get("failed", f"{run['whole']:.1f}"), f"{run['processor']:.1f}", f"{run['peak_mb']:.0f}",
         f"{run['others']:.2f}"]
        for i, run in enumerate(runs)
    ]  # fmt: skip


def measure_runs(work: Path, args: argparse.Namespace, made: float | None) -> bool:
    """Run the fit, print and write the table; whether all went well."""
    runs = [run_fit(work, args.limit, args.pause) for _ in range(args.runs)]
    head = ["run", "elapsed, s", "processor, s", "peak, MB", "cores of others"]
    tables = [("`xdelnx fit` from a cold shell", head, _rows(runs))]
    well = not any("failed" in run for run in runs)
    if well:
        about = {"store, MB": f"{stored_bytes(work / STORE) / 1e6:,.0f}"}
        about["made in, s"] = "there already" if made is None else f"{made:.0f}"
        rows = [[name, value] for name, value in (about | outcome(work)).items()]
        tables.append(("What there is, and what it found", ["what", "how much"], rows))
    title = (
        f"{args.cells:,} x {args.genes:,} cells, {args.density:.0%} non-zero, {FORMULA}, from Zarr to Zarr"
    )
    write_table(f"atlas-{args.cells}x{args.genes}", title, tables, args.out)
    return well


def main(argv: Sequence[str] | None = None) -> int:
    """Make the store unless it is there, and measure."""
    args = _arguments(argv)
    work, made = args.work or Path(tempfile.mkdtemp(prefix="xdelnx-atlas-")), None
    try:
        if not (work / STORE).exists():
            start = time.perf_counter()
            make_atlas(work / STORE, args.cells, args.genes, args.density)
            made = time.perf_counter() - start
        return int(args.runs > 0 and not measure_runs(work, args, made))
    finally:
        if args.work is None:
            shutil.rmtree(work, ignore_errors=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--genes", type=int, default=GENES)
    parser.add_argument("--density", type=float, default=DENSITY, help="share of counts that are not zero")
    parser.add_argument("--work", type=Path, help="folder for the store, which is made once and stays there")
    parser.add_argument("--runs", type=int, default=1, help="0 makes the store alone")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds a run may take")
    parser.add_argument(
        "--pause", type=float, default=0.0, help="minutes to wait for a quiet machine before a run"
    )
    parser.add_argument("--out", type=Path, default=None, help="folder; default benchmarks/results")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
