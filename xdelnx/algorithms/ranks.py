"""Rank sums of groups of cells, gene by gene: the zeros, most of the counts, are ranked without being sorted.

The test is Wilcoxon's, or Mann and Whitney's U: normal approximation with ties and continuity (Lehmann 1975).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from xdelnx.algorithms.matrices import as_matrix, is_sparse

COLUMNS = 32  # genes of an ordinary array that are turned at a time, for reading along the cells


@dataclass(frozen=True)
class Comparison:
    """Groups of cells, and which of them are compared with what.

    Parameters
    ----------
    codes
        (cell,) which group, from 0.
    sizes
        (group,) cells of each.
    wanted
        (comparison,) the group that is compared.
    reference
        The group it is compared with; None, all other cells.
    """

    codes: np.ndarray
    sizes: np.ndarray
    wanted: np.ndarray
    reference: int | None

    def others(self, by_group: np.ndarray) -> np.ndarray:
        """What sums by group (..., group) are in the cells that each group is compared with."""
        if self.reference is not None:
            return np.broadcast_to(by_group[..., [self.reference]], (*by_group.shape[:-1], self.wanted.size))
        return by_group.sum(axis=-1, keepdims=True) - by_group[..., self.wanted]


def rank_block(counts: Any, factors: np.ndarray, comparison: Comparison) -> dict[str, np.ndarray]:
    """Compare groups of cells in each gene of a block (cell, gene), dense or sparse.

    Parameters
    ----------
    counts
        (cell, gene).
    factors
        (cell,) size factors: what is ranked is count / size factor.
    comparison
        Of which groups.

    Returns
    -------
    dict
        ``auroc``, ``stat`` (z), ``pval``, ``coef`` (natural log of the ratio of means), ``fraction``,
        ``fraction_reference``, each (comparison, gene); NaN where neither side has a count.
    """
    matrix = as_matrix(counts)
    n_genes, n_groups = matrix.shape[1], comparison.sizes.size
    rank_sums, ties = (np.zeros((n_genes, comparison.wanted.size)) for _ in range(2))
    totals, present = (np.zeros((n_genes, n_groups)) for _ in range(2))
    for gene, (cells, values) in enumerate(_positive(matrix)):
        scaled, groups = values / factors[cells], comparison.codes[cells]
        totals[gene] = np.bincount(groups, scaled, n_groups)
        present[gene] = np.bincount(groups, minlength=n_groups)
        order = np.argsort(scaled)
        rank_sums[gene], ties[gene] = _rank_sums(scaled[order], groups[order], present[gene], comparison)
    sizes = comparison.sizes.astype(np.float64)
    n, m = sizes[comparison.wanted], comparison.others(sizes)
    u = rank_sums - 0.5 * n * (n + 1.0)
    stat, pval = mann_whitney(u, ties, n, m)
    with np.errstate(divide="ignore", invalid="ignore"):  # no count in one group, or in either
        coef = np.log(totals[:, comparison.wanted] / n) - np.log(comparison.others(totals) / m)
    result = {"auroc": u / (n * m), "stat": stat, "pval": pval, "coef": coef}
    result |= {
        "fraction": present[:, comparison.wanted] / n,
        "fraction_reference": comparison.others(present) / m,
    }
    nothing = present[:, comparison.wanted] + comparison.others(present) == 0.0
    return {name: np.where(nothing, np.nan, values).T for name, values in result.items()}


def _positive(matrix: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cells with a count, and their counts, of one gene after another."""
    if is_sparse(matrix):
        for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
            yield matrix.indices[start:stop], matrix.data[start:stop]
        return
    for start in range(0, matrix.shape[1], COLUMNS):
        for gene in np.ascontiguousarray(matrix[:, start : start + COLUMNS].T):
            cells = np.flatnonzero(gene)
            yield cells, gene[cells]


def _rank_sums(
    ascending: np.ndarray, groups: np.ndarray, present: np.ndarray, comparison: Comparison
) -> tuple[np.ndarray, np.ndarray]:
    """Rank sum of each compared group, and the ties' sum of t^3 - t: (comparison,) each.

    Ranks are those among the cells that are compared: all, or a group's and the reference's.
    """
    absent, wanted, reference = comparison.sizes - present, comparison.wanted, comparison.reference
    if reference is None:
        ranks, zero_rank, ties = _ranks(ascending, absent.sum())
        sums = np.bincount(groups, ranks, absent.size) + absent * zero_rank
        return sums[wanted], np.full(wanted.size, ties)
    sums, all_ties = np.empty(wanted.size), np.empty(wanted.size)
    for i, group in enumerate(wanted):
        both = (groups == group) | (groups == reference)
        ranks, zero_rank, all_ties[i] = _ranks(ascending[both], absent[group] + absent[reference])
        sums[i] = ranks[groups[both] == group].sum() + absent[group] * zero_rank
    return sums, all_ties


def _ranks(ascending: np.ndarray, zeros: float) -> tuple[np.ndarray, float, float]:
    """Mid-ranks of sorted positive values above so many zeros, the zeros' rank, and the ties' sum of t^3 - t."""
    first = np.flatnonzero(np.diff(ascending, prepend=-1.0))
    sizes = np.diff(first, append=ascending.size).astype(np.float64)
    ranks = np.repeat(zeros + first + 0.5 * (sizes + 1.0), sizes.astype(np.intp))
    return ranks, 0.5 * (zeros + 1.0), float(np.sum(sizes**3 - sizes) + zeros**3 - zeros)


def mann_whitney(
    u: np.ndarray, ties: np.ndarray, n: np.ndarray, m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal statistic and two-sided p-value of U for groups of n and m cells.

    Corrected for ties and for continuity; where all cells are tied, 0 and 1.
    """
    total = n + m
    variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)))
    away = u - 0.5 * n * m
    distance = np.maximum(np.abs(away) - 0.5, 0.0)
    some = variance > 1e-9 * n * m  # what is left of it by rounding where all are tied is smaller
    deviation = np.sqrt(np.where(some, variance, 1.0))
    statistic = np.where(some, np.sign(away) * distance / deviation, 0.0)
    return statistic, 2.0 * ndtr(-np.abs(statistic))
