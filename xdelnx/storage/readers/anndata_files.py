"""AnnData: `.h5ad` files, Zarr stores and objects, of which only the metadata is brought to memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xdelnx.messages import fail, listing
from xdelnx.schema import GENE, SAMPLE
from xdelnx.storage.anndata_parts import (
    chosen,
    encoding,
    frame,
    layer_of,
    named_layers,
    read_starts,
    shape_of,
)
from xdelnx.storage.io import frame_of
from xdelnx.storage.pieces import Matrix
from xdelnx.storage.readers.arrays import Compressed, Dense
from xdelnx.storage.readers.source import COUNTS, OF_XARRAY, Choice, Source, with_metadata

_TABLES_ONLY = "is for tables of counts; an AnnData has its own in "
REFUSED = {"samples": f"{_TABLES_ONLY}.obs", "genes": f"{_TABLES_ONLY}.var"}


def from_group(group: Any, choice: Choice, path: Path) -> Source:
    """Read the metadata of an AnnData in a group of HDF5 or Zarr, and find its matrices.

    Raises
    ------
    ValueError
        If there is no such layer, or a matrix is not as it should be.
    """
    choice.refuse(REFUSED | OF_XARRAY)
    _check_choice(choice)
    layers = group.get("layers", {})
    if choice.raw:
        if "raw" not in group:
            fail(f"the AnnData has no .raw; leave out raw, or pass layer=, one of {named_layers(layers)}")
        parts = {COUNTS: group["raw/X"]}
    else:
        parts = {COUNTS: chosen(group.get("X"), layers, choice.layer)}
    parts |= {name: layer_of(layers, name) for name in choice.layers}
    samples, genes = (frame(group, name, path) for name in ("obs", "raw/var" if choice.raw else "var"))
    where = {COUNTS: "raw/X" if choice.raw else "X" if choice.layer is None else f"layers/{choice.layer}"}
    matrices = {
        name: stored(part, f"{path}: {where.get(name, f'layers/{name}')}") for name, part in parts.items()
    }
    return with_metadata(samples, genes, matrices)


def from_object(adata: Any, choice: Choice) -> Source:
    """Take an AnnData in memory, backed or lazy.

    Raises
    ------
    TypeError
        If it is none.
    ValueError
        If there is no such layer.
    """
    if not all(hasattr(adata, name) for name in ("X", "obs", "var", "layers")):
        msg = f"convert takes an AnnData, a table (DataFrame) or a path; received {type(adata).__name__}"
        raise TypeError(msg)
    choice.refuse(REFUSED | OF_XARRAY)
    _check_choice(choice)
    if adata.isbacked and adata.is_view:  # a view of a file has no array of its own
        adata = adata.to_memory()
    if choice.raw:
        if adata.raw is None:
            fail(
                f"the AnnData has no .raw; leave out raw, or pass layer=, one of {named_layers(adata.layers)}"
            )
        parts, genes = {COUNTS: adata.raw.X}, adata.raw.var
    else:
        parts, genes = {COUNTS: chosen(adata.X, adata.layers, choice.layer)}, adata.var
    parts |= {name: layer_of(adata.layers, name) for name in choice.layers}
    matrices = {name: in_memory(part, f"{name} of the AnnData") for name, part in parts.items()}
    return with_metadata(frame_of(adata.obs), frame_of(genes), matrices)


def _check_choice(choice: Choice) -> None:
    if choice.raw and (choice.layer is not None or choice.layers):
        fail(
            "raw takes the counts of .raw, with genes of its own, and layers are not of these; leave out one"
        )
    repeated = {name for name in choice.layers if name == choice.layer or choice.layers.count(name) > 1}
    if repeated:
        fail(f"layers names {listing(sorted(repeated))} twice, or what layer= names; name each layer once")
    reserved = [name for name in choice.layers if name in (COUNTS, SAMPLE, GENE)]
    if reserved:
        fail(f"layers= cannot carry {listing(reserved)}, a name that the store needs; rename the layer")


def stored(part: Any, where: str) -> Matrix:
    """Give a matrix of HDF5 or Zarr, sparse or dense, with nothing of it read but where the samples begin."""
    shape, kind = shape_of(part, where), encoding(part)
    if kind in ("csr_matrix", "csc_matrix"):
        indptr = read_starts(part, where).astype(np.int64)
        return Compressed(part["data"], part["indices"], indptr, shape, kind == "csr_matrix", where)
    return _dense(part, where)


def _dense(array: Any, where: str) -> Dense:
    chunks = getattr(array, "shards", None) or array.chunks or (1, array.shape[1])
    return Dense(lambda samples, genes: array[samples, genes], tuple(array.shape), array.dtype, chunks, where)


def in_memory(matrix: Any, where: str) -> Matrix:
    """Give a matrix of an AnnData object: NumPy, SciPy, Dask, or backed by a file."""
    if hasattr(matrix, "group"):  # sparse and backed
        return stored(matrix.group, where)
    if isinstance(matrix, np.ndarray):
        by_row = matrix.flags.c_contiguous
        chunks = (1, matrix.shape[1]) if by_row else (matrix.shape[0], 1)
        array = np.asarray(matrix)
        return Dense(lambda samples, genes: array[samples, genes], matrix.shape, matrix.dtype, chunks, where)
    if hasattr(matrix, "dask"):
        return Dense(
            lambda samples, genes: matrix[samples, genes].compute(),
            matrix.shape,
            matrix.dtype,
            matrix.chunksize,
            where,
        )
    if hasattr(matrix, "indptr"):
        by_sample = matrix.format == "csr"
        indptr = matrix.indptr.astype(np.int64)
        return Compressed(matrix.data, matrix.indices, indptr, matrix.shape, by_sample, where)
    return _dense(matrix, where)
