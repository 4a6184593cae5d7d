"""CuPy as the algorithms know array namespaces: the names and arguments of the array API standard it lacks."""

from __future__ import annotations

from typing import Any

import numpy as np


class Namespace:
    """CuPy, with what differs from the standard; other names are its own.

    Parameters
    ----------
    cupy
        The package.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self.bool = cupy.bool_

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cupy, name)

    def argsort(self, values: Any, *, stable: bool = True) -> Any:  # noqa: ARG002 - CuPy's is stable
        """Return the order that sorts; equals stay in theirs."""
        return self._cupy.argsort(values)

    def astype(self, values: Any, dtype: Any) -> Any:
        """Return the values in another type."""
        return values.astype(dtype)

    def clip(self, values: Any, min: Any = None, max: Any = None) -> Any:
        """Hold values between bounds; None is no bound."""
        return self._cupy.clip(values, min, max)

    def concat(self, arrays: Any, *, axis: int = 0) -> Any:
        """Put arrays one after another."""
        return self._cupy.concatenate(list(arrays), axis=axis)

    def permute_dims(self, values: Any, axes: tuple[int, ...]) -> Any:
        """Put axes in another order."""
        return self._cupy.transpose(values, axes)

    def repeat(self, values: Any, repeats: Any, *, axis: int) -> Any:
        """Repeat each part along an axis as many times as it says; CuPy knows no array of these."""
        ends = np.cumsum(self._cupy.asnumpy(repeats))
        places = np.searchsorted(ends, np.arange(ends[-1] if ends.size else 0), side="right")
        return self._cupy.take(values, self._cupy.asarray(places), axis=axis)

    def var(self, values: Any, *, axis: int, correction: float = 0.0) -> Any:
        """Return the variance over an axis; ``correction`` is taken off its length."""
        return self._cupy.var(values, axis=axis, ddof=correction)
