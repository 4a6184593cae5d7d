"""A card's figures: kernels beside the floor of their bytes and operations, and whole fits, split by what they do.

Run with ``python -m benchmarks.gpu`` where there is a card; writes ``results/gpu-CARD-DATE.json``. ``--dry-run`` runs
the card's kernels on the processor, on tiny data, to see that all of it works; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine
from benchmarks.results_file import RESULTS

# Peak rates to compare with, bytes and float64 operations a second, by a part of the card's name (data sheets).
PEAKS = {"H200": (4.8e12, 34e12), "H100": (3.35e12, 34e12), "A100": (2.0e12, 9.7e12)}
# Bytes a kernel must read of an entry or a non-zero count, and operations it does there, a division as 8.
FLOORS = {
    "newton_sums": (8, 40),
    "deviance_sums": (8, 130),
    "dispersion_mean_sums": (8, 150),
    "newton_differences": (16, 60),
    "deviance_differences": (16, 90),
    "dispersion_differences": (16, 45),
}
CORES = 2  # threads of the processor's fits
SHAPES = {"68,579 x 20,000": (68_579, 20_000), "1,000,000 x 20,000": (1_000_000, 20_000)}


def about(cupy: Any) -> dict[str, Any]:
    """Name, memory and versions of the card in use."""
    if cupy is None:
        return {"card": "none (dry run)"}
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
    return {
        "card": properties["name"].decode(),
        "memory_gb": round(properties["totalGlobalMem"] / 1e9, 1),
        "driver": driver(),
        "driver_cuda": cupy.cuda.runtime.driverGetVersion(),
        "runtime_cuda": cupy.cuda.runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
    }


def driver() -> str:
    """Version of the driver, as nvidia-smi says it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.split("\n")[0].strip()


def seconds(call: Callable[[], Any], wait: Callable[[], None], repeats: int) -> list[float]:
    """Seconds of each call, after one that compiles."""
    call()
    wait()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        wait()
        found.append(time.perf_counter() - start)
    return found


def kernels(backend: Any, wait: Callable[[], None], size: float, repeats: int) -> dict[str, Any]:
    """Kernels of sums over counts: entries a second, beside the floor where the card's peak is known."""
    rng = np.random.default_rng(0)
    genes, samples = max(int(500 * size), 4), max(int(60_000 * size), 60)
    y = rng.poisson(3.0, (genes, samples)).astype(float)
    starts = np.array([0, samples // 2, samples])
    m, theta, rows = np.full((genes, 2), 3.0), np.full(genes, 0.3), np.arange(genes)
    scale = rng.lognormal(0.0, 0.3, (1, samples))
    bounds = starts[None, :] + samples * np.arange(genes)[:, None]
    state = backend.asarray(m), backend.asarray(theta), backend.indices(rows)
    dense = *map(backend.asarray, (y, scale, np.ones((1, samples)))), backend.indices(starts)
    flat = *map(backend.asarray, (y.ravel() + 1.0, np.tile(scale[0], genes))), backend.indices(bounds)
    found = {}
    for name in FLOORS:
        given = flat if name.endswith("differences") else dense
        times = seconds(lambda name=name, given=given: backend.kernel(name)(*given, *state), wait, repeats)
        found[name] = {"entries": y.size, "seconds": times, "entries_a_second": y.size / min(times)}
    return found


def beside_floor(found: dict[str, Any], card: str) -> None:
    """Add to each kernel how many times its floor it takes: the longer of its bytes and operations at their peak."""
    peak = next((rates for part, rates in PEAKS.items() if part in card), None)
    for name, kernel in found.items():
        if peak is not None:
            least = max(FLOORS[name][0] / peak[0], FLOORS[name][1] / peak[1]) * kernel["entries"]
            kernel |= {"floor_seconds": least, "times_floor": min(kernel["seconds"]) / least}


@contextmanager
def split(device: str, wait: Callable[[], None]) -> Iterator[dict[str, float]]:
    """Seconds of all threads in reading, moving and computing within; each move to a card is waited for."""
    from zarr import Array

    from xdelnx.chunks import devices as chunk_devices
    from xdelnx.kernels.devices import backend_on

    spent = {"reading": 0.0, "transfer": 0.0, "turns": 0.0}
    backend = backend_on(device)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                spent[name] += time.perf_counter() - start

        return call

    def computed(step: Any, *arguments: Any, **options: Any) -> Any:
        return original(timed("turns", step), *arguments, **options)

    original, get, move = chunk_devices.computed, Array.__getitem__, backend.array
    from xdelnx.chunks import fitted_passes, passes

    Array.__getitem__ = timed("reading", get)

    def moved(values: Any) -> Any:
        there = move(values)
        wait()
        return there

    backend.array = timed("transfer", moved)  # type: ignore[method-assign]
    passes.computed = fitted_passes.computed = computed
    try:
        yield spent
    finally:
        Array.__getitem__ = get
        del backend.array
        passes.computed = fitted_passes.computed = original
        spent["computing"] = spent.pop("turns") - spent["transfer"]


def make_store(path: Path, cells: int, genes: int, chunk: int = 100) -> None:
    """Counts of two conditions at about 5 % in a Zarr store, chunk of genes by chunk."""
    import dask.array as da
    import xarray as xr

    def chunk_of(block_info: Any = None) -> np.ndarray:
        (low, high) = block_info[None]["array-location"][1]
        rng = np.random.default_rng(low)
        mean = rng.lognormal(-3.5, 1.0, high - low)
        return np.stack([rng.poisson(rng.gamma(2.0, m / 2.0, cells)) for m in mean], axis=1).astype(np.uint16)

    widths = (chunk,) * (genes // chunk) + ((genes % chunk,) if genes % chunk else ())
    counts = da.map_blocks(
        chunk_of, chunks=((cells,), widths), dtype=np.uint16, meta=np.zeros((0, 0), np.uint16)
    )
    data = xr.Dataset(
        {"counts": (("sample", "gene"), counts)},
        {"condition": ("sample", np.arange(cells) % 2), "gene": [f"g{i}" for i in range(genes)]},
    )
    data.to_zarr(path, consolidated=False)


def fit(store: Path, out: Path, device: str, wait: Callable[[], None]) -> dict[str, float]:
    """Seconds of a fit from Zarr to Zarr, and of what.

    Threads read while one computes on the card; on the processor two of them do both, and computing is half of
    what theirs adds up to.
    """
    import dask

    import xdelnx as xd

    threads = {"num_workers": CORES} if device == "cpu" else {}
    with split(device, wait) as spent, dask.config.set(**threads):
        start = time.perf_counter()
        result = xd.fit(xd.open_counts(store), "~ condition", device=device)
        result.to_zarr(out, mode="w", consolidated=False)
        whole = time.perf_counter() - start
    if device == "cpu":
        spent["computing"] /= CORES
    busy = spent["reading"] + spent["transfer"] + spent["computing"]
    return dict(spent) | {"whole": whole, "overlap": busy / whole}


def fits(
    size: float, devices: list[str], folder: Path, wait: Callable[[], None], shapes: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each of the shapes on each device, after a small one that compiles."""
    make_store(folder / "small.zarr", 60, 40)
    for device in devices:
        fit(folder / "small.zarr", folder / "small-fit.zarr", device, wait)
    for name in shapes:
        cells, genes = SHAPES[name]
        shape = max(int(cells * size), 60), max(int(genes * size), 40)
        store = folder / f"{shape[0]}x{shape[1]}.zarr"
        make_store(store, *shape)
        runs: dict[str, dict[str, float]] = {}
        found: dict[str, Any] = {"cells": shape[0], "genes": shape[1], "runs": runs}
        for device in devices:
            runs[device] = fit(store, folder / f"{device}.zarr", device, wait)
            if len(runs) == 2:
                found["computing_cpu_over_gpu"] = runs["cpu"]["computing"] / runs["gpu"]["computing"]
            yield name, found


@contextmanager
def dry_run() -> Iterator[Any]:
    """Have ``device='gpu'`` be the card's kernels on the processor."""
    from xdelnx.kernels import devices
    from xdelnx.kernels.cuda.hosted import hosted

    before = devices.missing, devices.card, devices.free_memory
    devices.missing, devices.card, devices.free_memory = (lambda: ""), hosted, (lambda: 2**28)
    try:
        yield hosted()
    finally:
        devices.missing, devices.card, devices.free_memory = before


def measure(
    backend: Any, cupy: Any, size: float, repeats: int, devices: list[str], work: Path, shapes: list[str]
) -> Iterator[dict[str, Any]]:
    """Everything there is to say so far, after the kernels and after each fit: time on a card may end before."""
    wait = (lambda: None) if cupy is None else cupy.cuda.Device().synchronize
    card = about(cupy)
    found = kernels(backend, wait, size, repeats)
    beside_floor(found, card["card"])
    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "card": card,
        "machine": machine(),
        "kernels": found,
        "fits": {},
    }
    yield result
    for name, of_shape in fits(size, devices, work, wait, shapes):
        result["fits"][name] = of_shape
        yield result


def write(result: dict[str, Any], folder: str | None) -> Path:
    """Write ``gpu-CARD-DATE.json``, and say where."""
    name = "-".join(result["card"]["card"].lower().replace("(", "").replace(")", "").split())
    path = Path(folder or RESULTS) / f"gpu-{name}-{result['date']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({"kernels": result["kernels"], "fits": result["fits"]}, indent=1))
    print(f"written to {path}")
    return path


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dry-run", action="store_true", help="without a card, on tiny data")
    parser.add_argument("--size", type=float, default=1.0, help="of all arrays, to try this out")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-cpu", action="store_true", help="leave out the processor's fits")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES), help="fits to make")
    parser.add_argument(
        "--work", default=None, help="folder for the stores; default a temporary one (45 GB free)"
    )
    parser.add_argument("--out", default=None, help="folder of the result; default benchmarks/results")
    args = parser.parse_args()
    devices = ["gpu"] if args.no_cpu else ["gpu", "cpu"]
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        on = devices, Path(folder), args.shapes
        if args.dry_run:
            with dry_run() as backend:
                for result in measure(backend, None, min(args.size, 0.002), 1, *on):
                    write(result, args.out)
            return
        import cupy

        from xdelnx.kernels.devices import backend_on

        for result in measure(backend_on("gpu"), cupy, args.size, args.repeats, *on):
            write(result, args.out)


if __name__ == "__main__":
    main()
