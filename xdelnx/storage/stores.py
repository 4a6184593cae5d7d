"""Zarr stores: counts opened in blocks of genes, and results written whole or not at all.

A store holds `counts(sample, gene)` in gene-major chunks (all samples of a few
genes in one chunk) beside the samples' and genes' metadata. Everything is
written to a temporary path next to its destination, which is renamed at the
end, so that an output is either complete or not there.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.checks import check_dims
from xdelnx.chunks.blocks import settled
from xdelnx.messages import closest, fail, listing
from xdelnx.schema import GENE, SAMPLE
from xdelnx.storage.dimensions import as_ours, as_theirs, names_of, remembering, told
from xdelnx.storage.outputs import is_local, replacing
from xdelnx.storage.unfinished import note
from xdelnx.storage.unreadable import read
from xdelnx.storage.untrusted import open_group

CHUNK_BYTES = 16_000_000
"""Uncompressed size of a chunk at most: small enough to decode quickly, large enough for any disk."""

CHUNKS_AT_LEAST = 16
"""Chunks of a small data set, so that several workers have something to do."""

ALL_CHUNKS: Any = {"write_empty_chunks": True}
"""How arrays are written: chunks of zeros, too, so that one that is gone is known to be (`xdelnx.chunks.strict`)."""

FITTED, TESTED = ("beta", "design"), ("pval",)
"""Variables by which the result of a fit, and any result with tests, is known."""

_MISSING = ("", "NA", "<missing>")


# ---------------------------------------------------------------- reading a store


def open_counts(
    store: Any, *, counts: str = "counts", sample: str | None = None, gene: str | None = None
) -> xr.Dataset:
    """Open a Zarr store of counts lazily, in blocks of genes.

    Parameters
    ----------
    store
        Path or URL of a Zarr store as written by `convert`, `simulate` or
        xarray, or an opened Zarr store object.
    counts
        Name of the variable that holds the counts, with the dimensions `sample` and `gene`.
    sample, gene
        Names of these dimensions in the store, where they are others; verbs then know them.

    Returns
    -------
    Dataset
        `counts(sample, gene)` as a Dask array, all samples of a block of genes
        in one chunk and each block made of whole stored chunks; the metadata of
        samples and genes in memory. Nothing of the counts is read yet.

    Raises
    ------
    FileNotFoundError
        If there is nothing at that path.
    ValueError
        If it is not a Zarr store, an AnnData, has no such variable, or the
        variable lacks one of the two dimensions.
    """
    found = open_as_ours(store, counts=counts, sample=sample, gene=gene)
    return as_theirs(found, names_of(found.attrs))


def open_as_ours(store: Any, *, counts: str, sample: Any = None, gene: Any = None) -> xr.Dataset:
    """Do as `open_counts`, but with the dimensions `sample` and `gene`; an attribute remembers other names."""
    found = open_lazily(store)
    names = names_of(found.attrs) | told({SAMPLE: sample, GENE: gene}, found.dims)
    dataset = as_ours(found, names)
    if counts not in dataset:
        fail(
            f"the store {store} has no variable {counts!r}; {closest(counts, dataset.data_vars, 'variables')}"
        )
    check_dims(dataset[counts], counts)
    blocks = {SAMPLE: -1, GENE: _block_width(dataset[counts])}
    for name, variable in dataset.data_vars.items():
        per_entry = {SAMPLE, GENE} <= set(variable.dims)
        if per_entry:
            dataset[name] = variable.chunk(blocks).transpose(SAMPLE, GENE, ...)
        else:
            dataset[name] = read(f"{store}: {name}", variable.load)
    return remembering(dataset, names)


def open_result(store: Any, *, needed: tuple[str, ...] = FITTED) -> xr.Dataset:
    """Open what `fit` returned and `write_store` or `Dataset.to_zarr` wrote, in memory.

    Parameters
    ----------
    store
        Path or URL of the Zarr store.
    needed
        Variables it must have: those of a fit, or `TESTED`, for whatever has tests.

    Raises
    ------
    FileNotFoundError
        If there is nothing at that path.
    ValueError
        If it is not a Zarr store, or not of such a result.
    """
    dataset = open_lazily(store)
    missing = [name for name in needed if name not in dataset]
    if missing:
        what = "of a fit" if needed == FITTED else "of a test, or of a fit with contrasts"
        fail(f"the store {store} is not the result {what}: it has no variable {listing(missing)}")
    for name, variable in dataset.variables.items():
        read(f"{store}: {name}", variable.load)
    return dataset.load().drop_encoding()


def open_lazily(store: Any) -> xr.Dataset:
    """Open a Zarr store of xarray, without Dask; raises as `open_counts` if it is none.

    Reading it raises where a chunk is gone that was there once, if our writers wrote the store.
    """
    from xdelnx.chunks.strict import strictly

    group = _group(store)
    where: dict[str, Any] = {"group": group.path or None}
    if group.metadata.zarr_format == 2:  # of which xarray takes a fill value, mostly 0, for missing
        where["mask_and_scale"] = {name: False for name, array in group.arrays() if _zeros_between(array)}
    consolidated = group.metadata.consolidated_metadata is not None
    opened = partial(xr.open_zarr, chunks=None, consolidated=consolidated, **where)
    return read(f"{store}: its names of samples and genes", opened, strictly(group) or group.store)


def _zeros_between(array: Any) -> bool:
    """Whether an array is whole numbers of samples and genes with zeros where nothing was written."""
    return array.ndim == 2 and array.dtype.kind in "iu" and not array.fill_value


def _group(store: Any) -> Any:
    """Open a store; raises if it is no store of ours."""
    path = Path(store) if is_local(store) else None
    if path is not None and not path.exists():
        msg = "; ".join(filter(None, [f"there is nothing at {path}", note(path)]))
        raise FileNotFoundError(msg)
    if path is not None and path.is_file() and path.suffix in {".h5ad", ".h5", ".hdf5"}:
        fail(_not_counts(path, "an AnnData file"))
    if path is not None and path.is_file() and path.suffix != ".zip":
        fail(
            f"{path} is a file, and counts and fits are Zarr stores, which are folders; counts of a file become one by "
            f"`xdelnx convert {path} counts.zarr`"
        )
    group = open_group(store, "open_counts reads what `xdelnx convert` or Dataset.to_zarr wrote")
    if group.attrs.get("encoding-type") == "anndata":
        fail(_not_counts(store, "an AnnData store"))
    return group


def _not_counts(store: Any, what: str) -> str:
    return (
        f"{store} is {what}; read it with xdelnx.from_anndata({str(store)!r}), or convert it once to "
        f"gene-major chunks with `xdelnx convert {store} counts.zarr`"
    )


def _block_width(counts: xr.DataArray) -> int:
    """Genes of one block: as many whole stored chunks (or shards) as fit the usual size."""
    axis = counts.get_axis_num(GENE)
    grid = counts.encoding.get("shards") or counts.encoding.get("chunks") or counts.shape
    stored = max(int(grid[axis]), 1)
    return stored * max(gene_chunk(counts.sizes[SAMPLE], counts.sizes[GENE], counts.dtype) // stored, 1)


def gene_chunk(n_samples: int, n_genes: int, dtype: Any) -> int:
    """Genes in one chunk, at least 1: chunks of at most `CHUNK_BYTES`, at least `CHUNKS_AT_LEAST` of them."""
    by_size = CHUNK_BYTES // max(n_samples * np.dtype(dtype).itemsize, 1)
    return max(min(by_size, -(-n_genes // CHUNKS_AT_LEAST)), 1)


# ---------------------------------------------------------------- writing


def write_store(dataset: xr.Dataset, store: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a Dataset to a Zarr store (format 3), completely or not at all.

    Parameters
    ----------
    dataset
        Counts or results. Variables of samples and genes are stored in chunks of all
        samples of a few genes; lazy ones are computed while they are written.
    store
        Folder to write; the folders above it are made if need be.
    overwrite
        Replace an existing store once the new one is complete.

    Raises
    ------
    FileExistsError
        If the store exists and `overwrite` is not set, or if what exists is not a Zarr store.
    """
    ready = _chunked(zarr_safe(dataset))
    with replacing(store, overwrite=overwrite, needed=ready.nbytes) as partial, writing(ready, partial):
        pass


@contextmanager
def writing(ready: xr.Dataset, path: Path) -> Iterator[None]:
    """Write a Dataset of `zarr_safe` to a new store, to which more is added in the body; then close its metadata."""
    import zarr
    from zarr.storage import LocalStore

    from xdelnx.chunks.strict import mark

    store = LocalStore(path)  # of a path, xarray makes text, and of that Zarr 3.4 a URL
    encoding: dict[Any, Any] = {name: {"compressors": compressor()} for name in ready.variables}
    how: dict[str, Any] = {"zarr_format": 3, "consolidated": False, "encoding": encoding}
    settled(ready.to_zarr(store, mode="w-", compute=False, **how, **ALL_CHUNKS), "writing")
    yield
    mark(zarr.open_group(store, mode="r+", use_consolidated=False))
    with warnings.catch_warnings():  # other readers of format 3 may pass over it, and xarray warns without it
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        zarr.consolidate_metadata(store, zarr_format=3)


def compressor() -> Any:
    """Compress with zstd, and a checksum by which a chunk that was changed later is known as it is read."""
    from zarr.codecs import ZstdCodec

    return ZstdCodec(checksum=True)


def zarr_safe(dataset: xr.Dataset) -> xr.Dataset:
    """Make every variable writable to Zarr, and readable again as it was, without a warning.

    Strings become objects: Zarr 3 has no fixed-width strings. pandas' own types become
    NumPy's. A missing string is written as a value that no other entry has and
    that xarray turns into NaN on reading (the attribute `missing_value`).
    Encodings left over from another store are dropped.
    """
    safe = dataset.drop_encoding()
    for name in dataset.variables:
        variable = safe.variables[name]
        if variable.dtype.kind in "USOT" or isinstance(variable.dtype, pd.api.extensions.ExtensionDtype):
            strings = _safe_strings(variable)
            safe = (
                safe.assign_coords({name: strings}) if name in safe.coords else safe.assign({name: strings})
            )
    return safe


def _safe_strings(variable: xr.Variable) -> xr.Variable:
    values = np.asarray(variable.values, dtype=object)
    missing = pd.isna(values)
    present = values[~missing]
    attrs = {key: value for key, value in variable.attrs.items() if key != "missing_value"}
    if isinstance(variable.dtype, pd.CategoricalDtype):  # whose order says what comes first
        attrs["categories"] = [str(level) for level in variable.dtype.categories]
    if missing.any():
        attrs["missing_value"] = next(mark for mark in _MISSING if mark not in set(present))
    strings = np.full(values.shape, attrs.get("missing_value", ""), dtype=object)
    strings[~missing] = [str(value) for value in present]
    # Object strings without an entry have no type that Zarr could infer.
    return xr.Variable(
        variable.dims, strings if strings.size else strings.astype(np.dtypes.StringDType()), attrs
    )


def _chunked(dataset: xr.Dataset) -> xr.Dataset:
    """Gene-major chunks for what has samples and genes; chunks of one size for whatever else is lazy."""
    sample, gene = ({SAMPLE: SAMPLE, GENE: GENE} | names_of(dataset.attrs)).values()
    for name, variable in dataset.data_vars.items():
        if {sample, gene} <= set(variable.dims):
            width = gene_chunk(variable.sizes[sample], variable.sizes[gene], variable.dtype)
            dataset[name] = variable.chunk({sample: -1, gene: width})
        elif variable.chunks is not None:
            sizes = {dim: max(chunks, default=1) or 1 for dim, chunks in variable.chunksizes.items()}
            dataset[name] = variable.chunk(sizes)
    return dataset
