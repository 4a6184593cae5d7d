"""Counts at a path, whatever is there: an AnnData, or a store of xarray; their dimensions are called as ours."""

from __future__ import annotations

import os
from typing import Any

import xarray as xr

from xdelnx.messages import fail
from xdelnx.storage.dimensions import remembering, told
from xdelnx.storage.io import anndata_counts
from xdelnx.storage.stores import open_as_ours
from xdelnx.storage.untrusted import open_group


def open_data(
    path: str | os.PathLike[str],
    *,
    counts: str = "counts",
    sample: str | None = None,
    gene: str | None = None,
) -> xr.Dataset:
    """Open counts lazily: an AnnData file or Zarr store, or a store that `xdelnx.open_counts` opens.

    Parameters
    ----------
    path
        Where they are.
    counts
        Name of the variable of a store; of an AnnData its layer, or ``"X"``. ``"counts"`` is ``X`` too where there
        is no such layer.
    sample, gene
        Names of the dimensions, where they are others: of a store those it has, of an AnnData those that results
        are to have.

    Returns
    -------
    Dataset
        With the dimensions ``sample`` and ``gene``, and an attribute by which verbs know the other names.
    """
    if not isinstance(counts, str):
        msg = f"counts is the name of the variable that holds them, received {counts!r}"
        raise TypeError(msg)
    if is_anndata(path):
        return remembering(from_anndata(path, counts), told({"sample": sample, "gene": gene}))
    return open_as_ours(path, counts=counts, sample=sample, gene=gene)


def is_anndata(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of an AnnData, by its name or by what the store says."""
    if os.fspath(path).endswith(".h5ad"):
        return True
    if not os.path.isdir(path):
        return False
    group = open_group(path, "expected a store of counts, or an AnnData")
    return bool(group.attrs.get("encoding-type") == "anndata")


def from_anndata(data: Any, counts: str) -> xr.Dataset:
    """Counts of an AnnData, or of the path of one, under the name of their layer."""

    def choose(layers: Any) -> str | None:
        return None if counts == "X" or (counts == "counts" and counts not in layers) else counts

    dataset = anndata_counts(data, choose)
    if counts == "counts":
        return dataset
    if counts in dataset.variables:
        fail(
            f"counts={counts!r} names a layer, and obs or var has a column of that name, too; rename the column"
        )
    return dataset.rename(counts=counts)
