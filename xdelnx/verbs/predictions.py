"""Fitted means of a fit, for its own samples or for new ones, with their standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.chunks import fitted_passes
from xdelnx.chunks.devices import resolve_device
from xdelnx.designs.design import as_matrix
from xdelnx.designs.model_matrix import rows_of
from xdelnx.messages import fail, listing, shown
from xdelnx.progress import watched
from xdelnx.schema import GENE, SAMPLE, annotate
from xdelnx.verbs.clustering import clusters_of
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.fitted import Reopened
from xdelnx.verbs.inputs import as_flag
from xdelnx.verbs.labelled import history
from xdelnx.verbs.looking import visited

SCALES = ("response", "link")


@watched
@any_dims
def predict(
    data: Any,
    fit: xr.Dataset,
    newdata: Any = None,
    *,
    genes: str | Sequence[Any] | None = None,
    scale: str = "response",
    size_factor: Any = None,
    standard_error: bool = True,
    unscaled: bool = False,
    dispersion: str = "fit",
    sample: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    gene: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    progress: bool | None = None,  # noqa: ARG001 - `watched` reads it
) -> xr.Dataset:
    """Fitted means of genes, for the samples of the fit or for others, with standard errors.

    The linear predictor is ``x' beta + log(size_factor)`` and its standard error ``sqrt(x' V x)`` for the
    `covariance` V; on the scale of counts the error is that times the mean (delta method).

    Parameters
    ----------
    data, fit
        The counts, and what `fit` returned.
    newdata
        None: the samples of the fit, at their own size factors and offsets. A DataFrame of sample metadata, a
        row per new sample, with the columns of the fit's formula; or a matrix (sample, coefficient) as for
        `fit`. A DataFrame with the columns of the design matrix is such a matrix.
    genes
        Names of genes, or one name; None: all of them.
    scale
        ``"response"``: means of counts. ``"link"``: their natural log.
    size_factor
        Of the new samples: a positive number, or one for each; by default 1.
    standard_error
        Whether to compute standard errors too, which takes a pass over the data.
    unscaled
        True: without the quasi-likelihood dispersion, as R's ``predict(se.fit = TRUE)`` for glmGamPoi (which
        also has ``dispersion="gene"``).
    dispersion
        ``"fit"`` or ``"gene"``: overdispersion in the standard errors, as for `residuals`.
    sample, gene
        As in `fit`.
    progress
        As in `fit`.

    Returns
    -------
    xarray.Dataset
        ``prediction`` and, where asked for, ``prediction_se`` (sample, gene), NaN for genes without a count.

    Raises
    ------
    ValueError, TypeError
        New samples lack a column, have a level the fit has not seen, or another number of coefficients; or as
        `residuals`.

    Examples
    --------
    >>> import pandas as pd
    >>> import xdelnx as xd
    >>> ds = xd.simulate(n_samples=8, n_genes=300, seed=2)
    >>> fit = xd.fit(ds, "~condition")
    >>> predict(ds, fit, pd.DataFrame({"condition": ["A", "B"]}, ["a", "b"]), genes=["g3"]).sizes
    Frozen({'sample': 2, 'gene': 1})
    """
    if scale not in SCALES:
        fail(f"scale={scale!r} of a prediction is unknown; choose 'response' or 'link'")
    again = visited(data, fit, genes, dispersion)
    rows, names, offset = _new_rows(again, newdata, size_factor)
    eta = rows @ np.asarray(again.arrays["beta"]).T + offset
    values = {"prediction": eta if scale == "link" else np.exp(eta)}
    if as_flag(standard_error, "standard_error"):
        error = _errors(again, rows, unscaled=as_flag(unscaled, "unscaled"))
        values["prediction_se"] = error if scale == "link" else error * values["prediction"]
    labelled = annotate(
        xr.Dataset(
            {name: ((SAMPLE, GENE), array) for name, array in values.items()},
            {SAMPLE: names, GENE: again.table.genes},
        )
    )
    for name in values:
        labelled[name].attrs["units"] = "log" if scale == "link" else "1"
    attrs = {"scale": scale, "dispersion": dispersion, "history": history("predict", fit)}
    return labelled.assign_attrs(attrs)


def _new_rows(again: Reopened, newdata: Any, size_factor: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Rows of the design, their names, and the log scale (sample, 1) or (sample, gene)."""
    if newdata is None:
        if size_factor is not None:
            fail("size_factor is that of new samples, and newdata is None; leave it out")
        by_sample, by_entry = again.offset
        offset = np.log(np.asarray(again.arrays["size_factor"]))[:, None]
        offset = offset if by_sample is None else offset + by_sample[:, None]
        offset = offset if by_entry is None else offset + np.asarray(by_entry)
        return again.model.matrix, again.table.sample_names, offset
    rows, names = _rows(again, newdata)
    factors = np.asarray(1.0 if size_factor is None else size_factor, dtype=float)
    if factors.shape not in {(), (len(rows),)} or not (np.isfinite(factors) & (factors > 0.0)).all():
        fail(
            f"size_factor is a positive number, or one for each of {len(rows)} new samples; "
            f"received {shown(size_factor)}"
        )
    return rows, names, np.log(np.broadcast_to(factors, len(rows)))[:, None]


def _rows(again: Reopened, newdata: Any) -> tuple[np.ndarray, np.ndarray]:
    model = again.model
    frame = isinstance(newdata, pd.DataFrame)
    if frame and model.formula is not None and tuple(map(str, newdata.columns)) != model.names:
        rows = rows_of(model.formula, again.table.samples, model.reference, newdata)
        return rows, newdata.index.to_numpy(dtype=object)
    labels = newdata.index if frame else pd.RangeIndex(len(newdata))
    rows, names = as_matrix(newdata, labels)
    if rows.shape[1] != len(model.names) or (frame and names != model.names):
        fail(
            f"newdata has the columns {listing(names)}; the design of the fit has {listing(model.names)}, in this order"
        )
    return rows, np.asarray(labels)


def _errors(again: Reopened, rows: np.ndarray, *, unscaled: bool) -> np.ndarray:
    """Standard errors (sample, gene) of the linear predictor."""
    clusters = clusters_of(again.table, again.options.get("cluster"), again.model, ())
    arrays = {k: v for k, v in again.arrays.items() if not (unscaled and k == "ql_dispersion_shrunken")}
    plan = again.plan((), resolve_device("auto"), clusters=clusters)
    given = again.blocks(plan.device), plan, again.scale(plan), arrays, again.table.genes
    found = again.settled(fitted_passes.covariance(*given), "standard errors")
    return np.sqrt(np.einsum("rp,gpq,rq->rg", rows, found["covariance"], rows, optimize=True))
