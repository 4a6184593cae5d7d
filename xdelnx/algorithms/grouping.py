"""Sums over groups of cells: integers stay exact, sparse blocks stay sparse."""

from __future__ import annotations

from typing import Any

import numpy as np

from xdelnx.algorithms.matrices import as_matrix, entries, is_sparse
from xdelnx.messages import counted, fail


def sum_type(dtype: Any) -> np.dtype:
    """Type of a sum of counts: 64-bit integers of whole numbers, otherwise floating point."""
    return np.dtype(np.int64 if np.dtype(dtype).kind in "iub" else np.float64)


def sum_by_group(counts: Any, codes: np.ndarray, n_groups: int) -> np.ndarray:
    """Sum a block of counts (cell, gene), dense or sparse, over the cells of each group.

    Parameters
    ----------
    counts
        (cell, gene).
    codes
        (cell,) which group, from 0.
    n_groups
        How many there are; one without a cell has the sum 0.

    Returns
    -------
    numpy.ndarray
        (group, gene), int64 for whole numbers.

    Raises
    ------
    ValueError
        Negative, NaN or infinite counts: a sum would hide them.
    """
    matrix = as_matrix(counts)
    _refuse_what_a_sum_hides(matrix)
    if is_sparse(matrix):
        return _product_with_indicator(matrix, codes, n_groups)
    sums = np.zeros((n_groups, matrix.shape[1]), dtype=sum_type(matrix.dtype))
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(n_groups + 1))
    for group in np.unique(codes):  # a copy of one group's cells at a time, in their own type
        cells = order[ends[group] : ends[group + 1]]
        matrix[cells].sum(axis=0, dtype=sums.dtype, out=sums[group])
    return sums


def _product_with_indicator(matrix: Any, codes: np.ndarray, n_groups: int) -> np.ndarray:
    from scipy.sparse import csr_array

    cells = codes.size
    ones = np.ones(cells, dtype=sum_type(matrix.dtype))
    indicator = csr_array((ones, codes, np.arange(cells + 1)), shape=(cells, n_groups))
    return (matrix.T @ indicator).toarray().T  # the transpose of sparse columns is sparse rows, as it is


def _refuse_what_a_sum_hides(matrix: Any) -> None:
    values = entries(matrix)
    if matrix.dtype.kind == "u" or not values.size:
        return
    bad = np.count_nonzero(~np.isfinite(values)) if matrix.dtype.kind == "f" else 0
    if bad:
        fail(f"{counted(int(bad), 'NaN or infinite count')}; a sum over cells needs every one of them")
    if values.min() < 0:
        negative = counted(int(np.count_nonzero(values < 0)), "negative count")
        fail(f"{negative}; pass raw counts, not centred or scaled values")
