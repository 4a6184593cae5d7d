"""Observation weights as the user gives them, and whether they go with the design and the other options."""

from __future__ import annotations

from typing import Any

import numpy as np

from xdelnx.designs.design import Design, check_weighted
from xdelnx.messages import fail
from xdelnx.verbs import inputs
from xdelnx.verbs.inputs import Counts


def weights_of(
    table: Counts, weights: Any, model: Design, *, cooks: str | None = None
) -> tuple[Any, str | None]:
    """Return weights, (sample,) or (sample, gene), and the name of their variable if they have one; None for none.

    Raises
    ------
    ValueError, TypeError
        They are no weights, leave too little of the design, or do not go with another option.
    """
    values, name = inputs.as_weights(weights, table)
    if values is None:
        return None, None
    if np.ndim(values) == 1:
        check_weighted(model, values)
    if cooks is not None:
        fail(
            f"cooks={cooks!r} compares a count with its replicates as if all weights were 1; leave out one, or give "
            "outliers a weight of 0"
        )
    return values, name


def residual_df_of(model: Design, weights: Any) -> int:
    """Samples, those of weight above 0 where weights are by sample, less coefficients."""
    n_samples, n_coefficients = model.matrix.shape
    return (np.count_nonzero(weights) if np.ndim(weights) == 1 else n_samples) - n_coefficients
