"""Which genes have counts enough to be worth a test: the rule of Chen, Lun & Smyth 2016."""

from __future__ import annotations

from typing import Any

import numpy as np

from xdelnx.algorithms.matrices import as_matrix, is_sparse, sum_by_gene

ROUNDING = 1e-14  # on numbers of samples and totals: rounding must not decide
SAME = 1e-12  # relative: a count that is the cutoff, but for rounding, reaches it


def smallest_group(design: np.ndarray) -> float:
    """Size of the smallest group of a design (sample, coefficient): 1 / its largest leverage."""
    orthonormal, singular, _ = np.linalg.svd(design, full_matrices=False)
    rank = int(np.sum(singular > singular[0] * max(design.shape) * np.finfo(float).eps))
    return float(1.0 / np.max(np.sum(orthonormal[:, :rank] ** 2, axis=1)))


def samples_needed(smallest: float, large_n: float, min_prop: float) -> float:
    """Samples that must reach the cutoff: the smallest group, of a large one a part of what is beyond."""
    return large_n + (smallest - large_n) * min_prop if smallest > large_n else smallest


def least_counts(factors: np.ndarray, min_count: float) -> np.ndarray:
    """Count of each sample (sample,) that is the cutoff in counts per million.

    The cutoff is ``min_count`` in a sample of median size; the factors' scale cancels.
    """
    return min_count * factors / np.median(factors)


def enough(counts: Any, least: np.ndarray, needed: float, total: float) -> np.ndarray:
    """Whether enough samples of a block (sample, gene) reach their least count, and the total is reached: (gene,)."""
    matrix = as_matrix(counts)
    cutoff = least * (1.0 - SAME)
    if is_sparse(matrix) and least.min() > 0.0:
        reached = sum_by_gene(matrix, matrix.data >= cutoff[matrix.indices])
    elif is_sparse(matrix):  # a least count of 0, which every sample has
        reached = np.full(matrix.shape[1], matrix.shape[0])
    else:
        reached = np.sum(matrix >= cutoff[:, None], axis=0)
    totals = np.asarray(matrix.sum(axis=0, dtype=np.float64))
    return (reached >= needed - ROUNDING) & (totals >= total - ROUNDING)
