"""Normalised values to look at, and offsets that take transcript lengths out."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.algorithms.normalized import acosh_transform, log_cpm, relative_lengths
from xdelnx.algorithms.survey import with_warnings
from xdelnx.chunks import blocks, factor_passes, passes
from xdelnx.messages import closest, fail, listing
from xdelnx.progress import watched
from xdelnx.schema import GENE, SAMPLE
from xdelnx.verbs import inputs
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.sizing import choose_factors

METHODS = ("log_cpm", "acosh")
UNITS = {"log_cpm": "log2 counts per million", "acosh": "1"}


@watched
@any_dims
def normalize(
    data: Any,
    method: str = "log_cpm",
    *,
    size_factors: Any = "normed_sum",
    prior_count: float = 2.0,
    overdispersion: Any = 0.05,
    counts: str = "counts",
    sample: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    gene: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    progress: bool | None = None,  # noqa: ARG001 - `watched` reads it
) -> xr.DataArray:
    """Normalised values, for plots and distances; not for tests, which need the counts.

    Parameters
    ----------
    data
        As in `fit`.
    method
        ``"log_cpm"``: log2 of counts per million of a library, with a prior count; ``"acosh"``: the transform
        that makes the variance of a negative binomial about 1.
    size_factors
        As in `fit`. A library's effective size is its factor times the geometric mean of all totals.
    prior_count
        For log-CPM: added to every count, in proportion to the library (twice it to the library).
    overdispersion
        For acosh: a number, or one a gene, such as a fit's ``dispersion_trend``, by its names of genes where it has
        some; NaN of a gene is taken as 0.
    counts
        Name of the variable with the counts.
    sample, gene
        As in `fit`.
    progress
        As in `fit`.

    Returns
    -------
    xarray.DataArray
        (sample, gene), with the coordinates of the data; lazy, in blocks of genes, where the counts are lazy.
        The size factors are computed at once.

    Raises
    ------
    ValueError, TypeError
        As `fit`; an unknown method, a prior count or overdispersion that is negative.

    References
    ----------
    Chen, Lun & Smyth 2016, doi:10.12688/f1000research.8987.2 (log-CPM, as edgeR's cpm);
    Ahlmann-Eltze & Huber 2023, doi:10.1038/s41592-023-01814-1 (acosh).

    Examples
    --------
    >>> from xdelnx import simulate
    >>> values = normalize(simulate(n_samples=6, n_genes=50, seed=2))
    >>> values.dims, values.attrs["units"]
    (('sample', 'gene'), 'log2 counts per million')
    """
    table = inputs.as_counts(data, counts)
    if method not in METHODS:
        fail(f"unknown method {method!r}; {closest(str(method), METHODS, 'choose one of')}")
    prior = inputs.as_amount(prior_count, "prior_count")
    theta = inputs.given_overdispersions(overdispersion, table, nan=0.0)
    theta = np.broadcast_to(theta, table.genes.size)
    gene_blocks = blocks.gene_blocks(table.array)
    seen = blocks.settled(passes.survey(gene_blocks, table.genes), "first look at the counts")
    seen = with_warnings(seen)
    factors = blocks.settled(choose_factors(size_factors, table, gene_blocks, seen), "size factors")
    factors = blocks.called(factor_passes.factors_with_warning, factors, seen, table.sample_names)
    if method == "log_cpm":
        totals = seen.totals[seen.totals > 0.0]
        library = factors * np.exp(np.mean(np.log(totals)))
        values = blocks.by_block(gene_blocks, partial(log_cpm, prior_count=prior), library=library)
    else:
        values = blocks.by_block(gene_blocks, acosh_transform, theta, factors=factors)
    if gene_blocks.in_memory:
        values = blocks.settled(values, "normalising")
    coords = table.dataset.drop_vars(list(table.dataset.data_vars)).coords
    result = xr.DataArray(values, coords, (SAMPLE, GENE), name=method)
    return result.assign_attrs(long_name=f"{method} of {counts}", units=UNITS[method])


@any_dims
def length_offset(
    lengths: Any,
    data: Any = None,
    *,
    method: str | None = None,
    counts: str = "counts",
    sample: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    gene: str | None = None,  # noqa: ARG001 - `any_dims` reads it
) -> xr.DataArray:
    """Offset that takes effective transcript lengths out, as tximport's vignette makes it for edgeR.

    Parameters
    ----------
    lengths
        (sample, gene) DataArray of average effective lengths, as tximport gives them (transposed), positive.
    data, method, counts
        With data and a method of `size_factors`: the size factors of the counts divided by the relative
        lengths are put in, too; pass ``size_factors=None`` to the fit then. Names of samples and genes, where the
        lengths have some, are those of the data, in the same order.
    sample, gene
        As in `fit`.

    Returns
    -------
    xarray.DataArray
        (sample, gene), natural log: of each length relative to the gene's geometric mean over the samples,
        and of the size factor where there is one. For ``fit(..., offset=)``.

    Raises
    ------
    ValueError, TypeError
        Lengths that are not positive, or not (sample, gene); data without a method, or a method without data;
        lengths of other samples or genes than the data's, or in another order.

    References
    ----------
    Soneson, Love & Robinson 2015, doi:10.12688/f1000research.7563.2.

    Examples
    --------
    >>> lengths = xr.DataArray([[100.0, 300.0], [400.0, 300.0]], dims=("sample", "gene"))
    >>> np.exp(length_offset(lengths)).values.round(6).tolist()
    [[0.5, 1.0], [2.0, 1.0]]
    """
    if not isinstance(lengths, xr.DataArray) or set(lengths.dims) != {SAMPLE, GENE}:
        dims = f" ({listing(lengths.dims)})" if isinstance(lengths, xr.DataArray) else ""
        msg = f"lengths are a DataArray ({SAMPLE}, {GENE}), received {type(lengths).__name__}{dims}"
        raise TypeError(msg)
    if (data is None) != (method is None):
        fail(
            "length_offset takes data and method together: the counts, and how their size factors are computed"
        )
    lengths = lengths.transpose(SAMPLE, GENE)
    values = np.asarray(lengths.values, dtype=np.float64)
    if not (np.isfinite(values) & (values > 0.0)).all():
        fail("lengths are positive numbers, received some that are not; fill in those of genes without one")
    offset = np.log(relative_lengths(values))
    if data is not None:
        table = inputs.as_counts(data, counts)
        inputs.per_entry(lengths, table, "lengths")
        from xdelnx.verbs.sizing import size_factors

        corrected = xr.Dataset({"counts": ((SAMPLE, GENE), np.asarray(table.array) / np.exp(offset))})
        factors = size_factors(corrected, method=str(method))
        offset = offset + np.log(factors.values)[:, None]
    return lengths.copy(data=offset).rename("offset").assign_attrs(long_name="offset", units="1")
