"""Counts of any kind of file to the Zarr store that a fit reads: by gene, checked, in bounded memory."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import xarray as xr

from xdelnx.messages import fail
from xdelnx.progress import watched
from xdelnx.schema import GENE, SAMPLE, annotate
from xdelnx.storage.gene_major import write_gene_major
from xdelnx.storage.outputs import check_output, replacing
from xdelnx.storage.readers.opening import open_source
from xdelnx.storage.readers.source import COUNTS, Choice
from xdelnx.storage.stores import open_counts, writing, zarr_safe

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgt", start=1)}


@watched
def convert(
    source: Any,
    store: str | os.PathLike[str],
    *,
    layer: str | None = None,
    layers: Sequence[str] | None = None,
    raw: bool = False,
    samples: Any = None,
    genes: Any = None,
    memory: int | str = "1GB",
    overwrite: bool = False,
    sample: str | None = None,
    gene: str | None = None,
    progress: bool | None = None,  # noqa: ARG001 - `watched` reads it
) -> xr.Dataset:
    """Convert counts to a Zarr store in gene-major chunks, in bounded memory.

    The input is read once, from its beginning to its end. What is read waits, sorted by gene, in a temporary file
    beside the store, of 5 to 12 bytes for each count that is not zero, until the largest count is known.

    Parameters
    ----------
    source
        AnnData or the path of one (`.h5ad` file or Zarr store; CSR, CSC or dense); an HDF5 file of 10x (Cell
        Ranger 2 or later); Matrix Market (a folder with `matrix.mtx`, `barcodes.tsv` and `features.tsv` or
        `genes.tsv`, or a `.mtx` file, all of them also gzipped); a Zarr store of xarray in other chunks; or a table
        of counts (`.csv`, `.tsv`, `.txt`, also gzipped; or a DataFrame), genes in rows and samples in columns, the
        genes' names in the first column.
    store
        Folder to write.
    layer
        Layer of the AnnData (variable of the Zarr store) with the raw counts; `None` is its `X` (`counts`).
    layers
        Further layers (variables) to carry along, under their names and in the same chunks. They may be any numbers.
        Of a Zarr store of xarray, `None` carries every variable of samples and genes.
    raw
        Take the counts, and the genes, of the AnnData's `.raw`.
    samples, genes
        For a table of counts and Matrix Market: metadata, a table with the names in its first column (a path, or a
        DataFrame with them as its index). An empty field or NA is a missing value; any other word, None and
        null included, stays as it is. Rows are matched by name; for a `.mtx` file without files of names beside it
        they are in the order of the matrix.
    memory
        Memory for counts, in bytes or as "2GB": a bound on what is read and sorted at a time. The whole process takes
        at most 0.5 GB (Python and its packages) + the names and metadata + the largest of `memory`, 64 MB, one
        chunk of the input if that is stored in chunks, and 48 bytes for each non-zero count of a single sample (of a
        gene, if the input is stored by gene).
    overwrite
        Replace an existing store.
    sample, gene
        Names of the dimensions of a Zarr store of xarray, where they are others; what is written has these.
    progress
        As in `xdelnx.fit`.

    Returns
    -------
    Dataset
        What was written, opened by `open_counts`. The counts have the smallest of uint8, uint16, uint32 and uint64
        that holds them; fractional counts keep their type. An entry that stands twice in a sparse matrix is added
        up, as SciPy and AnnData do.

    Raises
    ------
    ValueError
        If counts are negative, NaN or infinite, every one is zero, the parts of the input do not fit together, or
        the store is the source, lies in it or around it.
    OSError
        If a file is damaged or not complete.
    FileExistsError
        If the store exists and `overwrite` is not set, or if what exists is not a Zarr store.
    """
    inputs = getattr(source, "filename", source), samples, genes
    check_output(store, overwrite=overwrite, apart_from=inputs)
    size = as_bytes(memory)
    chosen = (layers,) if isinstance(layers, str) else tuple(layers or ())
    choice = Choice(
        layer=layer, layers=chosen, raw=raw, samples=samples, genes=genes, sample=sample, gene=gene
    )
    with ExitStack() as files:
        found = open_source(source, choice, files)
        with replacing(store, overwrite=overwrite) as partial, writing(zarr_safe(found.labels), partial):
            for name, matrix in found.matrices.items():
                attrs = annotate(xr.Dataset({name: ((SAMPLE, GENE), [[0]])}))[name].attrs
                names = found.labels[GENE].values if name == COUNTS else None
                write_gene_major(matrix, partial, name, genes=names, memory=size, attrs=attrs)
    return open_counts(store)


def as_bytes(memory: int | str) -> int:
    """Bytes of an amount of memory.

    >>> as_bytes("2GB"), as_bytes("512 MiB"), as_bytes(1e6)
    (2000000000, 536870912, 1000000)

    Raises
    ------
    ValueError
        If it is none.
    """
    match = re.fullmatch(r"([0-9.]+) *([kmgt]i?)?b?", str(memory).strip().lower())
    try:
        found = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    except ValueError:
        found = 0
    if found < 1:
        fail(f"memory={memory!r} is no amount of memory; give bytes, or words such as '2GB' or '500 MiB'")
    return found
