"""Looking at a fit: residuals of every count, and how well a gene's model fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import Delayed
from scipy.special import chdtrc

from xdelnx.chunks import blocks, fitted_passes
from xdelnx.chunks.devices import resolve_device
from xdelnx.messages import closest, fail, shown
from xdelnx.progress import watched
from xdelnx.schema import GENE, SAMPLE, annotate
from xdelnx.steps.blockwise import Arrays
from xdelnx.steps.fit_residuals import KINDS, goodness_step, residual_step
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.fitted import Reopened, reopen
from xdelnx.verbs.inference import gene_positions
from xdelnx.verbs.inputs import as_flag
from xdelnx.verbs.labelled import history

DISPERSIONS = ("fit", "gene")


@watched
@any_dims
def residuals(
    data: Any,
    fit: xr.Dataset,
    *,
    kind: str = "deviance",
    genes: str | Sequence[Any] | None = None,
    dispersion: str = "fit",
    seed: int = 0,
    compute: bool = True,
    sample: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    gene: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    progress: bool | None = None,  # noqa: ARG001 - `watched` reads it
) -> xr.DataArray:
    """Residuals of the counts, or the leverage of the samples, of each gene or of chosen ones.

    With y a count, mu its fitted mean and theta the overdispersion:

    - ``deviance``: the root of the unit deviance, with the sign of y - mu;
    - ``pearson``: ``(y - mu) / sqrt(mu + theta mu^2)``;
    - ``randomized_quantile``: the normal quantile of a number between the probability of less than y and that
      of up to y, at random; standard normal where the model holds, whatever the counts (Dunn & Smyth 1996,
      doi:10.1080/10618600.1996.10474708). A gene's random numbers come from its name and the seed: the same
      in any chunks and any choice of genes. At most 37 in size;
    - ``working``: ``(y - mu) / mu``, and ``response``: ``y - mu``;
    - ``leverage``: the diagonal of the hat matrix, between 0 and 1.

    None is divided by the quasi-likelihood dispersion. With observation weights, deviance and Pearson residuals
    are times the root of the weight.

    Parameters
    ----------
    data
        The counts the fit was made from.
    fit
        What `fit` returned.
    kind
        One of those above.
    genes
        Names of genes, or one name; None: all of them.
    dispersion
        ``"fit"``: theta is that of the final fit, the trend under shrinkage. ``"gene"``: the gene's own
        estimate, as the Pearson residuals of R's glmGamPoi. Coefficients are those of the fit either way.
    seed
        For ``randomized_quantile``: 0 or a positive integer.
    compute
        False: return a Dask array, in the blocks of genes in which the counts are read. Each block is refused as
        not the fit's only where it alone has more than the totals of the fit.
    sample, gene
        As in `fit`.
    progress
        As in `fit`.

    Returns
    -------
    xarray.DataArray
        (sample, gene); NaN for genes without a count.

    Raises
    ------
    ValueError, TypeError
        A kind or gene is unknown, or the data is not what the fit was made from.

    Examples
    --------
    >>> import xdelnx as xd
    >>> ds = xd.simulate(n_samples=8, n_genes=300, seed=2)
    >>> fit = xd.fit(ds, "~condition")
    >>> residuals(ds, fit, kind="pearson", genes=["g3", "g10"]).sizes
    Frozen({'sample': 8, 'gene': 2})
    """
    if not isinstance(kind, str) or kind not in KINDS:
        fail(f"kind={kind!r} of residuals is unknown; {closest(str(kind), KINDS, 'kinds')}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        fail(f"seed is an integer, 0 or more; received {shown(seed)}")
    again = visited(data, fit, genes, dispersion)
    compute = as_flag(compute, "compute")
    names, n = again.table.genes, again.table.sample_names.size
    parts, bounds = _pass(
        again, lambda part: partial(_residuals, kind=kind, keys=names[part], seed=int(seed))
    )
    if compute:
        found = again.settled(fitted_passes.gathered_visits(parts, again.arrays, names), "residuals")
        values = found["residual"].T
    else:
        values = da.concatenate([_lazy(again, *each, n) for each in zip(parts, bounds, strict=True)], axis=1)
    labelled = xr.Dataset(
        {"residual": ((SAMPLE, GENE), values)},
        {SAMPLE: again.table.sample_names, GENE: names},
    )
    attrs = {"kind": kind, "dispersion": dispersion, "history": history("residuals", fit)}
    return annotate(labelled)["residual"].assign_attrs(attrs)


def _residuals(*given: Any, **options: Any) -> Arrays:
    """Residuals of a block with genes first, as all arrays are that are put together."""
    return {"residual": residual_step(*given, **options).T}


def _lazy(again: Reopened, part: Delayed, genes: slice, n_samples: int) -> da.Array:
    """Residuals of a block (sample, gene), when they are needed."""
    found = fitted_passes.one_visit(part, again.arrays, again.table.genes[genes])
    shape = genes.stop - genes.start, n_samples
    return blocks.pick(found, "residual", shape, np.float64).T


def visited(data: Any, fit: Any, genes: Any, dispersion: str) -> Reopened:
    """Reopen a fit at chosen genes, with the overdispersion that was asked for.

    Raises
    ------
    ValueError, TypeError
        As `xdelnx.verbs.fitted.reopen`, or the choice of overdispersion is unknown.
    """
    again = reopen(data, fit)
    if dispersion not in DISPERSIONS:
        fail(f"dispersion={dispersion!r} is unknown; choose 'fit' or 'gene'")
    if dispersion == "gene":
        again.arrays["theta"] = fit["dispersion"].data
    return again if genes is None else again.take(gene_positions(genes, again.table.genes))


def _pass(again: Reopened, step_of: Callable[[slice], Any]) -> tuple[list[Delayed], list[slice]]:
    """What the step for each block says of it, lazily, and the genes of the blocks."""
    plan = again.plan((), resolve_device("auto"))
    read = again.blocks(plan.device)
    return fitted_passes.visits(read, plan, again.scale(plan), again.arrays, step_of), read.bounds


@watched
@any_dims
def goodness_of_fit(
    data: Any,
    fit: xr.Dataset,
    *,
    genes: str | Sequence[Any] | None = None,
    dispersion: str = "fit",
    compute: bool = True,
    sample: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    gene: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    progress: bool | None = None,  # noqa: ARG001 - `watched` reads it
) -> xr.Dataset:
    """Deviance and Pearson statistic of each gene against its residual degrees of freedom.

    Where the overdispersion is right, both are about chi-squared on samples - coefficients degrees of
    freedom; a small p-value says that the gene varies more than the model has it. The approximation needs
    counts of some size: of small ones, the Pearson statistic stays closer. (McCarthy, Chen & Smyth 2012,
    doi:10.1093/nar/gks042.)

    Parameters
    ----------
    data, fit, genes, compute
        As for `residuals`.
    dispersion
        ``"fit"``: at the overdispersion of the final fit; under shrinkage that is the trend, and the genes
        with small p-values are those far above it. ``"gene"``: at the gene's own estimate.
    sample, gene
        As in `fit`.
    progress
        As in `fit`.

    Returns
    -------
    xarray.Dataset
        ``deviance``, ``deviance_pval``, ``pearson_statistic``, ``pearson_pval`` (gene), NaN for genes without
        a count, and ``residual_df`` (by gene where the fit has observation weights).

    Raises
    ------
    ValueError, TypeError
        A gene is unknown, or the data is not what the fit was made from.

    Examples
    --------
    >>> import xdelnx as xd
    >>> ds = xd.simulate(n_samples=8, n_genes=300, seed=2)
    >>> float(goodness_of_fit(ds, xd.fit(ds, "~condition"))["residual_df"])
    6.0
    """
    again = visited(data, fit, genes, dispersion)
    compute = as_flag(compute, "compute")
    n, p = again.model.matrix.shape
    parts, _ = _pass(again, lambda _part: goodness_step)
    visited_all = fitted_passes.gathered_visits(parts, again.arrays, again.table.genes)
    lazy = blocks.lazily(_with_pvalues, visited_all)
    result = again.settled(lazy, "goodness of fit") if compute else lazy
    shape = (again.table.genes.size,)
    names = ("deviance", "deviance_pval", "pearson_statistic", "pearson_pval")
    variables = {name: (GENE, blocks.pick(result, name, shape, np.float64)) for name in names}
    by_gene = (GENE, blocks.pick(result, "residual_df", shape, np.float64))
    df = ((), float(n - p)) if again.weights is None else by_gene
    labelled = xr.Dataset({**variables, "residual_df": df}, {GENE: again.table.genes})
    attrs = {"dispersion": dispersion, "history": history("goodness_of_fit", fit)}
    return annotate(labelled).assign_attrs(attrs)


def _with_pvalues(found: Arrays) -> Arrays:
    return found | {
        f"{what}_pval": chdtrc(found["residual_df"], found[name])
        for what, name in (("deviance", "deviance"), ("pearson", "pearson_statistic"))
    }
