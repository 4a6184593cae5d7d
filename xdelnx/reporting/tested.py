"""Tests that were made of a fit: whether they are of it, what each of them asked, and how to ask that again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.designs.contrasts import resolve_contrasts
from xdelnx.designs.design import Design
from xdelnx.messages import fail, listing
from xdelnx.schema import COEFFICIENT, CONTRAST, GENE, RESTRICTION

ROUNDING = 1e-6  # of log fold changes that are the same but for the order of sums


def as_tests(tests: Any, fit: xr.Dataset) -> list[xr.Dataset]:
    """Results of `xdelnx.test`, one or several, in memory, if they are of this fit.

    Raises
    ------
    TypeError
        One of them is no Dataset.
    ValueError
        One of them is no test, or of another fit; or the fit is one of groups, which has no tests of its own.
    """
    given = [tests] if isinstance(tests, xr.Dataset) else list(tests)
    if given and "group_status" in fit:
        fail(
            "tests are of a fit without groups; those of a fit by groups are in it: fit(..., by=, contrasts=)"
        )
    for test in given:
        _check(test, fit)
    return [test.compute() for test in given]


def _check(test: Any, fit: xr.Dataset) -> None:
    if not isinstance(test, xr.Dataset):
        msg = f"tests are Datasets that xdelnx.test returned, received {type(test).__name__}"
        raise TypeError(msg)
    missing = [name for name in ("pval", "coef", "contrast_weight") if name not in test]
    if missing:
        fail(f"tests are what xdelnx.test returned, and this Dataset lacks {listing(missing)}")
    for dim in (GENE, COEFFICIENT):
        if not _names(test, dim).equals(_names(fit, dim)):
            fail(
                f"a test of {_questions(test)} is not of this fit: its {dim}s are others, or in another order"
            )
    for label, one in each_contrast(test):
        weights = rows_of(one)
        if len(weights) > 1:  # a joint test, which has no fold change
            continue
        expected = fit["beta"].transpose(GENE, COEFFICIENT).values @ weights[0]
        found = one["coef"].values
        known = np.isfinite(expected) & np.isfinite(found)
        if not np.allclose(found[known], expected[known], rtol=ROUNDING, atol=ROUNDING):
            fail(
                f"a test of {label!r} is not of this fit: its log fold changes are not those of the fit's "
                "coefficients; test this fit, or report the other one"
            )


def _names(result: xr.Dataset, dim: str) -> pd.Index:
    return result.get_index(dim).astype(str)


def _questions(test: xr.Dataset) -> str:
    return listing([label for label, _ in each_contrast(test)], 3)


def each_contrast(result: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Label and tests (gene) of each contrast that is there; none of a fit without tests."""
    if CONTRAST in result.dims:
        for name in result[CONTRAST].values:
            yield str(name), result.sel({CONTRAST: name})
    elif CONTRAST in result.coords:
        yield str(result[CONTRAST].values), result


def rows_of(one: xr.Dataset) -> np.ndarray:
    """Weights (restriction, coefficient) of the tests of one contrast."""
    weights = np.asarray(one["contrast_weight"].transpose(RESTRICTION, COEFFICIENT).values)
    return weights[np.isfinite(weights).all(axis=1)]


def threshold_of(one: xr.Dataset) -> float:
    """Log2 fold change beyond which was tested; 0 for any."""
    return float(one.attrs.get("lfc_threshold", 0.0))


# ---- to ask it again -------------------------------------------------------------------------------------


def questions_of(test: xr.Dataset, model: Design, samples: pd.DataFrame | None) -> list[Any]:
    """Contrasts as `xdelnx.test` takes them: text, or the rows of a joint test that no text stands for."""
    return [_question(label, rows_of(one), model, samples) for label, one in each_contrast(test)]


def _question(label: str, rows: np.ndarray, model: Design, samples: pd.DataFrame | None) -> Any:
    try:
        found = resolve_contrasts(model, label, samples=samples)
    except ValueError:  # a label of its own, or one that needs the samples
        found = ()
    if len(found) == 1 and found[0].weights.shape == rows.shape and np.allclose(found[0].weights, rows):
        return label
    return _expression(rows[0], model.names) if len(rows) == 1 else rows.tolist()


def _expression(weights: np.ndarray, names: Sequence[str]) -> str:
    """Weights as an expression that means exactly these numbers."""
    return " + ".join(f"{w!r} * `{name}`" for w, name in zip(weights.tolist(), names, strict=True) if w)
