"""Counts in from AnnData, lazily.

Sparse counts stay sparse and files stay files: a block of genes becomes a
dense array when its task runs, and no earlier.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.chunks.blocks import dense
from xdelnx.messages import fail
from xdelnx.schema import GENE, SAMPLE, annotate
from xdelnx.storage.anndata_parts import chosen, columns_in_blocks, frame, in_blocks, opened, the_package
from xdelnx.storage.labels import labelled
from xdelnx.storage.stores import gene_chunk, open_counts, open_result, write_store, zarr_safe

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["from_anndata", "open_counts", "open_result", "write_store", "zarr_safe"]

# ---------------------------------------------------------------- AnnData


def from_anndata(adata: AnnData | str | os.PathLike[str], *, layer: str | None = None) -> xr.Dataset:
    """Make a Dataset of counts from an AnnData object or file.

    Parameters
    ----------
    adata
        AnnData, in memory, backed or lazy; or the path of a `.h5ad` file or an
        AnnData Zarr store.
    layer
        Layer that holds the raw counts; `None` is `adata.X`.

    Returns
    -------
    Dataset
        `counts(sample, gene)`, with the columns of `obs` along `sample` and those of
        `var` along `gene`. A categorical column becomes strings with the attribute
        `categories`, its levels in order. Sparse counts stay sparse in
        memory; each block of genes becomes dense when it is computed.

    Raises
    ------
    ValueError
        If there is no such layer, the names of genes or samples are not unique, or one of the axes is empty.
    TypeError
        If `adata` is not an AnnData.
    """
    data = anndata_counts(adata, layer)
    counts = data["counts"]
    return data.assign(counts=counts.copy(data=dense(counts.data))) if counts.chunks else data


def anndata_counts(adata: Any, layer: Any = None) -> xr.Dataset:
    """Do as `from_anndata`, but leave the blocks of sparse counts sparse (SciPy): for fits, not for users.

    The layer may also be a function that chooses it by the names of those there are.
    """
    if isinstance(adata, str | os.PathLike):
        return _from_anndata_path(Path(adata), layer)
    if not all(hasattr(adata, name) for name in ("X", "obs", "var", "layers")):
        msg = f"from_anndata takes an AnnData or the path of one; received {type(adata).__name__}"
        raise TypeError(msg)
    if adata.isbacked and adata.is_view:  # a view of a file has no array of its own
        adata = adata.to_memory()
    matrix = chosen(adata.X, adata.layers, layer(adata.layers) if callable(layer) else layer)
    labels = labelled(frame_of(adata.obs), frame_of(adata.var), taken=("counts",))
    return _counts(_as_array(matrix), labels)


def _from_anndata_path(path: Path, layer: Any) -> xr.Dataset:
    the_package()
    with opened(path) as group:
        layers = group.get("layers", {})
        part = chosen(group.get("X"), layers, layer(layers) if callable(layer) else layer)
        labels = labelled(frame(group, "obs", path), frame(group, "var", path), taken=("counts",))
        matrix = in_blocks(part, path, gene_chunk)
        if matrix.shape != (labels.sizes[SAMPLE], labels.sizes[GENE]):
            fail(
                f"{path} is damaged: counts {matrix.shape} of {len(labels[SAMPLE])} samples, {len(labels[GENE])} genes"
            )
        return _counts(matrix, labels)


def _counts(matrix: Any, labels: xr.Dataset) -> xr.Dataset:
    counts = xr.Variable((SAMPLE, GENE), matrix)
    return annotate(xr.Dataset({"counts": counts}, labels.coords).assign(labels.data_vars))


def frame_of(table: Any) -> pd.DataFrame:
    """Bring the metadata to memory; lazily read AnnData has a Dataset2D in its place."""
    return table.to_memory() if hasattr(table, "to_memory") else table


def _as_array(matrix: Any) -> Any:
    """Any matrix of AnnData as NumPy or, where it is lazy or sparse, as Dask in blocks of genes, kept sparse."""
    if isinstance(matrix, np.ndarray):
        return np.asarray(matrix)
    if isinstance(matrix, da.Array):
        return matrix.rechunk({0: -1, 1: gene_chunk(matrix.shape[0], matrix.shape[1], matrix.dtype)})
    if hasattr(matrix, "file"):  # a dense dataset of h5py
        return in_blocks(matrix, Path(matrix.file.filename), gene_chunk)
    if hasattr(matrix, "group"):  # sparse and backed
        return in_blocks(matrix.group, Path(matrix.group.file.filename), gene_chunk)
    return columns_in_blocks(
        (matrix.to_memory() if hasattr(matrix, "to_memory") else matrix).tocsc(), gene_chunk
    )
