"""A block of counts as it comes: an ordinary array, or sparse by columns. The one place that tells them apart."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_matrix(counts: Any) -> Any:
    """Give a block (sample, gene) as a NumPy array or, from any sparse format, as a SciPy CSC array.

    SciPy's matrices and arrays and those of the package sparse are sparse formats; a CSC array
    comes out with its indices sorted, without repeated entries or stored zeros.
    """
    if hasattr(counts, "to_scipy_sparse"):  # the package sparse
        counts = counts.astype(native(counts.dtype)).to_scipy_sparse()
    if not hasattr(counts, "tocsc"):
        array = np.asarray(counts)
        return array.astype(native(array.dtype), copy=False)
    from scipy.sparse import csc_array

    columns = csc_array(counts)
    if columns.dtype != native(columns.dtype):
        columns = columns.astype(native(columns.dtype))
    if not (columns.has_canonical_format and columns.data.all()):
        columns = columns.copy()
        columns.sum_duplicates()
        columns.eliminate_zeros()
    return columns


def native(dtype: np.dtype) -> np.dtype:
    """Type of number that Numba knows: in the machine's order of bytes, floating point of 32 or 64 bits."""
    if dtype.kind == "f" and dtype.itemsize not in {4, 8}:
        return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    return dtype.newbyteorder("=")


def is_sparse(matrix: Any) -> bool:
    """Whether a block of `as_matrix` is sparse."""
    return hasattr(matrix, "indptr")


def as_dense(matrix: Any) -> np.ndarray:
    """Give a block, or columns cut out of it, as an ordinary array."""
    return matrix.toarray() if is_sparse(matrix) else matrix


def entries(matrix: Any) -> np.ndarray:
    """Every count of an ordinary array, the non-zero ones of a sparse one."""
    return matrix.data if is_sparse(matrix) else matrix


def sum_by_gene(matrix: Any, where: np.ndarray) -> np.ndarray:
    """How many of the stored counts of each gene of a sparse matrix are marked: (gene,)."""
    before = np.concatenate([[0], np.cumsum(where)])
    return before[matrix.indptr[1:]] - before[matrix.indptr[:-1]]


def flat_rows(array: Any) -> tuple[Any, int]:
    """Give an array (sample, gene) as one flat array, and how far in it one sample is from the next.

    A part of a larger array, some of its columns, is not copied; what lies between is there, too. An
    array on a device is whole.
    """
    if not isinstance(array, np.ndarray):
        return array.reshape(-1), array.shape[1]
    n_samples, n_genes = array.shape
    step, rest = divmod(array.strides[0], array.itemsize)
    if array.strides[1] != array.itemsize or rest or step < n_genes:
        array, step = np.ascontiguousarray(array), n_genes
    size = (n_samples - 1) * step + n_genes if array.size else 0
    return np.lib.stride_tricks.as_strided(array, (size,), (array.itemsize,), writeable=False), step
