"""``ds.xdelnx.fit(...)``: the verbs as methods of Datasets and DataArrays. It only forwards."""

from __future__ import annotations

from functools import partial, update_wrapper
from typing import Any

import xarray as xr

import xdelnx

OF_COUNTS = (
    "covariance",
    "filter_by_expression",
    "fit",
    "goodness_of_fit",
    "normalize",
    "predict",
    "pseudobulk",
    "rank_genes",
    "residuals",
    "size_factors",
    "test",
)
OF_RESULTS = (
    "adjust",
    "describe",
    "ranked",
    "score_matrix",
    "shrink_lfc",
    "to_anndata",
    "to_pertpy",
    "top_table",
)


class Forwarding:
    """Functions of a place as methods of a first argument.

    Parameters
    ----------
    place
        Where the functions are.
    names
        Their names.
    first
        The argument.
    """

    def __init__(self, place: Any, names: tuple[str, ...], first: Any) -> None:
        self._place, self._names, self._first = place, names, first

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            msg = f"there is no {name!r}; there are {', '.join(self._names)}"
            raise AttributeError(msg)
        function = getattr(self._place, name)
        method = update_wrapper(partial(function, self._first), function)
        del method.__wrapped__  # its signature has the first argument
        return method

    def __dir__(self) -> list[str]:
        return [*self._names]


class Accessor(Forwarding):
    """The verbs of xdelnx, of counts and of results, and ``plot``."""

    def __init__(self, data: Any) -> None:
        super().__init__(xdelnx, (*OF_COUNTS, *OF_RESULTS), data)

    @property
    def plot(self) -> Forwarding:
        """Pictures of a result, as `xdelnx.plot` draws them."""
        return Forwarding(xdelnx.plot, tuple(xdelnx.plot.__all__), self._first)

    def __dir__(self) -> list[str]:
        return [*self._names, "plot"]


xr.register_dataset_accessor("xdelnx")(Accessor)
xr.register_dataarray_accessor("xdelnx")(Accessor)
