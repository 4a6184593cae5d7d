"""Checks of counts and their names, the same wherever they come in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xdelnx.messages import fail, listing, shown
from xdelnx.schema import GENE, SAMPLE

if TYPE_CHECKING:
    import xarray as xr

SPARSE_LIBRARIES = ("scipy", "sparse")  # `xdelnx.algorithms.matrices` knows how to read them
_KINDS = {"b": "True and False", "c": "complex numbers", "m": "durations", "M": "dates"}
_MAKE_UNIQUE = {GENE: "adata.var_names_make_unique()", SAMPLE: "adata.obs_names_make_unique()"}


def check_dims(array: xr.DataArray, name: str) -> None:
    """Raise ValueError unless the dimensions are sample and gene, in either order."""
    missing = [dim for dim in (SAMPLE, GENE) if dim not in array.dims]
    others = [str(dim) for dim in array.dims if dim not in (SAMPLE, GENE)]
    if not missing and not others:
        return
    if not missing:
        advice = f"select one entry of {listing(others)}, or sum over it"
    elif len(others) >= len(missing):
        pairs = dict(zip(others, missing, strict=False))
        told = ", ".join(f"{dim}={other!r}" for other, dim in pairs.items())
        options = " ".join(f"--{dim} {other}" for other, dim in pairs.items())
        advice = f"say what they are by {told} ({options}), or rename them, e.g. .rename({pairs})"
    else:
        advice = f"{listing(missing)} is missing; select with a list, as .isel(gene=[0]), to keep a dimension"
    found = ", ".join(map(repr, array.dims))
    fail(f"{name!r} needs the dimensions {SAMPLE!r} and {GENE!r} and has ({found}); {advice}")


def check_result(result: Any) -> None:
    """Raise TypeError unless this is a Dataset, as results are."""
    import xarray as xr

    if not isinstance(result, xr.Dataset):
        msg = f"result is a Dataset that xdelnx returned, received {type(result).__name__}"
        raise TypeError(msg)


def json_object(attributes: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """Read the JSON object that an attribute of a fit holds.

    Raises
    ------
    ValueError
        It holds something else, as when a store was edited.
    """
    text = attributes.get(name, "{}")
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        fail(
            f"the attribute {name!r} of the fit is damaged: it is to be a JSON object, and holds {shown(text)}"
        )
    return value


def check_names(index: pd.Index, dim: str) -> None:
    """Raise ValueError unless there are names along the dimension, each of them once."""
    if len(index) == 0:
        fail(f"there are no {dim}s: the dimension {dim!r} has length 0")
    if pd.api.types.infer_dtype(index) in {"mixed", "mixed-integer"}:
        index = index.map(str)  # as results have them: 1 and "1" are one name
    repeated = index[index.duplicated()].unique()
    if repeated.size:
        fail(
            f"duplicate {dim} names: {listing(repeated, 5)}; give each {dim} a name of its own (in AnnData: "
            f"{_MAKE_UNIQUE[dim]})"
        )


def names_in(values: Any, dim: str, names: pd.Index) -> pd.Index | None:
    """Names that an input has along a dimension; None where it has none, or they only count its entries.

    A coordinate is there on purpose, so it always counts as names. pandas numbers what nobody named.

    Parameters
    ----------
    values
        DataArray, Series or DataFrame (its index); anything else has no names.
    dim
        The dimension.
    names
        Those of the data along it.
    """
    if hasattr(values, "coords"):
        return values[dim].to_index() if dim in values.coords and dim in values.dims else None
    if not isinstance(values, pd.Series | pd.DataFrame) or only_counts(values.index, names):
        return None
    return values.index


def only_counts(index: pd.Index, names: pd.Index) -> bool:
    """Whether an index of pandas is 0, 1, 2, ..., and no name of the data is one of these numbers."""
    return index.equals(pd.RangeIndex(len(index))) and not names.isin(index).any()


def check_numbers(array: xr.DataArray, name: str) -> None:
    """Raise TypeError unless the counts are real numbers in a NumPy, sparse or Dask array."""
    if array.dtype.kind not in "iuf":
        kind = _KINDS.get(array.dtype.kind, "text or mixed objects")
        advice = "" if array.dtype.kind in _KINDS else f"; convert it: ds[{name!r}].astype('int32')"
        msg = f"{name!r} holds {kind} (dtype {array.dtype}), and counts are numbers{advice}"
        raise TypeError(msg)
    block = getattr(array.data, "_meta", array.data)  # what the chunks of a Dask array are
    library = type(block).__module__.split(".")[0]
    if not isinstance(block, np.ndarray) and library not in SPARSE_LIBRARIES:
        msg = (
            f"{name!r} is an array of another kind ({library} {type(block).__name__}); counts are NumPy, SciPy "
            f"sparse or pydata sparse arrays, or Dask arrays of them; make it NumPy with ds[{name!r}].as_numpy()"
        )
        raise TypeError(msg)
