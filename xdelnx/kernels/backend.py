"""The array namespace and the compiled kernels an algorithm runs on.

An algorithm is written once, against ``backend.xp`` (the Python array API standard)
and the kernels by name; which library stands behind them is decided where a block is
computed, by `xdelnx.kernels.devices`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from xdelnx.kernels import block, dense, linear, nodes, nonzero, weighted

_KERNELS = (dense, nonzero, nodes, block, linear, weighted)


@cache
def _kernel(name: str) -> Callable[..., Any]:
    return next(getattr(module, name) for module in _KERNELS if hasattr(module, name))


class Backend:
    """An array namespace with the kernels that take its arrays.

    Parameters
    ----------
    xp
        A namespace that follows the array API standard.
    name
        What is written into the result as the device.
    """

    tile = 100_000  # counts of a tile, so that it stays in the cache
    nonzero_tile = 300_000  # non-zero counts, and stand-ins for zeros, of a tile
    at_nodes = True  # whether nodes may stand for the samples of a covariate, or a device visits every one
    keeps = True  # whether what a pass makes of a block may wait in memory for the next
    out_of_memory: tuple[type[BaseException], ...] = ()  # what is raised where a device's memory runs out

    def __init__(self, xp: ModuleType, name: str) -> None:
        self.xp = xp
        self.name = name

    def kernel(self, name: str) -> Callable[..., Any]:
        """Return the kernel of that name for the arrays of this backend."""
        return _kernel(name)

    def asarray(self, values: Any) -> Any:
        """Float64 array of this backend."""
        return self.xp.asarray(values, dtype=self.xp.float64)

    def indices(self, values: Any) -> Any:
        """Int64 array of this backend."""
        return self.xp.asarray(values, dtype=self.xp.int64)

    def array(self, values: Any) -> Any:
        """Array of this backend, in the type the values have."""
        return self.xp.asarray(values)

    def to_numpy(self, values: Any) -> np.ndarray:
        """Bring an array back to the host."""
        return np.asarray(values)

    def staged(self, values: Any) -> Any:
        """What a thread that waits for its `turn` can do for a block of counts to be moved fast: here nothing."""
        return values

    def turn(self) -> AbstractContextManager[Any]:
        """Inside of which a thread computes: at the same time as any others."""
        return nullcontext()

    def shrink(self) -> None:
        """Take less memory from now on."""
        msg = f"{self.name} has no tiles to take smaller"
        raise MemoryError(msg)


CPU = Backend(np, "cpu")
