"""The array namespace and the compiled kernels an algorithm runs on.

An algorithm is written once, against ``backend.xp`` (the Python array API standard)
and the kernels by name; which library stands behind them is decided at the door, in
`xdelnx.chunks.blocks`.
"""

from __future__ import annotations

from collections.abc import Callable
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

    def __init__(self, xp: ModuleType, name: str) -> None:
        self.xp = xp
        self.name = name

    def kernel(self, name: str) -> Callable[..., Any]:
        """Return the kernel of that name for the arrays of this backend."""
        return _kernel(name)

    def asarray(self, values: Any) -> Any:
        """Float64 array of this backend."""
        return self.xp.asarray(values, dtype=self.xp.float64)

    def to_numpy(self, values: Any) -> np.ndarray:
        """Bring an array back to the host."""
        return np.asarray(values)


CPU = Backend(np, "cpu")


def backend_on(device: str) -> Backend:
    """Return the backend of a device name, on the machine that asks."""
    if device != CPU.name:
        msg = f"no backend for device {device!r}; there is {CPU.name!r}"
        raise ValueError(msg)
    return CPU
