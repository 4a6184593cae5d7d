"""Dimensions of other names than ``sample`` and ``gene``, which verbs take in and give back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

import xarray as xr

from xdelnx.messages import fail, listing
from xdelnx.schema import GENE, SAMPLE

ATTRIBUTE = "dimensions"  # of a result: the other names, as JSON by ours

P = ParamSpec("P")
R = TypeVar("R")


def any_dims(verb: Callable[P, R]) -> Callable[P, R]:
    """Let a verb take data whose dimensions have other names, and give results with the same.

    They are given as its arguments ``sample`` and ``gene``, if it has both, or known from a result among its
    arguments. The verb itself, which never sees them, has dimensions of the schema's names.
    """
    told = [dim for dim in (SAMPLE, GENE) if {SAMPLE, GENE} <= set(signature(verb).parameters)]

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        options: dict[str, Any] = dict(kwargs)
        asked = {dim: options.pop(dim) for dim in told if options.get(dim) is not None}
        arguments = [*args, *options.values()]
        names = _remembered(arguments) | _checked(asked, arguments)
        if not names:
            return verb(*args, **options)
        ours = {theirs: dim for dim, theirs in names.items()}
        result = verb(
            *(_renamed(value, ours) for value in args),
            **{name: _renamed(value, ours) for name, value in options.items()},
        )
        return _given_back(result, names)

    return run


def _remembered(arguments: list[Any]) -> dict[str, str]:
    """Names that results among the arguments have."""
    names: dict[str, str] = {}
    for value in arguments:
        if isinstance(value, xr.Dataset | xr.DataArray):
            found = value.attrs.get(ATTRIBUTE)
            names |= json.loads(found) if isinstance(found, str) else {}
    return names


def _checked(asked: Mapping[str, Any], arguments: list[Any]) -> dict[str, str]:
    """Raise if a name is no text, or no dimension of the data."""
    for dim, name in asked.items():
        if not isinstance(name, str):
            msg = f"{dim} is the name of the {dim}s' dimension, received {name!r}"
            raise TypeError(msg)
        data = arguments[0] if arguments else None
        if isinstance(data, xr.Dataset | xr.DataArray) and name not in data.dims:
            fail(f"{dim}={name!r} is not a dimension of the data, whose dimensions are {listing(data.dims)}")
    if len({*asked.values()}) < len(asked):
        fail(f"{SAMPLE} and {GENE} are both called {asked[GENE]!r}")
    return {dim: name for dim, name in asked.items() if name != dim}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Labelled data with these dimensions called otherwise; anything else as it is."""
    if not isinstance(value, xr.Dataset | xr.DataArray):
        return value
    here = {old: new for old, new in names.items() if old in value.dims}
    taken = [
        new
        for new in here.values()
        if new in (value.variables if isinstance(value, xr.Dataset) else value.coords)
    ]
    if taken:
        names_back = {new: old for old, new in here.items()}
        fail(
            f"the data has a variable {taken[0]!r}, which is what its dimension {names_back[taken[0]]!r} is called in "
            f"a fit; rename the variable, as with data.rename({taken[0]}='{taken[0]}_id')"
        )
    renamed = value.rename(here)
    renamed.attrs = {name: what for name, what in value.attrs.items() if name != ATTRIBUTE}
    return renamed


def _given_back(result: Any, names: dict[str, str]) -> Any:
    if not isinstance(result, xr.Dataset | xr.DataArray):
        return result
    here = {dim: name for dim, name in names.items() if dim in result.dims}
    return result.rename(here).assign_attrs({ATTRIBUTE: json.dumps(names)})
