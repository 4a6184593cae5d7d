"""Counts in from AnnData, lazily.

Sparse counts stay sparse and files stay files: a block of genes becomes a
dense array when its task runs, and no earlier.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.chunks.blocks import dense
from xdelnx.messages import fail, listing
from xdelnx.schema import GENE, SAMPLE, annotate
from xdelnx.storage.labels import labelled
from xdelnx.storage.stores import gene_chunk, open_counts, open_result, write_store, zarr_safe
from xdelnx.storage.untrusted import open_group

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
    matrix = _layer(adata, layer)
    labels = labelled(frame_of(adata.obs), frame_of(adata.var), taken=("counts",))
    counts = xr.Variable((SAMPLE, GENE), _as_array(matrix, adata.shape))
    return annotate(xr.Dataset({"counts": counts}, labels.coords).assign(labels.data_vars))


def _from_anndata_path(path: Path, layer: Any) -> xr.Dataset:
    if not path.exists():
        msg = f"there is nothing at {path}"
        raise FileNotFoundError(msg)
    anndata = the_package()
    if path.is_dir():
        open_group(path, "from_anndata reads what AnnData.write_zarr wrote")
        return anndata_counts(anndata.read_zarr(path), layer)
    adata = anndata.read_h5ad(path, backed="r")
    try:
        return anndata_counts(adata, layer)
    finally:  # blocks open the file themselves when they are computed
        adata.file.close()


def the_package() -> Any:
    """Give anndata, or an error that says how to get it."""
    try:
        import anndata
    except ImportError as error:
        msg = "reading AnnData files needs the package anndata: pip install 'xdelnx[anndata]'"
        raise ImportError(msg) from error
    return anndata


def _layer(adata: AnnData, layer: Any) -> Any:
    layer = layer(adata.layers) if callable(layer) else layer
    if layer is not None and layer not in adata.layers:
        fail(f"the AnnData has no layer {layer!r}; it has {listing(adata.layers)}")
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        fail(f"the AnnData has no X; pass layer=, one of {listing(adata.layers)}")
    return matrix


def frame_of(frame: Any) -> pd.DataFrame:
    """Bring the metadata to memory; lazily read AnnData has a Dataset2D in its place."""
    return frame.to_memory() if hasattr(frame, "to_memory") else frame


def _as_array(matrix: Any, shape: tuple[int, int]) -> Any:
    """Any matrix of AnnData as NumPy or, where it is lazy or sparse, as Dask in blocks of genes, kept sparse."""
    n_samples, n_genes = shape
    if isinstance(matrix, np.ndarray):
        return np.asarray(matrix)
    width = gene_chunk(n_samples, n_genes, matrix.dtype)
    if isinstance(matrix, da.Array):
        return matrix.rechunk({0: -1, 1: width})
    if hasattr(matrix, "file"):  # a dense h5py dataset
        return _in_blocks(_read_hdf5, (matrix.file.filename, matrix.name), shape, width, matrix.dtype)
    columns = (matrix.to_memory() if hasattr(matrix, "to_memory") else matrix).tocsc()
    starts = range(0, n_genes, width)
    pieces = [_column_view(columns, start, min(start + width, n_genes)) for start in starts]
    meta = type(columns)((0, 0), dtype=matrix.dtype)
    return _concatenate([(_itself, (piece,), piece.shape[1]) for piece in pieces], n_samples, meta)


def _in_blocks(
    read: Callable[..., Any], args: tuple[Any, ...], shape: tuple[int, int], width: int, dtype: Any
) -> Any:
    stops = [(start, min(start + width, shape[1])) for start in range(0, shape[1], width)]
    meta = np.empty((0, 0), dtype=dtype)
    return _concatenate([(read, (*args, a, b), b - a) for a, b in stops], shape[0], meta)


def _concatenate(
    tasks: list[tuple[Callable[..., Any], tuple[Any, ...], int]], n_samples: int, meta: Any
) -> Any:
    """One Dask array from (function, arguments, number of genes) for each block."""
    blocks = [
        da.from_delayed(
            dask.delayed(function, pure=False, traverse=False)(*args),
            (n_samples, width),
            meta.dtype,
            meta=meta,
        )
        for function, args, width in tasks
    ]
    return da.concatenate(blocks, axis=1) if blocks else da.zeros((n_samples, 0), dtype=meta.dtype)


def _column_view(matrix: Any, start: int, stop: int) -> Any:
    """Columns start to stop of a CSC matrix without a copy, so that a task carries its own columns only."""
    first, last = matrix.indptr[start], matrix.indptr[stop]
    parts = (matrix.data[first:last], matrix.indices[first:last], matrix.indptr[start : stop + 1] - first)
    return type(matrix)(parts, shape=(matrix.shape[0], stop - start))


def _itself(block: Any) -> Any:
    return block


def _read_hdf5(path: str, name: str, start: int, stop: int) -> np.ndarray:
    import h5py

    with h5py.File(path, "r") as file:
        return file[name][:, start:stop]
