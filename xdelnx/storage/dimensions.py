"""Dimensions of other names than ``sample`` and ``gene``: theirs outside, ours inside, and what remembers them."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import xarray as xr

from xdelnx.checks import json_object
from xdelnx.messages import fail, listing, shown
from xdelnx.schema import GENE, SAMPLE

ATTRIBUTE = "dimensions"  # of counts and results: the other names, as JSON by ours
OURS = (SAMPLE, GENE)


def names_of(attributes: Mapping[Any, Any]) -> dict[str, str]:
    """Other names of dimensions that attributes remember, by ours.

    Raises
    ------
    ValueError
        The attribute holds something else, as when a store was edited.
    """
    if ATTRIBUTE not in attributes:
        return {}
    names = json_object(attributes, ATTRIBUTE)
    if not {*names} <= {*OURS} or not all(isinstance(name, str) for name in names.values()):
        fail(f"the attribute {ATTRIBUTE!r} is damaged: it holds {shown(attributes[ATTRIBUTE])}")
    return names


def told(given: Mapping[str, Any], dims: Iterable[Hashable] | None = None) -> dict[str, str]:
    """Other names of dimensions that arguments ``sample`` and ``gene`` say, by ours; None says nothing.

    Raises
    ------
    TypeError
        A name is no text.
    ValueError
        It is not among the data's dimensions, or that of both.
    """
    asked = {dim: given[dim] for dim in OURS if given.get(dim) is not None}
    for dim, name in asked.items():
        if not isinstance(name, str):
            msg = f"{dim} is the name of the {dim}s' dimension, received {name!r}"
            raise TypeError(msg)
        if dims is not None and name not in dims:
            fail(f"{dim}={name!r} is not a dimension of the data, whose dimensions are {listing(dims)}")
    if len({*asked.values()}) < len(asked):
        fail(f"{SAMPLE} and {GENE} are both called {asked[GENE]!r}")
    return {dim: name for dim, name in asked.items() if name != dim}


def as_ours(value: Any, names: Mapping[str, str]) -> Any:
    """Labelled data with its dimensions called as ours, without the attribute; anything else as it is."""
    if isinstance(value, list | tuple):
        return type(value)(as_ours(entry, names) for entry in value)
    if not isinstance(value, xr.Dataset | xr.DataArray):
        return value
    here = {name: dim for dim, name in names.items() if name in value.dims}
    others = value.variables if isinstance(value, xr.Dataset) else value.coords
    for name, dim in here.items():
        if dim in others:
            fail(
                f"the data has a variable {dim!r}, which is what its dimension {name!r} is called in a fit; rename "
                f"the variable, as with data.rename({dim}='{dim}_id')"
            )
    renamed = value.rename(here)
    renamed.attrs = {name: what for name, what in value.attrs.items() if name != ATTRIBUTE}
    return renamed


def as_theirs(value: Any, names: Mapping[str, str]) -> Any:
    """Labelled data with its dimensions called otherwise, and an attribute that says so; anything else as it is."""
    if not names or not isinstance(value, xr.Dataset | xr.DataArray):
        return value
    here = {dim: name for dim, name in names.items() if dim in value.dims}
    return value.rename(here).assign_attrs({ATTRIBUTE: json.dumps(dict(names))})


def remembering(dataset: xr.Dataset, names: Mapping[str, str]) -> xr.Dataset:
    """Counts with our dimensions, of which results are to have these names."""
    return dataset.assign_attrs({ATTRIBUTE: json.dumps(dict(names))}) if names else dataset
