"""The HDF5 files of Cell Ranger: versions 3 and later, and 2, which has a group for each genome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xdelnx.errors import warn
from xdelnx.messages import counted, fail, listing
from xdelnx.storage.pieces import Matrix
from xdelnx.storage.readers.arrays import Compressed
from xdelnx.storage.readers.source import COUNTS, OF_XARRAY, Choice, Source, with_metadata
from xdelnx.storage.unreadable import read

_PARTS = {"barcodes", "data", "indices", "indptr", "shape"}
FEATURE_TYPE = "feature_type"
_NONE = "names a layer of an AnnData; a 10x file has one matrix, so leave it out"
REFUSED = {"layer": _NONE, "layers": _NONE, "raw": "is for an AnnData; a 10x file has one matrix"}


def is_ten_x(file: Any) -> bool:
    """Whether an open HDF5 file has the layout of either version."""
    return bool(_groups(file))


def _groups(file: Any) -> list[str]:
    return [name for name, part in file.items() if hasattr(part, "keys") and set(part) >= _PARTS]


def from_file(file: Any, choice: Choice, path: Path) -> Source:
    """Read barcodes and features, and find the matrix: features x barcodes as CSC, which is CSR the other way.

    Raises
    ------
    ValueError
        If there are matrices of several genomes, or the parts do not fit together.
    """
    choice.refuse(
        REFUSED | OF_XARRAY | dict.fromkeys(("samples", "genes"), "is for tables of counts and Matrix Market")
    )
    names = _groups(file)
    if len(names) > 1:
        fail(f"{path} has matrices of several genomes ({listing(names)}); write each to a file of its own")
    group = file[names[0]]
    where = f"{path}: {names[0]}"
    shape, samples, genes, indptr = read(where, _metadata, group)
    check_types(genes)
    matrix: Matrix = Compressed(group["data"], group["indices"], indptr, shape, by_sample=True, where=where)
    return with_metadata(samples, genes, {COUNTS: matrix})


def _metadata(group: Any) -> tuple[tuple[int, int], pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Numbers of samples and genes, what is known of these, and where the counts of each sample begin."""
    n_genes, n_samples = (int(size) for size in group["shape"][:])
    samples = pd.DataFrame(index=_texts(group["barcodes"]))
    return (n_samples, n_genes), samples, _features(group), group["indptr"][:].astype(np.int64)


def _features(group: Any) -> pd.DataFrame:
    """Identifiers as names, with what else is known of each feature."""
    if "genes" in group:  # version 2
        return pd.DataFrame({"name": _texts(group["gene_names"])}, index=_texts(group["genes"]))
    features = group["features"]
    known = {name: _texts(part) for name, part in features.items() if _is_text(part, features["id"].shape)}
    return pd.DataFrame(known).set_index("id").rename_axis(index=None)


def _is_text(part: Any, shape: tuple[int, ...]) -> bool:
    return getattr(part, "shape", None) == shape and part.dtype.kind in "SO"


def _texts(dataset: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in dataset[:]]


def check_types(genes: pd.DataFrame) -> None:
    """Warn if not all features are of one type: counts of antibodies are no counts of genes."""
    kinds = genes[FEATURE_TYPE].value_counts() if FEATURE_TYPE in genes else pd.Series(dtype=int)
    if len(kinds) > 1:
        each = listing(f"{kind} ({counted(number, 'feature')})" for kind, number in kinds.items())
        warn(
            f"there are features of several types: {each}; before a fit choose one, as in "
            f"ds.sel(gene=ds['{FEATURE_TYPE}'] == {kinds.index[0]!r})"
        )
