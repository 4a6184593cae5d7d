"""Design matrices: what each sample says about each coefficient.

A design comes from a formula over the sample metadata, or ready made as a DataFrame, an array or a
DataArray. Either way it leaves here with finite numbers, a name for every column, full rank and
residual degrees of freedom, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xdelnx.checks import json_object, names_in
from xdelnx.messages import counted, fail, listing, shown
from xdelnx.schema import COEFFICIENT, SAMPLE

if TYPE_CHECKING:
    import xarray as xr

# A column whose distance to the span of those before it is below this share of its length depends on them.
# Far above rounding (1e-16 times the conditioning of real designs), far below any measured covariate.
RANK_TOLERANCE = 1e-10
LARGEST_NUMBER = 1e100  # of a design or a contrast, and one over the smallest: its square is finite
ROUNDING = 1e-8  # share of the largest weight of a combination below which one is nothing but rounding


@dataclass(frozen=True, eq=False)
class Design:
    """A design matrix with the names that belong to it.

    Attributes
    ----------
    matrix
        Shape (sample, coefficient), float64.
    names
        Name of each coefficient.
    formula
        The formula it was made from; None for a ready matrix.
    terms
        Term of the formula -> its columns, in the order of the columns. In a ready matrix every
        column is a term of its own.
    reference
        Column of the sample metadata -> the level chosen to come first.
    """

    matrix: np.ndarray
    names: tuple[str, ...]
    formula: str | None = None
    terms: dict[str, tuple[int, ...]] = field(default_factory=dict)
    reference: dict[str, str] = field(default_factory=dict)


def build_design(samples: pd.DataFrame, design: Any, *, reference: Mapping[str, Any] | None = None) -> Design:
    """Make and check the design matrix.

    Parameters
    ----------
    samples
        Sample metadata, one row per sample. Text, booleans and categoricals are factors (a
        categorical keeps its order of levels), numbers are covariates.
    design
        A formula such as ``"~ batch + condition"``; or a matrix with a row per sample: a DataFrame
        (rows matched to the samples by label, unless its index is that of pandas, 0, 1, 2, ..., and
        samples have other names), a DataArray with dimensions ``sample`` and ``coefficient``
        (matched if it has names of samples), or a NumPy array.
    reference
        Column -> level of each factor that others are compared with; by default the first level.
        Compared as text: ``{"GLI3_KO": "True"}`` for a boolean column.

    Returns
    -------
    Design
        With full column rank and at least one residual degree of freedom.

    Raises
    ------
    ValueError
        Anything in the formula, the metadata or the matrix that a fit could not use; the message
        names the columns and samples concerned and what would have been allowed.
    TypeError
        ``design`` or ``reference`` is of another type.
    """
    _check_arguments(design, reference)
    if isinstance(design, str):
        result = _from_formula(samples, design, reference or {})
    else:
        matrix, names = as_matrix(design, samples.index)
        result = Design(matrix, names, terms={name: (i,) for i, name in enumerate(names)})
    _check_freedom(result)
    _check_scale(result)
    _check_rank(result)
    return result


def check_weighted(design: Design, weights: np.ndarray) -> None:
    """Raise ValueError if the samples of weight above 0 do not determine the coefficients, or leave no freedom.

    Parameters
    ----------
    design
        Of all samples.
    weights
        (sample,), not negative.
    """
    rest = replace(design, matrix=design.matrix[weights > 0.0])
    try:
        _check_freedom(rest)
        _check_rank(rest)
    except ValueError as error:
        fail(f"without the {counted(int(np.sum(weights == 0.0)), 'sample')} of weight 0: {error}")


def _check_arguments(design: Any, reference: Any) -> None:
    if reference is not None and not isinstance(reference, Mapping):
        msg = f"reference is a mapping of column to level, as {{'condition': 'control'}}, not {reference!r}"
        raise TypeError(msg)
    if reference and not isinstance(design, str):
        fail("reference levels go with a formula; the columns of a ready design matrix are taken as they are")


def _from_formula(samples: pd.DataFrame, formula: str, reference: Mapping[str, Any]) -> Design:
    from xdelnx.designs.model_matrix import evaluate

    _check_samples(len(samples))
    model = evaluate(formula, samples, reference)
    return Design(
        np.asarray(model.matrix, dtype=float),
        tuple(map(str, model.matrix.columns)),
        formula,
        model.terms,
        {str(column): str(level) for column, level in reference.items()},
    )


# ---- ready matrices --------------------------------------------------------------------------------------


def as_matrix(design: Any, labels: pd.Index) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers, shape (sample, coefficient), and column names of a ready matrix, rows as the labels."""
    frame = _as_frame(design)
    names_of_rows = names_in(design, SAMPLE, labels)
    if names_of_rows is not None and not names_of_rows.equals(labels):
        frame = _aligned(frame.set_axis(names_of_rows), labels)
    if len(frame) != len(labels):
        fail(f"the design matrix has {len(frame)} rows for {len(labels)} samples; give one row per sample")
    names = tuple(map(str, frame.columns))
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        fail(f"columns of the design matrix have the same name: {listing(repeated)}; rename them")
    return _numbers(frame, labels), names


def _as_frame(design: Any) -> pd.DataFrame:
    if isinstance(design, pd.DataFrame):
        return design
    if isinstance(design, np.ndarray):
        return _array_frame(design)
    if hasattr(design, "dims") and hasattr(design, "transpose"):
        return _dataarray_frame(design)
    msg = (
        f"a design is a formula such as '~ condition', a DataFrame, a NumPy array or a DataArray, "
        f"not {type(design).__name__}: {design!r}"
    )
    raise TypeError(msg)


def _array_frame(design: np.ndarray) -> pd.DataFrame:
    if design.ndim != 2:
        shape = f"an array of shape {design.shape}"
        fail(f"a design matrix has two dimensions, (sample, coefficient); this is {shape}")
    return pd.DataFrame(design, columns=[f"x{i}" for i in range(design.shape[1])])


def _dataarray_frame(design: xr.DataArray) -> pd.DataFrame:
    if set(design.dims) != {SAMPLE, COEFFICIENT}:
        fail(f"a design DataArray has the dimensions ({SAMPLE}, {COEFFICIENT}), not ({listing(design.dims)})")
    frame = _array_frame(design.transpose(SAMPLE, COEFFICIENT).values)
    if COEFFICIENT in design.coords:
        frame.columns = design[COEFFICIENT].values
    return frame


def _aligned(frame: pd.DataFrame, labels: pd.Index) -> pd.DataFrame:
    """Rows of the frame in the order of the samples, matched by label."""
    if not frame.index.is_unique:
        repeated = frame.index[frame.index.duplicated()]
        fail(f"rows of the design matrix have the same label: {listing(repeated, 10)}")
    absent = labels.difference(frame.index, sort=False)
    unknown = frame.index.difference(labels, sort=False)
    if len(absent) or len(unknown):
        fail(
            f"the rows of the design matrix are labelled, and not as the samples are: no row for "
            f"{listing(absent, 5)}; no sample for {listing(unknown, 5)}. Match the labels, or pass "
            f"`.to_numpy()` if the order of the rows is that of the samples"
        )
    return frame.loc[labels]


def _numbers(frame: pd.DataFrame, labels: pd.Index) -> np.ndarray:
    for name, column in frame.items():
        if not pd.api.types.is_bool_dtype(column.dtype) and not pd.api.types.is_numeric_dtype(column.dtype):
            advice = f"pass a formula such as '~ {name}' to have factors coded"
            fail(
                f"column {str(name)!r} of the design matrix does not hold numbers ({column.dtype}); {advice}"
            )
    matrix = frame.to_numpy(dtype=float, na_value=np.nan)
    bad = ~np.isfinite(matrix)
    if bad.any():
        columns, rows = frame.columns[bad.any(axis=0)], labels[bad.any(axis=1)]
        fail(f"the design matrix is not finite in column {listing(columns)}, samples {listing(rows, 10)}")
    return matrix


# ---- checks ----------------------------------------------------------------------------------------------


def _check_samples(n: int) -> None:
    if n < 2:
        found = "is one sample" if n == 1 else "are no samples"
        fail(f"there {found}: a fit needs more samples than coefficients")


def _check_freedom(design: Design) -> None:
    n, p = design.matrix.shape
    _check_samples(n)
    if p == 0:
        fail("the design has no columns; write '~ 1' for an intercept alone")
    if n <= p:
        fail(
            f"the design leaves no residual degrees of freedom: {n} samples for {p} coefficients "
            f"({listing(design.names)}); use fewer terms, or more samples"
        )


def _check_scale(design: Design) -> None:
    peak = np.max(np.abs(design.matrix), axis=0)
    far = (peak > LARGEST_NUMBER) | ((peak < 1.0 / LARGEST_NUMBER) & (peak > 0.0))
    if far.any():
        named = [f"{design.names[j]} ({peak[j]:.3g})" for j in np.flatnonzero(far)]
        fail(
            f"columns of the design are too large or too small to compute with: {listing(named, 5)}; use other units"
        )


def _check_rank(design: Design) -> None:
    found = dependencies(design.matrix, design.names)
    if not found:
        return
    p = len(design.names)
    equations = "\n  ".join(found)
    message = (
        f"the design does not have full rank: of {p} coefficients only {p - len(found)} can be told apart."
        f"\n  {equations}\nThese columns say the same about the samples (groups are confounded, or a "
        "combination of levels has no sample): leave one of the terms out, or combine them."
    )
    if any(name.startswith(("cr(", "cs(", "cc(")) for name in design.names):
        message += " A spline by cr() or cc() contains the intercept: add constraints='center' to it."
    fail(message)


def dependencies(matrix: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """Each column that is a linear combination of columns before it, written as an equation.

    Parameters
    ----------
    matrix
        Shape (sample, coefficient).
    names
        Name of each column.
    """
    unit, length = of_unit_length(matrix)
    # R has the same dependencies as the matrix, on as many rows as there are columns
    triangle: np.ndarray = np.asarray(np.linalg.qr(unit, mode="r"))
    basis = np.empty((len(triangle), 0))
    kept: list[int] = []
    found = []
    for j, column in enumerate(triangle.T):
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)
        size = np.linalg.norm(rest)
        if size > RANK_TOLERANCE:
            basis, kept = np.column_stack([basis, rest / size]), [*kept, j]
            continue
        share = np.linalg.lstsq(triangle[:, kept], column, rcond=None)[0]
        share[np.abs(share) <= ROUNDING * np.abs(share).max(initial=0.0)] = 0.0
        weights = share * (length[j] / length[kept])
        combination = write_combination(weights, [names[k] for k in kept], rounding=0.0)
        found.append(f"{names[j]} = {combination or '0 in every sample'}")
    return found


def of_unit_length(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns scaled to length 1 (those of zeros stay), and their lengths; squares neither over- nor underflow."""
    peak = np.max(np.abs(matrix), axis=0, initial=0.0)
    peak[peak == 0.0] = 1.0
    length = np.linalg.norm(matrix / peak, axis=0)
    length[length == 0.0] = 1.0
    return matrix / peak / length, peak * length


def write_combination(
    weights: np.ndarray, names: list[str] | tuple[str, ...], rounding: float = ROUNDING
) -> str:
    """Write a linear combination as an expression over names; empty if all weights vanish."""
    smallest = rounding * np.abs(weights).max(initial=0.0)
    parts = []
    for weight, name in zip(weights.tolist(), names, strict=True):
        if abs(weight) > smallest:
            factor = "" if np.isclose(abs(weight), 1.0, rtol=1e-8) else f"{abs(weight):.6g} * "
            parts.append(f"{'-' if weight < 0 else '+'} {factor}{name}")
    text = " ".join(parts)
    return text[2:] if text.startswith("+ ") else text.replace("- ", "-", 1)


# ---- in a result -----------------------------------------------------------------------------------------


def design_to_attrs(design: Design) -> dict[str, str]:
    """Attributes from which, with the variable ``design``, the design can be made again."""
    attrs = {"design_terms": json.dumps(design.terms), "design_reference": json.dumps(design.reference)}
    return attrs if design.formula is None else {"design_formula": design.formula, **attrs}


def design_from_result(fit: xr.Dataset) -> Design:
    """Make the design of a fit again from the variable ``design`` and the attributes.

    Raises
    ------
    ValueError
        The Dataset is not the result of a fit.
    """
    if "design" not in fit:
        variables = listing(fit.data_vars)
        fail(f"this is not the result of `fit`: it has no variable 'design'; its variables: {variables}")
    matrix = fit["design"].transpose(SAMPLE, COEFFICIENT)
    names = tuple(map(str, fit[COEFFICIENT].values.tolist()))
    terms = json_object(fit.attrs, "design_terms") or {name: [i] for i, name in enumerate(names)}
    formula, reference = fit.attrs.get("design_formula") or None, json_object(fit.attrs, "design_reference")
    if not isinstance(formula, str | None):
        fail(f"the attribute 'design_formula' of the fit is damaged: it holds {shown(formula)}")
    if not all(_are_columns(columns, len(names)) for columns in terms.values()):
        fail(f"the attribute 'design_terms' of the fit is damaged: the design has {len(names)} columns")
    terms = {term: tuple(columns) for term, columns in terms.items()}
    return Design(np.asarray(matrix.values, dtype=float), names, formula, terms, reference)


def _are_columns(columns: Any, number: int) -> bool:
    """Whether these are positions of columns, as a term of a design has them."""
    return isinstance(columns, list) and all(type(i) is int and 0 <= i < number for i in columns)
