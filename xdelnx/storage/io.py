"""Counts in: AnnData, tables of counts, and their conversion to a Zarr store.

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

from xdelnx.algorithms.survey import Survey, checked, join, look, with_warnings
from xdelnx.checks import check_names
from xdelnx.chunks.blocks import dense, settled
from xdelnx.errors import warn
from xdelnx.messages import counted, fail, listing
from xdelnx.progress import watched
from xdelnx.schema import GENE, SAMPLE, annotate
from xdelnx.storage.delimited import MISSING, MISSING_COUNTS, TABLES, read_table, table_suffix
from xdelnx.storage.stores import check_output, gene_chunk, open_counts, open_result, write_store, zarr_safe
from xdelnx.storage.untrusted import open_group

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["convert", "from_anndata", "open_counts", "open_result", "write_store", "zarr_safe"]

_NOT_IN_A_NAME = ("/", "\\")  # they would open a folder inside the store


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
    return _dataset(_as_array(matrix, adata.shape), _frame(adata.obs), _frame(adata.var))


def _from_anndata_path(path: Path, layer: Any) -> xr.Dataset:
    if not path.exists():
        msg = f"there is nothing at {path}"
        raise FileNotFoundError(msg)
    try:
        import anndata
    except ImportError as error:
        msg = "reading AnnData files needs the package anndata: pip install 'xdelnx[anndata]'"
        raise ImportError(msg) from error
    if path.is_dir():
        open_group(path, "from_anndata reads what AnnData.write_zarr wrote")
        return anndata_counts(anndata.read_zarr(path), layer)
    adata = anndata.read_h5ad(path, backed="r")
    try:
        return anndata_counts(adata, layer)
    finally:  # blocks open the file themselves when they are computed
        adata.file.close()


def _layer(adata: AnnData, layer: Any) -> Any:
    layer = layer(adata.layers) if callable(layer) else layer
    if layer is not None and layer not in adata.layers:
        fail(f"the AnnData has no layer {layer!r}; it has {listing(adata.layers)}")
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        fail(f"the AnnData has no X; pass layer=, one of {listing(adata.layers)}")
    return matrix


def _frame(frame: Any) -> pd.DataFrame:
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


# ---------------------------------------------------------------- labels


def _dataset(counts: Any, samples: pd.DataFrame, genes: pd.DataFrame) -> xr.Dataset:
    """Join counts with the metadata of both axes as variables."""
    dataset = xr.Dataset(
        {"counts": ((SAMPLE, GENE), counts)},
        coords={SAMPLE: _names(samples.index, SAMPLE), GENE: _names(genes.index, GENE)},
    )
    renamed = []
    for dim, frame in ((SAMPLE, samples), (GENE, genes)):
        for name in map(str, frame.columns):
            free = _free_name(name, dim, dataset)
            dataset[free] = _column(frame[name], dim)
            renamed += [f"the {dim} column {name!r} is called {free!r} here"] if free != name else []
    if renamed:
        warn("; ".join(renamed))
    return annotate(dataset)


def _names(index: pd.Index, dim: str) -> np.ndarray:
    check_names(index, dim)
    return index.astype(str).to_numpy(dtype=object)


def _free_name(name: str, dim: str, taken: xr.Dataset) -> str:
    """Return the column's name, changed if the Dataset or a store cannot have it."""
    free = name
    for character in _NOT_IN_A_NAME:
        free = free.replace(character, "_")
    while free in taken.variables:
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


# ---------------------------------------------------------------- converting


@watched
def convert(
    source: Any,
    store: str | os.PathLike[str],
    *,
    layer: str | None = None,
    samples: Any = None,
    overwrite: bool = False,
    progress: bool | None = None,  # noqa: ARG001 - `watched` reads it
) -> xr.Dataset:
    """Convert counts to a Zarr store in gene-major chunks.

    Parameters
    ----------
    source
        AnnData or the path of one (`.h5ad` file or Zarr store); or a table of
        counts (`.csv`, `.tsv`, `.txt`, also gzipped; or a DataFrame), genes in rows and
        samples in columns, the genes' names in the first column.
    store
        Folder to write.
    layer
        Layer of the AnnData with the raw counts; `None` is its `X`.
    samples
        For a table of counts: the samples' metadata, a table with the samples' names in its
        first column (a path, or a DataFrame with them as its index). An empty field or NA is a
        missing value; any other word, None and null included, stays as it is.
    overwrite
        Replace an existing store.
    progress
        As in `xdelnx.fit`.

    Returns
    -------
    Dataset
        What was written, opened by `open_counts`. The counts have the smallest of
        uint8, uint16, int32 and int64 that holds them; fractional counts keep their type.

    Raises
    ------
    ValueError
        If counts are negative, NaN or infinite, every one is zero, the two tables do not fit together, or
        the store is the source, lies in it or around it.
    FileExistsError
        If the store exists and `overwrite` is not set, or if what exists is not a Zarr store.
    """
    check_output(store, overwrite=overwrite, apart_from=(getattr(source, "filename", source), samples))
    dataset = _read(source, layer, samples)
    counts = dataset["counts"]
    if isinstance(counts.data, np.ndarray):
        counts = counts.chunk(
            {SAMPLE: -1, GENE: gene_chunk(counts.sizes[SAMPLE], counts.sizes[GENE], counts.dtype)}
        )
    dataset["counts"] = counts.astype(_count_type(counts, _survey(counts)), keep_attrs=True)
    write_store(dataset, store, overwrite=overwrite)
    return open_counts(store)


def _read(source: Any, layer: str | None, samples: Any) -> xr.Dataset:
    if not _is_table(source):
        return _read_anndata(source, layer, samples)
    if layer is not None:
        fail(f"layer={layer!r} names a layer of an AnnData; a table of counts has none, so leave layer out")
    return _read_table(source, samples)


def _is_table(source: Any) -> bool:
    return isinstance(source, pd.DataFrame) or (
        isinstance(source, str | os.PathLike) and table_suffix(Path(source)) in TABLES
    )


def _read_anndata(source: Any, layer: str | None, samples: Any) -> xr.Dataset:
    if samples is not None:
        fail("samples= is for tables of counts; an AnnData has its own in .obs")
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    if path is not None and path.exists() and not path.is_dir() and path.suffix != ".h5ad":
        fail(f"cannot convert {path}; known are .h5ad, AnnData Zarr stores and {listing(TABLES)} (also .gz)")
    return from_anndata(source, layer=layer)


def _read_table(source: Any, samples: Any) -> xr.Dataset:
    table = read_table(source, MISSING_COUNTS)
    table = table.set_axis(table.columns.astype(str), axis=1)
    check_names(table.columns, SAMPLE)
    check_names(table.index, GENE)
    words = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    if words:
        fail(
            f"columns of the table of counts are not numbers: {listing(words, 5)}; leave the genes' names in the "
            "first column and one column of counts for each sample"
        )
    about = pd.DataFrame(index=table.columns)
    if samples is not None:
        about = _matched(read_table(samples, MISSING), table)
    return _dataset(table.to_numpy().T, about, pd.DataFrame(index=table.index))


def _matched(samples: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """Put the samples' rows in the order of the counts' columns."""
    samples = samples.set_axis(_names(samples.index, SAMPLE))
    repeated = samples.columns[samples.columns.duplicated()].unique()
    if repeated.size:
        fail(f"the table of samples has several columns of one name: {listing(repeated, 5)}; rename them")
    wanted = counts.columns
    absent = wanted.difference(samples.index, sort=False)
    if len(absent) and samples.index.isin(counts.index.astype(str)).all():
        fail("the table of counts has its samples in rows; transpose it, so that genes are in rows")
    if len(absent):
        fail(
            f"{len(absent)} of the {counted(len(wanted), 'sample')} in the table of counts are not in the table of "
            f"samples: {listing(absent, 5)}; it has {listing(samples.index, 5)}"
        )
    unused = samples.index.difference(wanted, sort=False)
    if len(unused):
        warn(f"left out, having no counts: {counted(len(unused), 'sample')} ({listing(unused, 5)})")
    return samples.loc[wanted]


def _survey(counts: xr.DataArray) -> Survey:
    """Look at every count once, as a fit does: raises on what cannot be counts."""
    blocks = counts.data.to_delayed().ravel()
    looks = settled([dask.delayed(look)(block) for block in blocks], "first look at the counts")
    return with_warnings(checked(join(looks), counts[GENE].values))


def _count_type(counts: xr.DataArray, seen: Survey) -> np.dtype:
    """Choose the smallest type for these counts; fractions keep theirs."""
    if seen.fractions:
        return counts.dtype
    types = [np.dtype(name) for name in ("uint8", "uint16", "int32", "int64")]
    return next((kind for kind in types if seen.largest <= np.iinfo(kind).max), counts.dtype)
