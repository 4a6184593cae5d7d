"""Ridge penalties as the user gives them: a number, one for each coefficient, or a matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from xdelnx.algorithms.penalties import Ridge
from xdelnx.designs.design import LARGEST_NUMBER, Design
from xdelnx.messages import closest, fail, listing, shown
from xdelnx.schema import COEFFICIENT

LARGEST_RIDGE = 1e5  # its square times the samples, over the information of a count: 1e11, of a double's 1e16
ALLOWED = (
    "a number, 0 or more, a mapping of coefficients to numbers, an array (coefficient,), or a matrix with a column "
    "for each coefficient"
)


def as_ridge(ridge: Any, target: Any, model: Design) -> tuple[Any, list[float] | None]:
    """Check a penalty and its target, and return them as numbers and lists, by the order of the coefficients.

    Returns
    -------
    tuple
        0.0 for no penalty, a number, a list (coefficient,) or lists (row, coefficient); the target (coefficient,), None
        for 0.

    Raises
    ------
    ValueError, TypeError
        Not of these forms, negative (other than in a matrix), not finite, or an unknown coefficient.
    """
    amounts = _amounts(ridge, model)
    none = not np.any(amounts)
    if target is None:
        return 0.0 if none else amounts.tolist(), None
    if none:
        fail(
            "ridge_target is what a ridge penalty draws coefficients to, and ridge is 0; give both, or neither"
        )
    at = _by_coefficient(target, "ridge_target", model)
    if at.shape != (len(model.names),):
        fail(f"ridge_target needs a number for each of {_coefficients(model)}; received the shape {at.shape}")
    _check_finite(at, "ridge_target", model)
    if isinstance(target, Mapping):
        free = [
            name for name, root in zip(model.names, _root(amounts, model).T, strict=True) if not root.any()
        ]
        idle = [name for name in free if name in target]
        if idle:
            fail(f"ridge_target names {listing(idle)}, which ridge does not penalise; leave that out")
    return amounts.tolist(), at.tolist()


def ridge_of(amounts: Any, target: Any, model: Design) -> Ridge | None:
    """Penalty on the coefficients, from what `as_ridge` returned; None for none."""
    if not np.any(amounts):
        return None
    at = np.zeros(len(model.names)) if target is None else np.asarray(target, dtype=np.float64)
    return Ridge(_root(np.asarray(amounts, dtype=np.float64), model), at)


def _root(amounts: np.ndarray, model: Design) -> np.ndarray:
    """Lambda (row, coefficient); of a single number, columns that are constant (an intercept) have none."""
    if amounts.ndim == 0:
        return np.diag(np.where(np.ptp(model.matrix, axis=0) == 0.0, 0.0, amounts))
    return np.diag(amounts) if amounts.ndim == 1 else amounts


def _amounts(ridge: Any, model: Design) -> np.ndarray:
    amounts = _by_coefficient(ridge, "ridge", model)
    if amounts.ndim > 2 or (amounts.ndim and amounts.shape[-1] != len(model.names)):
        fail(f"ridge is {ALLOWED}; received the shape {amounts.shape} for {_coefficients(model)}")
    _check_finite(amounts, "ridge", model)
    if amounts.ndim < 2 and (amounts < 0.0).any():
        received = f"{amounts:g}" if amounts.ndim == 0 else _named(amounts < 0.0, amounts, model)
        fail(f"ridge is 0 or more; received {received}")
    _check_digits(amounts, model)
    return amounts


def _check_digits(amounts: np.ndarray, model: Design) -> None:
    """Refuse a penalty beside whose square the counts leave no digit: p-values would be those of rounding."""
    root = np.max(np.abs(_root(amounts, model)), axis=0)
    far = root > LARGEST_RIDGE * np.max(np.abs(model.matrix), axis=0)
    if far.any():
        advice = "give a smaller one, the column in other units, or leave its term out of the design"
        fail(
            f"ridge is at most {LARGEST_RIDGE:g} times the largest value of a coefficient's column; received "
            f"{_named(far, root, model)}; {advice}"
        )


def _by_coefficient(values: Any, what: str, model: Design) -> np.ndarray:
    """Numbers in the order of the coefficients, where they have names; coefficients without a number get 0."""
    if isinstance(values, pd.Series) or (
        hasattr(values, "coords") and COEFFICIENT in getattr(values, "dims", ())
    ):
        values = values.to_pandas() if hasattr(values, "coords") else values
        values = values.to_dict() if isinstance(values, pd.Series) else values
    if isinstance(values, pd.DataFrame):
        _check_names(values.columns, what, model)
        values = values.reindex(columns=list(model.names), fill_value=0.0).to_numpy()
    if isinstance(values, Mapping):
        _check_names(values, what, model)
        values = [values.get(name, 0.0) for name in model.names]
    try:
        array = None if values is None else np.asarray(values)
    except ValueError:  # rows of unequal length
        array = None
    if array is None or array.dtype.kind not in "iuf":
        form = (
            ALLOWED if what == "ridge" else "a mapping of coefficients to numbers, or an array (coefficient,)"
        )
        msg = f"{what} is {form}; received {shown(values)}"
        raise TypeError(msg)
    return array.astype(np.float64)


def _check_names(given: Any, what: str, model: Design) -> None:
    unknown = [str(name) for name in given if name not in model.names]
    if unknown:
        fail(
            f"{what} names {unknown[0]!r}, which is no coefficient; {closest(unknown[0], model.names, 'coefficients')}"
        )


def _check_finite(values: np.ndarray, what: str, model: Design) -> None:
    bad = ~(np.abs(values) <= LARGEST_NUMBER)
    if bad.any():
        received = _named(bad, values, model) if values.ndim == 1 else f"{values[bad][0]:g}"
        fail(f"{what} is finite, up to {LARGEST_NUMBER:g}; received {received}")


def _named(which: np.ndarray, values: np.ndarray, model: Design) -> str:
    return listing([f"{model.names[i]} ({values[i]:g})" for i in np.flatnonzero(which)], 5)


def _coefficients(model: Design) -> str:
    return f"the {len(model.names)} coefficients {listing(model.names, 5)}"
