"""A cluster of this machine's CUDA cards, one worker each."""

from __future__ import annotations

from typing import Any

from xdelnx.messages import fail

CUDA = "cuda"  # the word for it on the command line
READERS = 4  # threads of a worker: one computes at a time, the others read and decode blocks to come


def local_cluster() -> Any:
    """Start a worker for each card; call it a LocalCUDACluster.

    Raises
    ------
    ImportError
        dask-cuda is not installed.
    ValueError
        There is no card.
    """
    from xdelnx.kernels.devices import INSTALL, missing  # loads Numba, which --help must not wait for

    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        msg = f"--scheduler {CUDA} needs dask-cuda, which cannot be imported ({error}): {INSTALL}"
        raise ImportError(msg) from error
    if missing():
        fail(f"--scheduler {CUDA} starts a worker for each card, and there is none: {missing()}")
    return LocalCUDACluster(threads_per_worker=READERS, dashboard_address=":0")
