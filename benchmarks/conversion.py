"""Memory and time of `xdelnx convert` on an h5ad file that is larger than its memory.

    python benchmarks/conversion.py make cells.h5ad --cells 300000 --genes 20000
    python benchmarks/conversion.py run cells.h5ad counts.zarr --memory 1GB

`make` writes sparse counts by sample (CSR, 32-bit floating point, as most atlases) block by block. `run` converts
them in a process of its own and prints its seconds and its peak resident memory; `check` compares totals and
some genes and cells of the two files, read in two ways.
"""

import argparse
import resource
import subprocess
import sys
import time

import h5py
import numpy as np
import scipy.sparse as sp

UMIS = 1_200.0  # of a cell on average


def make(path, cells, genes, compression):
    """Write an h5ad of multinomial counts, 5,000 cells at a time."""
    import anndata as ad
    import pandas as pd

    rng = np.random.default_rng(1)
    share = rng.lognormal(0.0, 2.0, genes)
    bounds = np.cumsum(share / share.sum())
    obs = pd.DataFrame(
        {"donor": pd.Categorical(rng.choice(["d1", "d2", "d3"], cells)), "age": rng.normal(50.0, 9.0, cells)},
        index=[f"cell{i}" for i in range(cells)],
    )
    var = pd.DataFrame({"symbol": [f"S{i}" for i in range(genes)]}, index=[f"gene{i}" for i in range(genes)])
    ad.AnnData(obs=obs, var=var).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file.pop("X", None)
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        group.attrs["shape"] = np.array([cells, genes])
        options = {"maxshape": (None,), "chunks": (100_000,), "compression": compression}
        data = group.create_dataset("data", (0,), "f4", **options)
        indices = group.create_dataset("indices", (0,), "i4", **options)
        indptr = [np.zeros(1, dtype=np.int64)]
        for start in range(0, cells, 5_000):
            block = _cells(rng, bounds, min(5_000, cells - start))
            for dataset, values in ((data, block.data), (indices, block.indices)):
                dataset.resize(dataset.shape[0] + values.size, axis=0)
                dataset[-values.size :] = values
            indptr.append(block.indptr[1:] + indptr[-1][-1])
        group.create_dataset("indptr", data=np.concatenate(indptr))
        print(f"{data.shape[0]:,} non-zero counts, {data.shape[0] / (cells * genes):.1%}")


def _cells(rng, bounds, cells):
    """Cells of various depth, each UMI from a gene by the genes' shares."""
    depths = rng.poisson(UMIS * rng.lognormal(-0.125, 0.5, cells))
    genes = np.minimum(np.searchsorted(bounds, rng.random(depths.sum())), bounds.size - 1)
    rows = np.repeat(np.arange(cells), depths)
    return sp.coo_array((np.ones(genes.size, dtype="f4"), (rows, genes)), (cells, bounds.size)).tocsr()


def run(source, store, memory):
    """Convert in a process of its own; print what it took."""
    start = time.monotonic()
    command = [sys.executable, "-m", "xdelnx", "convert", source, store, "--memory", memory, "--overwrite"]
    subprocess.run(command, check=True)
    seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"{seconds:.1f} s, peak resident memory {peak:.2f} GB")


def check(source, store):
    """Compare the totals of every cell and gene, and every count of some, by h5py and by xdelnx."""
    import xdelnx as xd

    counts = xd.open_counts(store)["counts"]
    totals = [
        values.compute() for values in (counts.sum("gene", dtype="i8"), counts.sum("sample", dtype="i8"))
    ]
    with h5py.File(source) as file:
        group = file["X"]
        shape, indptr = tuple(group.attrs["shape"]), group["indptr"][:]
        by_gene, chosen = np.zeros(shape[1], dtype=np.int64), np.array([0, shape[1] // 2, shape[1] - 1])
        for start in range(0, shape[0], 20_000):
            stop = min(start + 20_000, shape[0])
            part = slice(indptr[start], indptr[stop])
            parts = group["data"][part], group["indices"][part], indptr[start : stop + 1] - indptr[start]
            block = sp.csr_array(parts, shape=(stop - start, shape[1]))
            np.testing.assert_array_equal(block.sum(axis=1), totals[0][start:stop])
            by_gene += block.sum(axis=0).astype(np.int64)
            np.testing.assert_array_equal(block[:, chosen].toarray(), counts[start:stop, chosen])
    np.testing.assert_array_equal(by_gene, totals[1])
    print(f"the same: {counts.dtype}, {by_gene.sum():,} counts in all")


def _main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True)
    making = steps.add_parser("make")
    making.add_argument("path")
    making.add_argument("--cells", type=int, default=300_000)
    making.add_argument("--genes", type=int, default=20_000)
    making.add_argument("--compression", choices=("gzip", "lzf"))
    for name in ("run", "check"):
        step = steps.add_parser(name)
        step.add_argument("source")
        step.add_argument("store")
        if name == "run":
            step.add_argument("--memory", default="1GB")
    options = vars(parser.parse_args())
    {"make": make, "run": run, "check": check}[options.pop("step")](**options)


if __name__ == "__main__":
    _main()
