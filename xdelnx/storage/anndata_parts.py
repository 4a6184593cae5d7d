"""The parts of an AnnData in a file or store: its tables, and its matrices, of which blocks of genes are read alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
from scipy.sparse import csc_matrix, csr_matrix

from xdelnx.messages import fail, listing
from xdelnx.storage.unreadable import check_there, read
from xdelnx.storage.untrusted import open_group


def the_package() -> Any:
    """Give anndata, or an error that says how to get it."""
    try:
        import anndata
    except ImportError as error:
        msg = "reading AnnData files needs the package anndata: pip install 'xdelnx[anndata]'"
        raise ImportError(msg) from error
    return anndata


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Group of HDF5 or Zarr that an AnnData was written to.

    Raises
    ------
    FileNotFoundError
        There is nothing at that path.
    ValueError, OSError
        It is something else, or cannot be read.
    """
    check_there(path)
    if path.is_dir():
        yield open_group(path, "expected what AnnData.write_zarr wrote")
        return
    with hdf5(path) as file:
        yield file


def hdf5(path: Path) -> Any:
    """Open a file of HDF5; raises if it is none, or is damaged."""
    try:
        import h5py
    except ImportError as error:
        msg = "reading HDF5 files needs the package h5py: pip install 'xdelnx[anndata]'"
        raise ImportError(msg) from error
    if not h5py.is_hdf5(path):
        what = "empty" if path.stat().st_size == 0 else "no HDF5 file, as those of AnnData and 10x are"
        fail(f"{path} is {what}: was it copied in full, and is it what its name says?")
    return read(str(path), h5py.File, path, "r")


def frame(group: Any, name: str, path: Path) -> pd.DataFrame:
    """Read the table of samples or genes.

    Raises
    ------
    ValueError, OSError
        It is not there, of a very old anndata, or damaged.
    """
    if name not in group:
        fail(f"{path} is no AnnData, or is damaged: it has no {name}")
    elements = the_package().io
    found = read(f"{path}: {name}", lambda: elements.read_elem(group[name]))
    if not isinstance(found, pd.DataFrame):
        fail(f"{path} was written by a very old anndata; read it and write it again, with anndata.read_h5ad")
    return found


def chosen(x: Any, layers: Any, layer: str | None) -> Any:
    """Return the matrix X, or a layer; raises ValueError if it is not there."""
    if layer is not None:
        return layer_of(layers, layer)
    if x is None or encoding(x) == "null":
        fail(f"the AnnData has no X; pass layer=, one of {named_layers(layers)}")
    return x


def named_layers(layers: Any) -> str:
    """List the layers; AnnData 0.13 has X among them, under None."""
    return listing(name for name in layers if name is not None)


def layer_of(layers: Any, name: str) -> Any:
    """Return a layer; raises ValueError if it is not there."""
    if name not in layers:
        fail(f"the AnnData has no layer {name!r}; it has {named_layers(layers)}")
    return layers[name]


def encoding(part: Any) -> str:
    """Return how a part is written, "csr_matrix" say; "" if it does not say."""
    attrs = getattr(part, "attrs", {})
    return attrs.get("encoding-type") or {"csr": "csr_matrix", "csc": "csc_matrix"}.get(
        attrs.get("h5sparse_format", ""), ""
    )


def shape_of(part: Any, where: str) -> tuple[int, int]:
    """Numbers of samples and genes of a matrix in a file; raises ValueError if it is none, or damaged."""
    if encoding(part) in ("csr_matrix", "csc_matrix"):
        missing = [name for name in ("data", "indices", "indptr") if name not in part]
        if missing:
            fail(f"{where} is damaged: it has no {listing(missing)}")
        for name in ("data", "indices"):
            check_chunks(part[name], f"{where}/{name}")
        rows, columns = part.attrs["shape"] if "shape" in part.attrs else part.attrs["h5sparse_shape"]
        return int(rows), int(columns)
    if not hasattr(part, "shape") or len(part.shape) != 2:
        fail(f"{where} is no matrix that xdelnx can read (encoding {encoding(part) or 'none'!r})")
    rows, columns = part.shape
    return int(rows), int(columns)


def read_starts(part: Any, where: str) -> np.ndarray:
    """Where each row (or column) of a sparse matrix begins, and the end."""
    return np.asarray(read(f"{where}/indptr", lambda: part["indptr"][:]))


def check_chunks(array: Any, where: str) -> None:
    """Raise ValueError if a Zarr array lacks chunks: read as zeros, they would be counts of other genes, or none."""
    if not hasattr(array, "nchunks_initialized"):
        return
    pieces = array.shards or array.chunks  # AnnData 0.13 writes shards
    each = prod(size // chunk for size, chunk in zip(pieces, array.chunks, strict=True))
    there = array.nchunks_initialized // each
    wanted = prod(-(-size // piece) for size, piece in zip(array.shape, pieces, strict=True))
    if there < wanted:
        fail(f"{where} is not complete: it has {there:,} of its {wanted:,} chunks; copy it again")


# ---- blocks of genes --------------------------------------------------------------------------------------


def in_blocks(part: Any, path: Path, width: Any) -> Any:
    """Matrix of a file or store as Dask array (sample, gene) in blocks of genes, which are read when they are computed.

    Parameters
    ----------
    part
        The matrix in its opened file.
    path
        Of that file or store, which every block opens for itself.
    width
        Function of the numbers of samples and genes and the type, that gives the genes of a block.

    Returns
    -------
    dask.array.Array
        Dense or, where it is written so, sparse (CSC). What is written by sample (CSR) has no blocks of genes in the
        file: it is read as a whole, here.
    """
    where, name = f"{path}: {part.name.strip('/')}", part.name.strip("/")
    shape, kind = shape_of(part, where), encoding(part)
    if kind == "csr_matrix":
        return columns_in_blocks(_whole(part, shape, where).tocsc(), width)
    if kind == "csc_matrix":
        dtype = part["data"].dtype
        begins = read_starts(part, where)
        bounds = _bounds(shape[1], width(*shape, dtype))
        tasks = [(_read_columns, (path, name, begins[a : b + 1], shape[0], a), b - a) for a, b in bounds]
        return joined(tasks, shape[0], csc_matrix((0, 0), dtype=dtype))
    stored = (getattr(part, "shards", None) or part.chunks or (1, 1))[1]
    size = width(*shape, part.dtype)
    size = size // stored * stored or size  # whole chunks, where they are narrow enough
    bounds = _bounds(shape[1], size)
    dense: list[tuple[Any, tuple[Any, ...], int]] = [
        (_read_dense, (path, name, a, b), b - a) for a, b in bounds
    ]
    return joined(dense, shape[0], np.empty((0, 0), dtype=part.dtype))


def columns_in_blocks(columns: Any, width: Any) -> Any:
    """CSC matrix in memory as Dask array in blocks of genes; a task carries its own columns only."""
    n_samples, n_genes = columns.shape
    bounds = _bounds(n_genes, width(n_samples, n_genes, columns.dtype))
    pieces = [_column_view(columns, start, stop) for start, stop in bounds]
    meta = type(columns)((0, 0), dtype=columns.dtype)
    return joined([(_itself, (piece,), piece.shape[1]) for piece in pieces], n_samples, meta)


def joined(tasks: list[tuple[Any, tuple[Any, ...], int]], n_samples: int, meta: Any) -> Any:
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


def _bounds(n_genes: int, width: int) -> list[tuple[int, int]]:
    return [(start, min(start + width, n_genes)) for start in range(0, n_genes, width)]


def _column_view(matrix: Any, start: int, stop: int) -> Any:
    """Columns start to stop of a CSC matrix, without a copy."""
    first, last = matrix.indptr[start], matrix.indptr[stop]
    parts = (matrix.data[first:last], matrix.indices[first:last], matrix.indptr[start : stop + 1] - first)
    return type(matrix)(parts, shape=(matrix.shape[0], stop - start))


def _itself(block: Any) -> Any:
    return block


def _whole(part: Any, shape: tuple[int, int], where: str) -> csr_matrix:
    names = "data", "indices", "indptr"
    data, indices, begins = read(where, lambda: [part[name][:] for name in names])
    return csr_matrix((data, _inside(indices, shape[1], where), begins), shape=shape)


def _read_columns(path: Path, name: str, begins: np.ndarray, n_samples: int, start: int) -> csc_matrix:
    run, n_genes = slice(int(begins[0]), int(begins[-1])), begins.size - 1
    where = f"{path}: {name}, genes {start:,} to {start + n_genes - 1:,},"
    data, indices = read(where, _parts, path, (f"{name}/data", f"{name}/indices"), run)
    parts = data, _inside(indices, n_samples, where), begins - begins[0]
    return csc_matrix(parts, shape=(n_samples, n_genes))


def _inside(indices: np.ndarray, size: int, where: str) -> np.ndarray:
    """Raise ValueError if a sparse matrix has a count outside of it, where reading it would be reading of anything."""
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        fail(f"{where} is damaged: it has a count at {indices.max():,}, and there are places for {size:,}")
    return indices


def _read_dense(path: Path, name: str, start: int, stop: int) -> np.ndarray:
    where = f"{path}: {name}, genes {start:,} to {stop - 1:,},"
    return read(where, _parts, path, (name,), (slice(None), slice(start, stop)))[0]


def _parts(path: Path, names: Sequence[str], part: Any) -> list[np.ndarray]:
    """The same part of some arrays of a file or store."""
    with again(path) as group:
        return [np.asarray(group[name][part]) for name in names]


@contextmanager
def again(path: Path) -> Iterator[Any]:
    """Open what `opened` has opened, and looked at, before."""
    if path.is_dir():
        import zarr

        yield zarr.open_group(path, mode="r")
    else:
        import h5py

        with h5py.File(path, "r") as file:
            yield file
