"""What is compared: each method takes a data set and says what it found of each gene."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

import xdelnx as xd
from validation.study.drawing import Drawn
from validation.study.grid import Cell

THRESHOLD = 1.0  # of the tests against a fold change, log2: what the genes of a "boundary" cell change by


@dataclass(frozen=True)
class Outcome:
    """What a method says of each gene; fold changes are log2, and what a method does not give is None.

    Parameters
    ----------
    pval, lfc, low, high, shrunken, s_value
        (gene,): p-value, fold change, ends of its 95 % interval, shrunken fold change, s-value.
    seconds
        Elapsed.
    warned
        Whether a fit warned that its size factors mislead.
    """

    pval: np.ndarray
    seconds: float
    lfc: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    shrunken: np.ndarray | None = None
    s_value: np.ndarray | None = None
    warned: bool | None = None


def as_dataset(drawn: Drawn) -> xr.Dataset:
    """Data set as xdelnx takes it."""
    columns = {
        name: ("sample", values.to_numpy() if values.dtype.kind == "f" else values.to_numpy(object))
        for name, values in drawn.samples.items()
    }
    coords = {
        "sample": drawn.samples.index.to_numpy(object),
        "gene": np.array([f"g{i}" for i in range(drawn.counts.shape[1])], dtype=object),
    }
    return xr.Dataset(
        {"counts": (("sample", "gene"), drawn.counts), **columns, "true_factor": ("sample", drawn.factors)},
        coords,
    )


def fitted(drawn: Drawn, *, threshold: float = 0.0, **options: Any) -> Outcome:
    """A fit with its test of the last coefficient, or of fold changes beyond a threshold."""
    data = as_dataset(drawn)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", xd.XdelnxWarning)
        fit = xd.fit(data, drawn.formula, contrasts=None, **options)
        last = str(fit["coefficient"].values[-1])
        result = xd.test(data, fit, last, **({"lfc_threshold": threshold} if threshold else {}))
    seconds = time.perf_counter() - start
    shrunken = xd.shrink_lfc(result) if not threshold else None
    return Outcome(
        result["pval"].values[0],
        seconds,
        result["log2fc"].values[0],
        result["ci_low"].values[0],
        result["ci_high"].values[0],
        None if shrunken is None else shrunken["log2fc_shrunken"].values[0],
        None if shrunken is None else shrunken["s_value"].values[0],
        any("size_factors='invariant'" in str(warning.message) for warning in said),
    )


def pseudobulk(drawn: Drawn) -> Outcome:
    """Cells of each donor summed, and the sums fitted."""
    data = as_dataset(drawn)
    start = time.perf_counter()
    sums = xd.pseudobulk(data, ["donor", "condition"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.XdelnxWarning)
        fit = xd.fit(sums, drawn.formula)
    seconds = time.perf_counter() - start
    return Outcome(
        fit["pval"].values[0],
        seconds,
        fit["log2fc"].values[0],
        fit["ci_low"].values[0],
        fit["ci_high"].values[0],
    )


def _donors(cell: Cell) -> bool:
    return cell.design == "donors"


def _anywhere(_cell: Cell) -> bool:
    return True


@dataclass(frozen=True)
class Method:
    """A method of xdelnx.

    Parameters
    ----------
    run
        From a data set to its outcome.
    where
        Whether it is of use in a cell.
    """

    run: Callable[[Drawn], Outcome]
    where: Callable[[Cell], bool] = _anywhere


METHODS = {
    "xdelnx": Method(fitted),
    "xdelnx true factors": Method(lambda drawn: fitted(drawn, size_factors="true_factor")),
    "xdelnx true factors and dispersions": Method(
        lambda drawn: fitted(
            drawn, size_factors="true_factor", overdispersion=drawn.dispersion, shrinkage=False
        ),
        lambda cell: cell.kind == "bulk" and cell.model == "nb" and not cell.outliers,
    ),
    "xdelnx invariant": Method(lambda drawn: fitted(drawn, size_factors="invariant")),
    "xdelnx tmm": Method(lambda drawn: fitted(drawn, size_factors="tmm"), lambda cell: cell.kind == "bulk"),
    "xdelnx edger": Method(lambda drawn: fitted(drawn, method="edger"), lambda cell: cell.kind == "bulk"),
    "xdelnx edger invariant": Method(
        lambda drawn: fitted(drawn, method="edger", size_factors="invariant"),
        lambda cell: cell.kind == "bulk",
    ),
    "xdelnx robust": Method(lambda drawn: fitted(drawn, robust=True)),
    "xdelnx cooks": Method(
        lambda drawn: fitted(drawn, cooks="replace", size_factors="tmm"), lambda cell: cell.outliers
    ),
    "xdelnx treat": Method(
        lambda drawn: fitted(drawn, threshold=THRESHOLD, size_factors="invariant"),
        lambda cell: cell.signal == "boundary",
    ),
    "xdelnx cluster": Method(lambda drawn: fitted(drawn, cluster="donor"), _donors),
    "xdelnx pseudobulk": Method(pseudobulk, _donors),
}
