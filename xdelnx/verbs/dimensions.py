"""Dimensions of other names than ``sample`` and ``gene``, which verbs take in and give back; counts at a path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

import xarray as xr

from xdelnx.checks import json_object
from xdelnx.schema import GENE, SAMPLE
from xdelnx.storage.counts_at import open_data
from xdelnx.storage.dimensions import as_ours, as_theirs, names_of, told

P = ParamSpec("P")
R = TypeVar("R")


def any_dims(verb: Callable[P, R]) -> Callable[P, R]:
    """Let a verb take data whose dimensions have other names, or its path, and give results with the same names.

    They are given as its arguments ``sample`` and ``gene``, if it has both, or known from a result among its
    arguments. The verb itself, which never sees them, has dimensions of the schema's names.
    """
    parameters = [*signature(verb).parameters]
    takes_names = {SAMPLE, GENE} <= {*parameters}

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        given: dict[Any, Any] = dict(enumerate(args)) | dict(kwargs)
        asked = {dim: given.pop(dim, None) for dim in (SAMPLE, GENE) if takes_names}
        names = _remembered(given.values())
        place = _place("data", parameters, given)
        if isinstance(given.get(place), str | os.PathLike):
            given[place] = open_data(given[place], counts=_counts(given), **_said(names, asked))
            names |= names_of(given[place].attrs)
        else:
            first = given.get(place)
            names |= told(asked, first.dims if isinstance(first, xr.Dataset | xr.DataArray) else None)
        if names:
            given = {name: as_ours(value, names) for name, value in given.items()}
        positional = [given.pop(place) for place in range(len(args))]
        result: Any = verb(*positional, **given)
        return as_theirs(result, names)

    return run


def _place(name: str, parameters: list[str], given: dict[Any, Any]) -> Any:
    """Where an argument stands: its position, or its name."""
    at = parameters.index(name) if name in parameters else None
    return at if at in given else name


def _remembered(arguments: Iterable[Any]) -> dict[str, str]:
    """Names that data and results among the arguments have."""
    names: dict[str, str] = {}
    for value in arguments:
        if isinstance(value, xr.Dataset | xr.DataArray):
            names |= names_of(value.attrs)
    return names


def _said(names: dict[str, str], asked: dict[str, Any]) -> dict[str, Any]:
    return names | {dim: name for dim, name in asked.items() if name is not None}


def _counts(given: dict[Any, Any]) -> Any:
    """Name of the variable of the counts: as given, or as a fit among the arguments has it."""
    fits = [value for value in given.values() if isinstance(value, xr.Dataset) and "options" in value.attrs]
    remembered = json_object(fits[0].attrs, "options").get("counts", "counts") if fits else "counts"
    return given.get("counts", remembered)
