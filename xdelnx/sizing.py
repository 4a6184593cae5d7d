"""Size factors of the samples, computed by a method or given."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xdelnx import blocks, inputs, passes
from xdelnx.inputs import Counts
from xdelnx.messages import closest, fail
from xdelnx.scaling import METHODS
from xdelnx.schema import SAMPLE, annotate
from xdelnx.survey import with_warnings


def size_factors(data: Any, *, method: str = "normed_sum", counts: str = "counts") -> xr.DataArray:
    """Size factors of the samples, scaled to geometric mean 1.

    Parameters
    ----------
    data
        As in `fit`.
    method
        ``"normed_sum"``: library totals; ``"ratio"``: median ratio to the geometric mean over genes
        without a zero (Anders & Huber 2010); ``"poscounts"``: the same over positive counts;
        ``"tmm"``: trimmed mean of M-values times library total (Robinson & Oshlack 2010).
    counts
        Name of the variable with the counts.

    Returns
    -------
    xarray.DataArray
        (sample,). A sample without counts gets 0.001, and a warning names it.

    Raises
    ------
    ValueError
        Unknown method, values that are not counts, or no gene that the method can use.
    """
    table = inputs.as_counts(data, counts)
    if method not in METHODS:
        fail(f"unknown method {method!r}; {closest(str(method), METHODS, 'choose one of')}")
    gene_blocks = blocks.gene_blocks(table.array)
    seen = blocks.called(with_warnings, blocks.settled(passes.survey(gene_blocks, table.genes)))
    factors = blocks.settled(passes.size_factors(gene_blocks, seen, method))
    factors = blocks.called(passes.factors_with_warning, factors, seen, table.sample_names)
    values = xr.Dataset({"size_factor": (SAMPLE, factors)}, {SAMPLE: table.sample_names})
    return annotate(values)["size_factor"]


def choose_factors(choice: Any, table: Counts, gene_blocks: blocks.Blocks, seen: Any) -> Any:
    """Size factors (sample,), lazily where a method computes them from lazy counts."""
    if choice is None or (isinstance(choice, str) and choice == "none"):
        return np.ones(len(table.samples))
    if isinstance(choice, str) and choice in METHODS:
        return passes.size_factors(gene_blocks, seen, choice)
    if isinstance(choice, str):
        if choice not in table.dataset.variables:
            known = [*METHODS, "none", *table.samples.columns]
            fail(
                f"size_factors={choice!r} is neither a method nor a column of the samples; "
                f"{closest(choice, known, 'choose one of')}"
            )
        choice = inputs.numeric_variable(table, choice, "size_factors")
    return inputs.positive_per_sample(choice, table, "size_factors")
