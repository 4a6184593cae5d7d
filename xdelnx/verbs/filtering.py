"""Filters of genes before a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.algorithms.expression import least_counts, samples_needed, smallest_group
from xdelnx.algorithms.survey import with_warnings
from xdelnx.chunks import blocks, factor_passes, passes
from xdelnx.chunks.group_passes import genes_with_enough
from xdelnx.designs.design import build_design
from xdelnx.messages import fail, shown
from xdelnx.progress import watched
from xdelnx.schema import GENE
from xdelnx.verbs import inputs
from xdelnx.verbs.aggregation import group_samples
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.inputs import Counts
from xdelnx.verbs.sizing import choose_factors


@watched
@any_dims
def filter_by_expression(
    data: Any,
    design: Any = None,
    *,
    group: str | Sequence[str] | None = None,
    min_count: float = 10.0,
    min_total_count: float = 15.0,
    large_n: float = 10.0,
    min_prop: float = 0.7,
    size_factors: Any = "normed_sum",
    counts: str = "counts",
    sample: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    gene: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    progress: bool | None = None,  # noqa: ARG001 - `watched` reads it
) -> xr.DataArray:
    """Genes with counts enough for a test, by edgeR's rule.

    A gene is kept if as many samples as the smallest group has reach ``min_count``, read as counts per
    million in a sample of median size, and if its counts add up to ``min_total_count``.

    Parameters
    ----------
    data
        As in `fit`.
    design
        Formula or matrix: its smallest group has 1 / (largest leverage) samples.
    group
        Instead: the column of the samples, or several, whose smallest group counts. Without either, all
        samples are one group.
    min_count
        Least count in a sample of median size.
    min_total_count
        Least sum of the gene's counts.
    large_n, min_prop
        Of a smallest group beyond ``large_n`` samples, only the proportion ``min_prop`` is asked for.
    size_factors
        As in `fit`: what the size of a sample is, ``"tmm"`` being edgeR's normalised library sizes.
    counts
        Name of the variable with the counts.
    sample, gene
        As in `fit`.
    progress
        As in `fit`.

    Returns
    -------
    xarray.DataArray
        bool (gene,), in memory: ``ds.isel(gene=keep)`` or ``ds.sel(gene=keep)``.

    Raises
    ------
    ValueError, TypeError
        As `fit`; both a design and groups; a threshold that is not a number, or negative.

    References
    ----------
    Chen, Lun & Smyth 2016, doi:10.12688/f1000research.8987.2.

    Examples
    --------
    >>> from xdelnx import simulate
    >>> ds = simulate(n_samples=8, n_genes=300, seed=1)
    >>> keep = filter_by_expression(ds, "~ condition")
    >>> int(keep.sum()), ds.isel(gene=keep).sizes["gene"]
    (212, 212)
    """
    table = inputs.as_counts(data, counts)
    thresholds = {"min_count": min_count, "min_total_count": min_total_count, "large_n": large_n}
    for name, value in (thresholds | {"min_prop": min_prop}).items():
        _check_threshold(value, name, 1.0 if name == "min_prop" else np.inf)
    needed = samples_needed(_smallest(table, design, group), large_n, min_prop)
    gene_blocks = blocks.gene_blocks(table.array)
    seen = blocks.settled(passes.survey(gene_blocks, table.genes), "first look at the counts")
    seen = with_warnings(seen)
    factors = blocks.settled(choose_factors(size_factors, table, gene_blocks, seen), "size factors")
    factors = blocks.called(factor_passes.factors_with_warning, factors, seen, table.sample_names)
    keep = blocks.settled(
        genes_with_enough(gene_blocks, least_counts(factors, min_count), needed, min_total_count),
        "filtering",
    )
    about = {"long_name": "whether the gene has counts enough for a test", "samples_needed": needed}
    return xr.DataArray(keep, {GENE: table.genes}, (GENE,), "keep", about)


def _smallest(table: Counts, design: Any, group: Any) -> float:
    """Samples of the smallest group."""
    if design is not None and group is not None:
        fail("design and group both say what the groups are; give one of them")
    if group is not None:
        return float(group_samples(table, group, "group").sizes.min())
    if design is None:
        return float(len(table.samples))
    if isinstance(design, str):
        inputs.check_columns(design, table)
    return smallest_group(build_design(table.samples, design).matrix)


def _check_threshold(value: Any, name: str, largest: float) -> None:
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        msg = f"{name} is one number, received {shown(value)}"
        raise TypeError(msg)
    if not 0.0 <= value <= largest or np.isinf(value):
        bounds = "0 or more" if np.isinf(largest) else f"from 0 to {largest:g}"
        fail(f"{name} is one number, {bounds}; received {value!r}")
