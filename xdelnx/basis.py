"""The design as the algorithms see it: kinds of samples and an orthonormal basis.

Samples that share a row of the design are one *kind*: they have the same mean up to their
size factor, so a gene's mean takes one exponential a kind and its score one sum a kind.
Coefficients are found in an orthonormal basis of the design's columns, so that the scale or
centring of a covariate and the coding of a factor change nothing but rounding. Where there
are as many kinds as coefficients, the basis is one indicator a kind, and every matrix of the
fit is diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Basis:
    """A parametrisation of the linear predictor of each kind: ``rows @ b``.

    Parameters
    ----------
    rows
        (kind, parameter). Orthonormal over samples, or one-hot.
    products
        (kind, parameter (parameter + 1) / 2): lower triangle of the outer product of each row.
    diagonal
        Whether the rows are one-hot, so that the information is diagonal.
    to_coefficients
        (coefficient, parameter): the design's coefficients from the parameters.
    """

    rows: np.ndarray
    products: np.ndarray
    diagonal: bool
    to_coefficients: np.ndarray

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.rows.shape[1]


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


def layout_of(design: np.ndarray) -> Layout:
    """Group the samples of a design (sample, coefficient) by their row."""
    rows, kind = np.unique(design, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    order = np.argsort(kind, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(kind, minlength=rows.shape[0]))])
    return Layout(order, starts.astype(np.int64), rows)


def basis_of(layout: Layout, columns: np.ndarray | None = None, *, dense: bool = False) -> Basis:
    """Build the basis of the design, or of the part of it that ``columns`` spans.

    Parameters
    ----------
    layout
        The kinds of the design.
    columns
        (coefficient, parameter): the reduced design is the design times this. None: all of it.
    dense
        Ask for the orthonormal basis even where one indicator a kind would do (a penalty is not diagonal).
    """
    p = layout.design.shape[1]
    columns = np.eye(p) if columns is None else columns
    reduced = layout.design @ columns
    weights = np.sqrt(layout.sizes)[:, None]
    _, r = np.linalg.qr(reduced * weights)
    distinct, group = _distinct(reduced)
    if distinct.shape[0] == columns.shape[1] and not dense:
        rows = np.eye(distinct.shape[0])[group] if distinct.size else reduced
        to_coefficients = columns @ np.linalg.inv(distinct) if distinct.size else columns
        return Basis(rows, _packed_products(rows), diagonal=True, to_coefficients=to_coefficients)
    inverse = np.linalg.inv(r)
    rows = reduced @ inverse
    return Basis(rows, _packed_products(rows), diagonal=False, to_coefficients=columns @ inverse)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows up to rounding (a rotated design's equal rows differ in their last digits)."""
    if rows.shape[1] == 0:
        return rows[:0], np.zeros(rows.shape[0], dtype=int)
    size = np.abs(rows).max(axis=0)
    keys = np.round(rows / np.where(size > 0, size, 1.0), 10) + 0.0
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return rows[first], group.reshape(-1)


def complement(weights: np.ndarray) -> np.ndarray:
    """Orthonormal columns (coefficient, coefficient - q) on which the contrast's q rows are zero."""
    q, p = weights.shape
    full, _ = np.linalg.qr(weights.T, mode="complete")
    return full[:, q:p]


def _packed_products(rows: np.ndarray) -> np.ndarray:
    i, j = np.tril_indices(rows.shape[1])
    return rows[:, i] * rows[:, j]
