"""Zarr stores of xarray in any chunking: they are stored anew, by gene."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xdelnx.checks import check_dims
from xdelnx.messages import closest, fail, listing
from xdelnx.schema import GENE, SAMPLE
from xdelnx.storage.dimensions import as_ours, names_of, told
from xdelnx.storage.pieces import Matrix
from xdelnx.storage.readers.arrays import Dense
from xdelnx.storage.readers.source import COUNTS, Choice, Source
from xdelnx.storage.unreadable import read

_OWN = "is for tables of counts; a store of xarray has its own metadata"
REFUSED = {"raw": "is for an AnnData", "samples": _OWN, "genes": _OWN}


def from_dataset(dataset: xr.Dataset, choice: Choice, where: str) -> Source:
    """Take the counts, every other variable of samples and genes, and the rest as metadata.

    Raises
    ------
    ValueError
        If there is no such variable, or it lacks one of the dimensions.
    """
    choice.refuse(REFUSED)
    dataset = _as_ours(dataset, choice)
    name = choice.layer or COUNTS
    for wanted in (name, *choice.layers):
        if wanted not in dataset:
            fail(
                f"{where} has no variable {wanted!r}; {closest(wanted, dataset.data_vars, 'variables')}; "
                "layer= names the one with the counts"
            )
        check_dims(dataset[wanted], wanted)
    per_entry = [
        str(key) for key, variable in dataset.data_vars.items() if {SAMPLE, GENE} <= {*variable.dims}
    ]
    carried = choice.layers or [key for key in per_entry if key not in (name, COUNTS)]
    matrices = {COUNTS: _matrix(dataset[name], f"{where}: {name}")}
    matrices |= {key: _matrix(dataset[key], f"{where}: {key}") for key in carried}
    deeper = [key for key in carried if dataset[key].ndim > 2]
    if deeper:
        fail(
            f"{where}: {listing(deeper)} has further dimensions beside {SAMPLE!r} and {GENE!r}; drop it first"
        )
    labels = read(f"{where}: samples and genes", dataset.drop_vars(per_entry).load)
    return Source(labels.drop_encoding(), matrices)


def _as_ours(dataset: xr.Dataset, choice: Choice) -> xr.Dataset:
    """Call the dimensions as ours; those remembered, too."""
    asked = told({SAMPLE: choice.sample, GENE: choice.gene}, dataset.dims)
    return as_ours(dataset, names_of(dataset.attrs) | asked)


def _matrix(array: xr.DataArray, where: str) -> Matrix:
    turned = array.transpose(SAMPLE, GENE, ...)
    stored = dict(zip(array.dims, _stored(array), strict=True))

    def read(samples: slice, genes: slice) -> Any:
        return turned[samples, genes].values

    shape = turned.sizes[SAMPLE], turned.sizes[GENE]
    return Dense(read, shape, array.dtype, (stored[SAMPLE], stored[GENE]), where)


def _stored(array: xr.DataArray) -> tuple[int, ...]:
    return array.encoding.get("shards") or array.encoding.get("chunks") or array.shape
