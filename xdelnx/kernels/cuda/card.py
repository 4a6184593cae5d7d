"""A CUDA card by way of CuPy: whether there is one, and the backend on it."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np

from xdelnx.kernels.cuda.catalogue import source
from xdelnx.kernels.cuda.device import DeviceBackend
from xdelnx.kernels.cuda.hosted import prelude
from xdelnx.kernels.cuda.namespace import Namespace
from xdelnx.messages import fail

NAME = "gpu"
OPTIONS = ("-std=c++17",)
SHARE = 4  # of the free memory, a tile may take one part; blocks of counts and CuPy's own take the others
INSTALL = "pip install 'xdelnx[gpu-cuda12]', or gpu-cuda13, whichever CUDA the driver has (nvidia-smi says)"


@cache
def missing() -> str:
    """Why there is no card to compute on, and what to do; empty where there is one."""
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported ({error}): {INSTALL}"
    if not cupy.cuda.is_available():
        return (
            f"CuPy {cupy.__version__} is installed and finds no CUDA device: see that nvidia-smi lists one, that "
            "CUDA_VISIBLE_DEVICES does not hide it, and that a batch job or container asked for it"
        )
    return ""


class CardBackend(DeviceBackend):
    """Backend on the current CUDA device.

    Parameters
    ----------
    cupy
        The package.
    launch
        Starts a kernel; None: the module that CuPy compiles.
    budget
        Bytes of a tile; None: a share of the device's free memory.
    """

    def __init__(self, cupy: Any, launch: Any = None, budget: int | None = None) -> None:
        self._cupy = cupy
        out_of_memory = cupy.cuda.memory.OutOfMemoryError
        if rmm_resource() is not None:
            from rmm.allocators.cupy import rmm_cupy_allocator

            cupy.cuda.set_allocator(rmm_cupy_allocator)
            out_of_memory = MemoryError  # as RMM raises it; CuPy's is one, too
        if budget is None:
            budget = free_memory() // SHARE
        if launch is None:
            self._module = cupy.RawModule(code=prelude() + source(), options=OPTIONS)
            launch = self._start
        super().__init__(Namespace(cupy), NAME, launch, budget, (out_of_memory,))

    def _start(self, name: str, blocks: Any, threads: Any, arguments: list[Any]) -> None:
        self._module.get_function(name)(blocks, threads, tuple(arguments))

    def to_numpy(self, values: Any) -> np.ndarray:
        """Bring an array back to the host."""
        return self._cupy.asnumpy(values)

    def array(self, values: Any) -> Any:
        """Array on the device, in the type the values have."""
        if not isinstance(values, np.ndarray):
            return values
        there = self._cupy.empty(values.shape, dtype=values.dtype)
        there.set(np.ascontiguousarray(values))
        return there

    def staged(self, values: Any) -> Any:
        """Copy a block into memory that the card reads by itself, at the full speed of the bus, if there is some."""
        if not isinstance(values, np.ndarray) or values.size == 0:
            return values
        from cupyx import empty_pinned

        try:
            pinned = empty_pinned(values.shape, values.dtype)
        except (
            self._cupy.cuda.runtime.CUDARuntimeError
        ):  # there is a limit to it; a slower copy works without
            return values
        pinned[...] = values
        return pinned

    def shrink(self) -> None:
        """Give back what CuPy holds, and take tiles of half the size."""
        self._cupy.get_default_memory_pool().free_all_blocks()
        super().shrink()


@cache
def card() -> CardBackend:
    """Backend on this process' card; its kernels are compiled with the first one that is called.

    Raises
    ------
    ValueError
        There is none; says what to do.
    """
    if missing():
        fail(f"device={NAME!r} is not there: {missing()}")
    import cupy

    return CardBackend(cupy)


def free_memory() -> int:
    """Bytes of this process' card that are free, those in the pool that CuPy takes its memory from among them."""
    import cupy

    free, resource = int(cupy.cuda.runtime.memGetInfo()[0]), rmm_resource()
    if resource is None:
        return free + int(cupy.get_default_memory_pool().free_bytes())
    while not hasattr(resource, "pool_size") and hasattr(resource, "get_upstream"):
        resource = resource.get_upstream()  # of what only watches a pool
    return free + int(resource.pool_size()) if hasattr(resource, "pool_size") else free


def rmm_resource() -> Any:
    """Where RMM takes memory from in a worker that was started with a pool of it; None where CuPy has its own."""
    rmm = sys.modules.get("rmm")
    if rmm is None:
        return None
    resource = rmm.mr.get_current_device_resource()
    # which asks the driver for every array, and is slow
    return None if type(resource) is rmm.mr.CudaMemoryResource else resource
