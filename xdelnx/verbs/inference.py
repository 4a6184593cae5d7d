"""What a fit says beyond its tests: the covariance of coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.chunks import blocks, fitted_passes
from xdelnx.chunks.devices import resolve_device
from xdelnx.messages import closest, counted, fail, listing
from xdelnx.progress import watched
from xdelnx.schema import COEFFICIENT, COEFFICIENT2, GENE, annotate
from xdelnx.verbs.clustering import clusters_of
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.fitted import reopen
from xdelnx.verbs.labelled import history


@watched
@any_dims
def covariance(
    data: Any,
    fit: xr.Dataset,
    genes: str | Sequence[Any] | None = None,
    *,
    compute: bool = True,
    sample: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    gene: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    progress: bool | None = None,  # noqa: ARG001 - `watched` reads it
) -> xr.DataArray:
    """Covariance of the coefficients of each gene, or of chosen ones.

    The inverse of the expected information at the fit, times the shrunken quasi-likelihood
    dispersion; without shrinkage, at the gene's own overdispersion and times 1. Of a fit with ``cluster=``
    it is robust to clusters (CR2). The variance of a
    contrast c is ``c' V c``, and the root of the diagonal is ``fit["standard_error"]``.

    Parameters
    ----------
    data
        The counts the fit was made from.
    fit
        What `fit` returned.
    genes
        Names of genes, or one name; None: all of them.
    compute
        False: return a Dask array.
    sample, gene
        As in `fit`.
    progress
        As in `fit`.

    Returns
    -------
    xarray.DataArray
        (gene, coefficient, coefficient2), on the scale of ``beta`` (natural log) squared. NaN for genes
        without a count.

    Raises
    ------
    ValueError, TypeError
        A gene is unknown, or the data is not what the fit was made from.

    Examples
    --------
    >>> import xdelnx as xd
    >>> ds = xd.simulate(n_samples=8, n_genes=300, seed=2)
    >>> fit = xd.fit(ds, "~condition")
    >>> covariance(ds, fit, ["g3", "g10"]).sizes
    Frozen({'gene': 2, 'coefficient': 2, 'coefficient2': 2})
    """
    whole = reopen(data, fit)
    names = whole.table.genes
    again = whole if genes is None else whole.take(gene_positions(genes, names))
    clusters = clusters_of(again.table, again.options.get("cluster"), again.model, ())
    plan = again.plan((), resolve_device("auto"), clusters=clusters)
    given = again.blocks(plan.device), plan, again.scale(plan), again.arrays, again.table.genes
    result = fitted_passes.covariance(*given)
    result = again.settled(result, "covariances") if compute else result
    coefficients = np.array(again.model.names, dtype=object)
    shape = (again.table.genes.size, coefficients.size, coefficients.size)
    labelled = xr.Dataset(
        {
            "covariance": (
                (GENE, COEFFICIENT, COEFFICIENT2),
                blocks.pick(result, "covariance", shape, np.float64),
            )
        },
        {GENE: again.table.genes, COEFFICIENT: coefficients, COEFFICIENT2: coefficients},
    )
    return annotate(labelled)["covariance"].assign_attrs(history=history("covariance", fit))


def gene_positions(genes: Any, names: np.ndarray) -> np.ndarray:
    """Where the chosen genes stand among all of them."""
    wanted = [genes] if isinstance(genes, str) or np.ndim(genes) == 0 else list(genes)
    place = {name: i for i, name in enumerate(names.tolist())}
    unknown = [name for name in wanted if name not in place]
    if unknown:
        near = closest(str(unknown[0]), names, "genes")
        fail(f"{counted(len(unknown), 'gene')} not in the fit: {listing(unknown, 5)}; {near}")
    if not wanted:
        fail("genes is empty; name some of the fit's genes, or leave it out for all of them")
    return np.array([place[name] for name in wanted])
