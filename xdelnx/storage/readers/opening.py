"""Which reader an input is for: told by what the input is, and by its name only where there is nothing else."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from xdelnx.messages import fail, listing
from xdelnx.storage.anndata_parts import hdf5
from xdelnx.storage.delimited import TABLES, table_suffix
from xdelnx.storage.readers import anndata_files, matrix_market, tables, ten_x, zarr_stores
from xdelnx.storage.readers.source import Choice, Source
from xdelnx.storage.remote import answered
from xdelnx.storage.stores import open_lazily
from xdelnx.storage.unreadable import check_there
from xdelnx.storage.untrusted import open_group

_HDF5 = (".h5ad", ".h5", ".hdf5")
KNOWN = (
    "AnnData (.h5ad or Zarr), 10x (.h5, or a folder with matrix.mtx), Matrix Market (.mtx), Zarr stores of xarray and "
    f"tables of counts ({listing(TABLES)}), text also gzipped"
)


def open_source(source: Any, choice: Choice, files: ExitStack) -> Source:
    """Open an input of any kind; what has to be closed after it was read is left to ``files``.

    Raises
    ------
    FileNotFoundError
        If there is nothing at a path.
    ValueError
        If it is none that is known, is a pipe or device, or lacks what is chosen.
    """
    if isinstance(source, pd.DataFrame):
        return tables.from_table(source, choice)
    if not isinstance(source, str | os.PathLike):
        return anndata_files.from_object(source, choice)
    if "://" in str(source):
        return _store(source, choice)
    path = Path(source)
    check_there(path)
    if path.is_file() and (path.suffix in _HDF5 or _is_hdf5(path)):
        return _from_hdf5(files.enter_context(hdf5(path)), choice, path)
    return _from_path(path, choice)


def _from_path(path: Path, choice: Choice) -> Source:
    if path.is_dir():
        matrix = matrix_market.matrix_in(path)
        return _store(path, choice) if matrix is None else matrix_market.from_path(matrix, choice)
    if matrix_market.is_matrix_market(path):
        return matrix_market.from_path(path, choice)
    if table_suffix(path) in TABLES:
        return tables.from_table(path, choice)
    return fail(f"cannot convert {path}; known are {KNOWN}")


def _store(source: Any, choice: Choice) -> Source:
    """Take a Zarr store: of AnnData, or of xarray."""
    group = open_group(source, f"known are {KNOWN}")
    if group.attrs.get("encoding-type") == "anndata":
        return answered(source, anndata_files.from_group, group, choice, source)
    return zarr_stores.from_dataset(open_lazily(source), choice, str(source))


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def _from_hdf5(file: Any, choice: Choice, path: Path) -> Source:
    if "obs" in file and "var" in file:
        return anndata_files.from_group(file, choice, path)
    if ten_x.is_ten_x(file):
        return ten_x.from_file(file, choice, path)
    return fail(f"{path} is an HDF5 file, but neither of AnnData nor of 10x: it has {listing(file)}")
