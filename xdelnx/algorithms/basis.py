"""The design as the algorithms see it: kinds of samples, groups of kinds, and an orthonormal rest.

Samples that share a row of the design are one *kind*: they have the same mean up to their
size factor, so a gene's mean takes one exponential a kind and its score one sum a kind.

The parameters are not the design's coefficients but a basis of the same space: one indicator for
each *group* of kinds (the levels of the design's largest factor, or the kinds themselves where
there are as many as coefficients), and for what is left columns that are orthonormal and
orthogonal to the groups. The scale or centring of a covariate and the coding of a factor then
change nothing but rounding, and between groups the information matrix is zero: its cost grows
linearly with the levels of the largest factor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

FULL_RANK = 1e-10  # smallest over largest singular value, of columns of length 1
IN_SPAN = 1e-9  # of an indicator's length may lie outside of the design's columns, by rounding


@dataclass(frozen=True)
class Basis:
    """A parametrisation of the linear predictor of each kind: ``rows @ b``.

    Parameters
    ----------
    rows
        (kind, parameter): indicators of the groups, then the orthonormal rest.
    groups
        Number of indicators.
    products
        (kind, packed): what a kind adds to the packed information (`xdelnx.kernels.linear`).
    to_coefficients
        (coefficient, parameter): the design's coefficients from the parameters.
    """

    rows: np.ndarray
    groups: int
    products: np.ndarray
    to_coefficients: np.ndarray

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.rows.shape[1]

    def parameters_of(self, by_kind: np.ndarray) -> np.ndarray:
        """Parameters (parameter,) of a linear predictor (kind,) that the design spans."""
        return np.linalg.lstsq(self.rows, by_kind, rcond=None)[0]


@dataclass(frozen=True)
class Layout:
    """How the samples fall into kinds.

    Parameters
    ----------
    order
        (sample,): the samples by kind; a block's counts are put into this order once.
    starts
        (kind + 1,): where each kind begins in that order.
    design
        (kind, coefficient): the distinct rows of the design.
    """

    order: np.ndarray
    starts: np.ndarray
    design: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Samples in each kind."""
        return np.diff(self.starts)


def layout_of(design: np.ndarray, clusters: np.ndarray | None = None) -> Layout:
    """Group the samples of a design (sample, coefficient) by their row, and by clusters (sample,) if there are any."""
    keys = design if clusters is None else np.column_stack([design, clusters])
    rows, kind = distinct_rows(keys)
    rows = rows[:, : design.shape[1]]
    order = np.argsort(kind, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(kind, minlength=rows.shape[0]))])
    return Layout(order, starts.astype(np.int64), rows)


def distinct_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows, sorted by their first column, then the second and so on, and which of these each row is: (row,).

    Does what `numpy.unique` does along an axis, by columns: of millions of rows in a tenth of the time.
    """
    which, size = np.zeros(rows.shape[0], dtype=np.int64), min(rows.shape[0], 1)
    for column in rows.T:
        values, place = np.unique(column, return_inverse=True)
        both, which = np.unique(which * values.size + place, return_inverse=True)
        size = both.size
    first = np.empty(size, dtype=np.int64)
    first[which[::-1]] = np.arange(rows.shape[0])[::-1]
    return rows[first], which


def basis_of(layout: Layout, columns: np.ndarray | None = None, *, dense: bool = False) -> Basis:
    """Build the basis of the design, or of the part of it that ``columns`` spans.

    Parameters
    ----------
    layout
        The kinds of the design.
    columns
        (coefficient, parameter): the reduced design is the design times this. None: all of it.
    dense
        No groups, the orthonormal basis alone (a penalty would fill the zeros between groups).
    """
    p = layout.design.shape[1]
    columns = np.eye(p) if columns is None else columns
    reduced = layout.design @ columns
    sizes = layout.sizes[:, None]
    size = np.sqrt(np.sum(sizes * reduced**2, axis=0))
    scaled = reduced / np.where(size > 0.0, size, 1.0)
    q, _ = np.linalg.qr(np.sqrt(sizes) * scaled)
    group = np.zeros(0, dtype=int) if dense else _largest_grouping(layout, scaled, q)
    indicators = np.eye(group.max() + 1)[group] if group.size else np.zeros((reduced.shape[0], 0))
    rows = np.concatenate([indicators, _rest(indicators, q, layout.sizes)], axis=1)
    to_reduced = np.linalg.lstsq(np.sqrt(sizes) * scaled, np.sqrt(sizes) * rows, rcond=None)[0]
    to_reduced = to_reduced / np.where(size > 0.0, size, 1.0)[:, None]
    groups = indicators.shape[1]
    return Basis(rows, groups, packed_products(rows, groups), columns @ to_reduced)


def complement(weights: np.ndarray) -> np.ndarray:
    """Orthonormal columns (coefficient, coefficient - q) on which the contrast's q rows are zero."""
    q, p = weights.shape
    full, _ = np.linalg.qr(weights.T, mode="complete")
    return full[:, q:p]


def _largest_grouping(layout: Layout, scaled: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Group of each kind (kind,) for the most groups whose indicators the design spans; empty for none."""
    best = np.zeros(0, dtype=int)
    for group in [_distinct(scaled), *_factors(layout.design)]:
        outside = _outside(q, group, layout.sizes)
        if (
            outside.any() and not outside.all()
        ):  # a contrast of some levels leaves their sum: take them together
            group = np.unique(np.where(outside[group], -1, group), return_inverse=True)[1]
        n_groups = group.max() + 1 if group.size else 0
        larger = n_groups > (best.max() + 1 if best.size else 0)
        if larger and n_groups <= q.shape[1] and not _outside(q, group, layout.sizes).any():
            best = group
    return best


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Which rows are the same up to rounding (a rotated design's differ in their last digits)."""
    if rows.shape[1] == 0:
        return np.zeros(0, dtype=int)
    largest = np.abs(rows).max(axis=0)
    keys = np.round(rows / np.where(largest > 0.0, largest, 1.0), 10) + 0.0
    return distinct_rows(keys)[1]


def _factors(design: np.ndarray) -> Iterator[np.ndarray]:
    """Groupings (kind,) by sets of 0/1 columns of which no two are 1 in the same kind: a factor's levels."""
    sets: list[list[int]] = []
    covered: list[np.ndarray] = []
    for column in map(int, np.flatnonzero(((design == 0.0) | (design == 1.0)).all(axis=0))):
        ones = design[:, column] == 1.0
        if ones.all():
            continue
        for i, other in enumerate(covered):
            if not (other & ones).any():
                sets[i].append(column)
                covered[i] = other | ones
                break
        else:
            sets.append([column])
            covered.append(ones)
    for members in sets:
        yield _distinct(design[:, members])


def _outside(q: np.ndarray, group: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Whether each group's indicator is outside of what the columns of q (weighted by root sizes) span."""
    if group.size == 0:
        return np.zeros(0, dtype=bool)
    roots, squares = np.sqrt(sizes), np.bincount(group, sizes)
    inner = np.zeros((group.max() + 1, q.shape[1]))  # (group, column)
    np.add.at(inner, group, roots[:, None] * q)
    # First what is left within the group: of some thousand groups hardly any more than columns pass.
    out = np.bincount(group, (roots - np.sum(q * inner[group], axis=1)) ** 2) > IN_SPAN**2 * squares
    near = np.flatnonzero(~out)
    rest = roots[:, None] * (group[:, None] == near) - q @ inner[near].T
    out[near] = np.sum(rest**2, axis=0) > IN_SPAN**2 * squares[near]
    return out


def _rest(indicators: np.ndarray, q: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Columns (kind, rest), orthonormal over samples, that with the indicators span what q spans."""
    roots = np.sqrt(sizes)[:, None]
    rest = q.shape[1] - indicators.shape[1]
    lengths = np.sqrt(sizes @ indicators)
    unit = roots * indicators / lengths
    within, _, _ = np.linalg.svd(q - unit @ (unit.T @ q), full_matrices=False)
    return within[:, :rest] / roots


def packed_products(rows: np.ndarray, groups: int) -> np.ndarray:
    """Diagonal, cross and lower triangle of the outer product of each row: (kind, packed)."""
    indicators, rest = rows[:, :groups], rows[:, groups:]
    i, j = np.tril_indices(rest.shape[1])
    cross = (indicators[:, :, None] * rest[:, None, :]).reshape(rows.shape[0], -1)
    return np.concatenate([indicators, cross, rest[:, i] * rest[:, j]], axis=1)


def has_full_rank(design: np.ndarray) -> bool:
    """Whether the columns of a design (row, coefficient), of whatever scale, are independent."""
    length = np.sqrt(np.sum(design**2, axis=0))
    if design.shape[0] < design.shape[1] or not length.all():
        return False
    values = np.linalg.svd(design / length, compute_uv=False)
    return bool(values[-1] > FULL_RANK * values[0])
