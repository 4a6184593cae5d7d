"""The same fit on a Dask cluster: here two worker processes of this machine.

    python examples/cluster.py [FOLDER]

Any other cluster works the same way: make a Client for it, and every fit and test runs there. The workers
must see the Zarr store under the same path.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from distributed import Client, LocalCluster

import xdelnx as xd


def main(folder: str | None = None, n_genes: int = 4_000) -> None:
    store = Path(folder or tempfile.mkdtemp()) / "counts.zarr"
    xd.simulate(12, n_genes, seed=1, chunks=250).to_zarr(store, mode="w", consolidated=False)
    counts = xd.open_counts(store)
    here = xd.fit(counts, "~condition")  # threads of this process

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        print(f"{len(client.scheduler_info()['workers'])} worker processes")
        there = xd.fit(counts, "~condition")

    np.testing.assert_allclose(there["pval"].values, here["pval"].values, rtol=1e-10)
    print("The cluster's p-values are those of one process.")
    print(xd.top_table(there, n=5).to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:2])
