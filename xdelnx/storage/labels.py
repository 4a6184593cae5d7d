"""Names and metadata of samples and genes, from tables of pandas to variables that a store can hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.checks import check_names
from xdelnx.errors import warn
from xdelnx.schema import GENE, SAMPLE, annotate

_NOT_IN_A_NAME = ("/", "\\")  # they would open a folder inside the store


def labelled(samples: pd.DataFrame, genes: pd.DataFrame, taken: Iterable[str]) -> xr.Dataset:
    """Make a Dataset of the metadata of both axes, to which counts are added under the names ``taken``.

    Parameters
    ----------
    samples, genes
        Metadata, names in the index.
    taken
        Names that no column may have; one that has it is called otherwise, with a warning.

    Raises
    ------
    ValueError
        If the names of an axis are not unique, or there are none.
    """
    dataset = xr.Dataset(coords={SAMPLE: names_of(samples.index, SAMPLE), GENE: names_of(genes.index, GENE)})
    reserved = {*dataset.variables, *taken}
    columns: dict[str, xr.Variable] = {}
    renamed: list[str] = []
    for dim, frame in ((SAMPLE, samples), (GENE, genes)):
        for name, values in frame.items():
            free = _free_name(str(name), dim, reserved | columns.keys())
            columns[free] = _column(values, dim)
            renamed += [f"the {dim} column {name!r} is called {free!r} here"] if free != str(name) else []
    if renamed:
        warn("; ".join(renamed))
    return annotate(dataset.assign(columns))


def names_of(index: pd.Index, dim: str) -> np.ndarray:
    """Names of one axis as text, each of them once."""
    check_names(index, dim)
    return index.astype(str).to_numpy(dtype=object)


def _free_name(name: str, dim: str, taken: set[Any]) -> str:
    """Return the column's name, changed if the Dataset or a store cannot have it."""
    free = name
    for character in _NOT_IN_A_NAME:
        free = free.replace(character, "_")
    while free in taken:
        free = f"{dim}_{free}"
    return free


def _column(values: pd.Series, dim: str) -> xr.Variable:
    """One column of metadata in a type that Zarr knows: numbers, booleans or strings (NaN where missing)."""
    attrs = {}
    missing = values.isna().to_numpy()
    if isinstance(values.dtype, pd.CategoricalDtype):
        attrs["categories"] = [str(level) for level in values.cat.categories]
    elif pd.api.types.is_bool_dtype(values.dtype) and not missing.any():
        return xr.Variable(dim, values.to_numpy(dtype=bool))
    elif pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        kind: Any = float if missing.any() else getattr(values.dtype, "numpy_dtype", values.dtype)
        return xr.Variable(dim, values.to_numpy(dtype=kind))
    elif values.dtype.kind in "mM":
        return xr.Variable(dim, values.to_numpy())
    strings = [np.nan if gone else str(value) for value, gone in zip(values, missing, strict=True)]
    return xr.Variable(dim, np.array(strings, dtype=object), attrs)
