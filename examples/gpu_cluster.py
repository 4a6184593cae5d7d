"""A fit on all cards of this machine, one worker each, or on the processor where there is none.

    python examples/gpu_cluster.py COUNTS.zarr FIT.zarr "~ condition"

A worker has four threads: one computes on the card at a time, the others read and decode the next blocks.
"""

import sys

from distributed import Client, LocalCluster

import xdelnx as xd
from xdelnx.kernels.devices import missing


def cluster():
    if missing():
        print(f"No card: {missing()}")
        return LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0")
    from dask_cuda import LocalCUDACluster

    return LocalCUDACluster(threads_per_worker=4, rmm_pool_size=0.9)


def main(counts: str, out: str, design: str) -> None:
    with cluster() as there, Client(there) as client:
        print(f"{len(client.scheduler_info()['workers'])} workers")
        fit = xd.fit(xd.open_counts(counts), design)
    fit.to_zarr(out, mode="w", consolidated=False)
    print(f"computed on {fit.attrs['device']}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
