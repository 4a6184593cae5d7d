"""Contrasts: which question about the coefficients a test answers.

Every way to state one ends as weights: rows of numbers, one per coefficient, that are zero in sum
under the null hypothesis.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from xdelnx.designs.design import LARGEST_NUMBER, RANK_TOLERANCE, Design, as_matrix, write_combination
from xdelnx.designs.expressions import Conditions, evaluate_expression, unknown_coefficient
from xdelnx.errors import warn
from xdelnx.messages import fail, listing
from xdelnx.schema import COEFFICIENT

# Share of a column's length that may lie outside of another model, by rounding alone.
NESTED_TOLERANCE = 1e-8
PAIRWISE = re.compile(r"pairwise\((?P<name>[^()]+)\)")


@dataclass(frozen=True, eq=False)
class Contrast:
    """A hypothesis ``weights @ beta = 0``.

    Attributes
    ----------
    name
        What the user called it: a coefficient, an expression, a term, a reduced formula, a label.
    weights
        Shape (restriction, coefficient), on the natural log scale of the coefficients. One
        restriction has a fold change; several are a joint test of as many degrees of freedom.
    """

    name: str
    weights: np.ndarray


def resolve_contrasts(
    design: Design, contrast: Any, *, samples: pd.DataFrame | None = None, reduced: Any = None
) -> tuple[Contrast, ...]:
    """Turn what a user writes into weights.

    Parameters
    ----------
    design
        Of the fit, with p coefficients.
    contrast
        - None or ``"last"``: each coefficient of the formula's last term and, if there are several,
          their joint test, named after the term;
        - the name of a coefficient, or of a term (a joint test of its coefficients);
        - an expression over names: ``"treatment[T.C] - treatment[T.B]"``, ``"0.5 * a + 0.5 * b"``
          (names go in backticks where they could be mistaken for something else);
        - ``"cond(treatment='C') - cond(treatment='B')"``: a difference of linear predictors.
          Columns not named are at their reference level or zero, those inside a function such as
          ``log`` or ``bs`` at their mean;
        - ``"pairwise(treatment)"``: every level of a factor against every earlier one, each as the ``cond()``
          above would be: where the factor interacts with others, at their reference levels;
        - a reduced formula, ``"~ batch"``: a joint test of what it leaves out;
        - weights: a mapping or Series of name to number (names left out weigh nothing), or p numbers;
        - a matrix of weights, (restriction, coefficient): a joint test;
        - a list of several of these that are not numbers, or a mapping of labels to them.
    samples
        Sample metadata of the fit; needed for ``cond()`` and reduced formulas.
    reduced
        Reduced formula (or design matrix), instead of `contrast`.

    Returns
    -------
    tuple of Contrast
        With distinct names; empty only for ``"last"`` with an intercept alone.

    Raises
    ------
    ValueError
        Unknown names (the message lists those allowed), weights that are zero, not finite,
        dependent or of the wrong length, a reduced model that is not nested.
    TypeError
        Something that is none of the above.
    """
    resolver = _Resolver(design, samples)
    if reduced is not None:
        if contrast is not None:
            fail(f"contrast={contrast!r} and reduced={reduced!r} say what to test twice; give one of them")
        return (resolver.reduced(reduced),)
    found = resolver.several(contrast)
    names = [entry.name for entry in found]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        fail(f"the same contrast is given more than once: {listing(repeated)}")
    return found


class _Resolver:
    def __init__(self, design: Design, samples: pd.DataFrame | None) -> None:
        self.design, self.samples = design, samples
        self.conditions = Conditions(design, samples)

    def several(self, contrast: Any) -> tuple[Contrast, ...]:
        """Contrasts of anything but a keyword `reduced`."""
        if contrast is None or (isinstance(contrast, str) and contrast.strip() == "last"):
            return self.last(contrast)
        if isinstance(contrast, str) and (factor := PAIRWISE.fullmatch(contrast.strip())):
            return self.pairwise(factor["name"].strip("`'\" "))
        if isinstance(contrast, pd.DataFrame | pd.Series) or hasattr(contrast, "dims"):
            return (self.labelled_weights(contrast),)
        if isinstance(contrast, Mapping) and not _is_weights(contrast):
            return tuple(self.labelled(label, entry) for label, entry in contrast.items())
        if isinstance(contrast, Sequence | np.ndarray) and not isinstance(contrast, str):
            return self.sequence(contrast)
        return (self.single(contrast),)

    def single(self, contrast: Any) -> Contrast:
        """One contrast of text or of named weights."""
        if isinstance(contrast, Mapping):
            return self.joint(self.named_weights(contrast))
        if not isinstance(contrast, str):
            msg = (
                f"a contrast is text, weights, a matrix of weights, or a list or mapping of these; not "
                f"{type(contrast).__name__}: {contrast!r}"
            )
            raise TypeError(msg)
        text = contrast.strip()
        if text.startswith("~"):
            return self.reduced(text)
        if text not in self.design.names and text in self.design.terms:
            return Contrast(text, np.eye(len(self.design.names))[list(self.design.terms[text])])
        return self.joint(self.expression(text), text)

    def expression(self, text: str) -> np.ndarray:
        if not text:
            fail(unknown_coefficient(text, self.design, text))
        if text in self.design.names:
            return np.eye(len(self.design.names))[self.design.names.index(text)]
        return evaluate_expression(text, self.design, self.conditions)

    def last(self, contrast: str | None) -> tuple[Contrast, ...]:
        """Each coefficient of the last term, and all of them together."""
        term, columns = list(self.design.terms.items())[-1]
        if term == "Intercept":
            if contrast is None:
                fail(f"the design {self.design.formula!r} is an intercept alone: name the contrast to test")
            return ()
        if _holds_intercept(self.design.matrix[:, list(columns)]):
            first, last = self.design.names[columns[0]], self.design.names[columns[-1]]
            difference = f"Test differences, such as '{last} - {first}', or use a formula with an intercept"
            warn(
                f"the last term, {term!r}, holds the intercept: its coefficients are levels of expression, "
                f"and testing them against zero compares no samples. "
                f"{difference if first != last else 'Name the coefficient to test'}"
            )
        rows = np.eye(len(self.design.names))[list(columns)]
        each = tuple(
            Contrast(self.design.names[j], row[np.newaxis]) for j, row in zip(columns, rows, strict=True)
        )
        return (*each, Contrast(term, rows)) if len(each) > 1 else each

    def pairwise(self, name: str) -> tuple[Contrast, ...]:
        """Each level of a factor against each earlier one."""
        levels = self.conditions.levels(name)
        rows = [self.conditions.row({name: level}) for level in levels]
        if len(levels) == 1:
            fail(f"pairwise({name}): there is nothing to compare, the factor has one level, {levels[0]!r}")
        return tuple(
            self.joint(rows[i] - rows[j], f"{name}: {levels[i]} - {levels[j]}")
            for j in range(len(levels))
            for i in range(j + 1, len(levels))
        )

    def labelled(self, label: Any, contrast: Any) -> Contrast:
        """One entry of a mapping of labels to contrasts."""
        if not isinstance(label, str) or not label.strip():
            fail(f"labels of contrasts are text, not {label!r}")
        found = self.several(contrast)
        if len(found) != 1:
            names = listing(entry.name for entry in found)
            fail(f"the label {label!r} stands for {len(found)} contrasts ({names}); give each its own label")
        return replace(found[0], name=label)

    def sequence(self, contrast: Sequence[Any] | np.ndarray) -> tuple[Contrast, ...]:
        """Numbers, as one contrast; or a list of contrasts."""
        if len(contrast) == 0:
            fail("there is no contrast in the list")
        weights = _numbers(contrast)
        if weights is not None:
            return (self.joint(weights),)
        return tuple(found for entry in contrast for found in self.several(entry))

    def labelled_weights(self, contrast: Any) -> Contrast:
        """Weights of a Series, DataFrame or DataArray, matched to the coefficients by name."""
        if hasattr(contrast, "dims"):
            if COEFFICIENT not in contrast.coords:
                return self.joint(np.asarray(contrast.values, dtype=float))
            contrast = contrast.transpose(..., COEFFICIENT).to_pandas()
        if isinstance(contrast, pd.Series):
            return self.joint(self.named_weights(contrast.to_dict()))
        rows = [self.named_weights(row) for row in contrast.to_dict("records")]
        if not rows:
            fail("there is no contrast in the matrix: it has no rows")
        return self.joint(np.vstack(rows))

    def named_weights(self, weights: Mapping[Any, Any]) -> np.ndarray:
        for name in weights:
            if name not in self.design.names:
                fail(unknown_coefficient(str(name), self.design, str(name)))
        return np.array([float(weights.get(name, 0.0)) for name in self.design.names])

    def joint(self, weights: np.ndarray, name: str | None = None) -> Contrast:
        """Check weights, shape (coefficient,) or (restriction, coefficient), and name them."""
        rows = np.atleast_2d(weights)
        p = len(self.design.names)
        if rows.ndim != 2 or rows.shape[1] != p:
            transposed = "; transpose it" if rows.ndim == 2 and rows.shape[0] == p else ""
            fail(
                f"weights of shape {np.shape(weights)} do not fit the {p} coefficients{transposed}. A vector "
                f"has a weight for each, a matrix a row per restriction; coefficients: "
                f"{listing(self.design.names)}"
            )
        _check_weights(rows, name or listing(row.tolist() for row in rows))
        return Contrast(name or self.name_of(rows), rows + 0.0)  # + 0.0: no negative zeros

    def name_of(self, rows: np.ndarray) -> str:
        """Term whose coefficients the rows pick, or the rows as expressions."""
        for term, columns in self.design.terms.items():
            if len(rows) > 1 and np.array_equal(rows, np.eye(rows.shape[1])[list(columns)]):
                return term
        return "; ".join(write_combination(row, self.design.names) for row in rows)

    def reduced(self, reduced: Any) -> Contrast:
        """Joint test of what a reduced formula or design matrix leaves out."""
        name, matrix, columns = self.reduced_matrix(reduced)
        rows, outside = _left_out(self.design.matrix, matrix)
        if outside.any():
            wrong = listing(column for column, bad in zip(columns, outside, strict=True) if bad)
            fail(
                f"the reduced model {name!r} is not nested in the design: {wrong} cannot be written with its "
                f"coefficients ({listing(self.design.names)}); leave terms out, and add none"
            )
        if not len(rows):
            fail(f"the reduced model {name!r} is the design itself: it leaves nothing out to test")
        return Contrast(name, rows)

    def reduced_matrix(self, reduced: Any) -> tuple[str, np.ndarray, tuple[str, ...]]:
        if not isinstance(reduced, str):
            labels = pd.RangeIndex(len(self.design.matrix)) if self.samples is None else self.samples.index
            return ("reduced design", *as_matrix(reduced, labels))
        if self.samples is None:
            fail(f"the reduced formula {reduced!r} needs the sample metadata of the data that was fitted")
        from xdelnx.designs.formulas import read
        from xdelnx.designs.model_matrix import evaluate

        if self.design.formula is not None:
            _ = self.conditions.model  # raises for samples other than those of the fit
        elif len(self.samples) != len(self.design.matrix):
            n = len(self.design.matrix)
            fail(f"the fit has {n} samples, the data {len(self.samples)}; pass the data that was fitted")
        used = read(reduced, map(str, self.samples.columns)).columns
        reference = {column: level for column, level in self.design.reference.items() if column in used}
        model = evaluate(reduced, self.samples, reference)
        return reduced.strip(), np.asarray(model.matrix, dtype=float), tuple(model.matrix.columns)


def _is_weights(contrast: Mapping[Any, Any]) -> bool:
    """Tell weights from labels: a mapping is weights if every value is a number."""
    if not contrast:
        fail("there is no contrast in the mapping")
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in contrast.values())


def _numbers(values: Any) -> np.ndarray | None:
    """Array of the values if they are numbers, nested in equal lengths; otherwise None."""
    if isinstance(values, list | tuple) and any(
        not isinstance(v, Real | list | tuple | np.ndarray) for v in values
    ):
        return None
    try:
        array = np.asarray(values)
    except ValueError:
        return None
    return array.astype(float) if array.dtype.kind in "iuf" else None


def _check_weights(rows: np.ndarray, what: str) -> None:
    if not np.isfinite(rows).all():
        fail(f"the weights of the contrast are not finite: {what}")
    largest = np.abs(rows).max(initial=0.0)
    if largest > LARGEST_NUMBER or 0.0 < largest < 1.0 / LARGEST_NUMBER:
        fail(f"the weights of the contrast are of the order {largest:.3g}; give some of the order 1: {what}")
    length = np.linalg.norm(rows, axis=1)
    if not (length > 0).all():
        fail(f"the contrast {what!r} is zero for every coefficient: it compares nothing")
    rank = np.linalg.matrix_rank(rows / length[:, np.newaxis], tol=RANK_TOLERANCE)
    if rank < len(rows):
        fail(
            f"the {len(rows)} rows of the contrast are not independent (rank {rank}): leave out rows that "
            f"follow from the others: {what}"
        )


def _holds_intercept(columns: np.ndarray) -> bool:
    """Whether some combination of the columns is the same in every sample; one column only if it is so itself."""
    if columns.shape[1] == 1:
        return bool(np.ptp(columns) == 0.0)
    one = np.ones(len(columns))
    scaled = columns / np.linalg.norm(columns, axis=0)
    rest = one - scaled @ np.linalg.lstsq(scaled, one, rcond=None)[0]
    return bool(np.linalg.norm(rest) < np.sqrt(RANK_TOLERANCE) * np.sqrt(len(one)))


def _left_out(full: np.ndarray, reduced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Restrictions that lead from a design to a reduced one.

    Parameters
    ----------
    full
        Shape (sample, coefficient), of full rank.
    reduced
        Shape (sample, any), not necessarily of full rank.

    Returns
    -------
    rows
        Shape (restriction, coefficient); the coefficients with ``rows @ beta = 0`` are those of the
        reduced design. Single coefficients where the reduced design keeps the others.
    outside
        For each column of the reduced design, whether the full one cannot make it.
    """
    # in the orthonormal basis of the full design, so that the scale of a covariate does not matter
    scale = np.linalg.norm(full, axis=0)
    basis, triangle = np.linalg.qr(full / scale)
    smaller = reduced / np.maximum(np.linalg.norm(reduced, axis=0), np.finfo(float).tiny)
    inside = basis.T @ smaller
    outside = np.linalg.norm(smaller - basis @ inside, axis=0) > NESTED_TOLERANCE
    left, sizes, _ = np.linalg.svd(inside, full_matrices=True)
    rank = int((sizes > RANK_TOLERANCE * sizes.max(initial=0.0)).sum())
    rows = left[:, rank:].T @ triangle
    dropped = np.linalg.norm(rows, axis=0) > NESTED_TOLERANCE
    if dropped.sum() == len(rows):
        return np.eye(len(scale))[dropped], outside
    rows = rows * scale
    return rows / np.abs(rows).max(axis=1, keepdims=True), outside
