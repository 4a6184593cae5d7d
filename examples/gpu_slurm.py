"""Workers as SLURM jobs with one card each, by dask-jobqueue, and a fit on them.

    pip install "xdelnx[gpu-cuda12]" dask-jobqueue
    python examples/gpu_slurm.py COUNTS.zarr FIT.zarr "~ condition"

Change the queue, the account and the walltime to those of your site. The store must have the same path on
every node. `cluster.job_script()` shows what is submitted.
"""

import sys

import xdelnx as xd

JOBS = 4
WORKER = {
    "queue": "gpu",
    "cores": 4,  # threads: one computes at a time, the others read ahead
    "processes": 1,  # one worker a job, that is, one a card
    "memory": "64GB",
    "walltime": "01:00:00",
    "job_extra_directives": ["--gpus=1"],
    "worker_extra_args": ["--no-dashboard"],
}


def main(counts: str, out: str, design: str) -> None:
    from dask_jobqueue import SLURMCluster
    from distributed import Client

    with SLURMCluster(**WORKER) as cluster, Client(cluster) as client:
        cluster.scale(jobs=JOBS)
        client.wait_for_workers(JOBS)  # so that all can be asked for their card
        fit = xd.fit(xd.open_counts(counts), design, device="gpu")
    fit.to_zarr(out, mode="w", consolidated=False)


if __name__ == "__main__":
    main(*sys.argv[1:4])
