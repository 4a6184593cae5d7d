"""Observation weights: how much each count says, and what is left of a design where some say nothing.

A weight multiplies the log likelihood of its count, and so its part of the score, the information, the
deviance and the Cox-Reid term: 2 is the count seen twice, 0 a sample left out. Residual degrees of
freedom count the weights above 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xdelnx.algorithms.basis import Layout, has_full_rank
from xdelnx.algorithms.matrices import entries, is_sparse, sum_by_gene


class Entries(NamedTuple):
    """What comes with the counts of a block, and is of their shape or by sample.

    Parameters
    ----------
    offset
        (sample, gene) natural log of a further scale of each entry, or None.
    weights
        (sample,) or (sample, gene), not negative.
    """

    offset: np.ndarray | None
    weights: np.ndarray


def parts(given: np.ndarray | Entries | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Offset (sample, gene) and weights, (sample,) or (sample, gene), of a block; None where it has none."""
    return (given.offset, given.weights) if isinstance(given, Entries) else (given, None)


def counts_with_weight(matrix: Any, weights: np.ndarray) -> np.ndarray:
    """Return how many counts of each gene of a block (sample, gene) are above 0 and have a weight above 0: (gene,)."""
    if not is_sparse(matrix):
        known = weights > 0.0
        return np.count_nonzero((matrix > 0) & (known if known.ndim == 2 else known[:, None]), axis=0)
    genes = np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
    at = (matrix.indices, genes) if weights.ndim == 2 else (matrix.indices,)
    return sum_by_gene(matrix, (entries(matrix) > 0) & (weights[at] > 0.0))


def own_freedom(layout: Layout, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """``residual_df`` and ``estimable`` of each gene, (gene,), where the weights are (sample, gene)."""
    if weights is None or weights.ndim == 1:
        return {}
    return {
        "residual_df": residual_df(weights, layout.design.shape[1]),
        "estimable": estimable(layout, weights),
    }


def residual_df(weights: np.ndarray, n_coefficients: int) -> np.ndarray:
    """Weights (sample, gene) above 0, less coefficients: (gene,)."""
    return np.count_nonzero(weights > 0.0, axis=0) - float(n_coefficients)


def estimable(layout: Layout, weights: np.ndarray) -> np.ndarray:
    """Whether the samples of weight above 0 determine all coefficients, and are more than these: (gene,).

    Parameters
    ----------
    layout
        The design.
    weights
        (sample, gene).
    """
    known = np.logical_or.reduceat((weights > 0.0)[layout.order], layout.starts[:-1], axis=0)
    enough = residual_df(weights, layout.design.shape[1]) > 0.0
    short = np.flatnonzero(enough & ~known.all(axis=0))  # the others have every row of the design
    packed = np.ascontiguousarray(np.packbits(known[:, short], axis=0).T)
    _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    full = np.array([has_full_rank(layout.design[known[:, gene]]) for gene in short[first]], dtype=bool)
    enough[short] = full[which.reshape(-1)]
    return enough
