"""Fold changes shrunken towards zero by how well each is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy.special import ndtri

from xdelnx.algorithms.mixture import COMPONENTS, fit_prior, posterior, s_values, t_estimates
from xdelnx.algorithms.significance import CONFIDENCE, LARGEST_LOG2FC
from xdelnx.messages import fail, listing
from xdelnx.schema import COMPONENT, GENE, annotate
from xdelnx.storage.stores import zarr_safe
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.labelled import history

NEEDED = ("coef", "lfc_se", "pval", "df2")
REFERENCES = "Stephens 2017, doi:10.1093/biostatistics/kxw041"


@any_dims
def shrink_lfc(result: xr.Dataset) -> xr.Dataset:
    """Shrink log2 fold changes adaptively, and say how sure the sign of each is ("ash").

    A prior for the fold changes of all genes, a mixture of normals around zero, is estimated for each
    contrast; each gene's shrunken fold change is its posterior mean. Fold changes that are as noisy as
    those of unchanged genes end near zero, large ones that are well measured hardly move. Fit for
    ranking and plotting; ``s_value`` calls genes by the sign, where ``padj`` calls them by any change.

    Parameters
    ----------
    result
        What `fit` or `test` returned.

    Returns
    -------
    xarray.Dataset
        ``log2fc_shrunken``, ``s_value``, and the ends of the 95 % posterior interval ``shrunken_low``
        and ``shrunken_high``, (contrast, gene); ``prior_scale`` and ``prior_weight`` (contrast,
        component), the prior. NaN for joint tests and genes without a test.

    Raises
    ------
    ValueError, TypeError
        The result has no fold changes with standard errors.

    Notes
    -----
    The estimates are taken as Student's t around the fold changes. One beyond +-10 (a group without
    counts, most often) has no standard error to speak of: it counts as +-10, normal, with the error
    that its test's p-value implies.

    References
    ----------
    Stephens 2017, doi:10.1093/biostatistics/kxw041.

    Examples
    --------
    >>> import xdelnx as xd
    >>> fit = xd.fit(xd.simulate(n_samples=8, n_genes=300, seed=2), "~condition")
    >>> shrunken = shrink_lfc(fit)
    >>> bool((abs(shrunken["log2fc_shrunken"]) <= abs(fit["log2fc"])).sum() > 250)
    True
    """
    tests = _tests(result)
    names = ("log2fc_shrunken", "s_value", "shrunken_low", "shrunken_high", "prior_scale", "prior_weight")
    arrays = xr.apply_ufunc(
        _shrink,
        *_estimates(tests),
        input_core_dims=[[GENE]] * 3,
        output_core_dims=[[GENE]] * 4 + [[COMPONENT]] * 2,
        vectorize=True,
    )
    shrunken = xr.Dataset(dict(zip(names, arrays, strict=True)))
    shrunken.attrs = {
        name: result.attrs[name] for name in ("source", "design_formula") if name in result.attrs
    }
    shrunken.attrs |= {
        "title": "Differential expression: shrunken fold changes",
        "references": REFERENCES,
        "history": history("shrink_lfc", result),
    }
    return zarr_safe(annotate(shrunken))


def _tests(result: Any) -> xr.Dataset:
    """What is needed of a result, in memory; raises if it is not there."""
    if not isinstance(result, xr.Dataset):
        msg = (
            f"result is the Dataset that xdelnx.fit or xdelnx.test returned, received {type(result).__name__}"
        )
        raise TypeError(msg)
    missing = [name for name in NEEDED if name not in result]
    if missing:
        fail(
            f"the result has no fold changes with standard errors: it lacks {listing(missing)}; pass what xdelnx.test "
            "returned, or xdelnx.fit with contrasts"
        )
    tests = result[list(NEEDED)].compute()
    if not np.isfinite(tests["lfc_se"]).any():
        fail("no fold change to shrink: joint tests have none; test coefficients or differences of them")
    return tests


def _estimates(tests: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Log2 fold changes, clipped, with their errors and the degrees of freedom of these."""
    raw = tests["coef"] / np.log(2.0)
    measured = np.abs(raw) <= LARGEST_LOG2FC
    z = -xr.apply_ufunc(ndtri, 0.5 * tests["pval"].clip(1e-300, 0.999))
    return (
        raw.clip(-LARGEST_LOG2FC, LARGEST_LOG2FC),
        tests["lfc_se"].where(measured, LARGEST_LOG2FC / z),
        tests["df2"].where(measured, np.inf),
    )


def _shrink(value: np.ndarray, error: np.ndarray, df: np.ndarray) -> tuple[np.ndarray, ...]:
    """Shrink the effects (gene,) of one contrast; NaN where an error is not finite."""
    fine = np.isfinite(value) & np.isfinite(error)
    if not fine.any():
        return (*np.full((4, value.size), np.nan), *np.full((2, COMPONENTS), np.nan))
    estimates = t_estimates(value[fine], error[fine], df[fine])
    prior = fit_prior(estimates)
    after = posterior(prior, estimates, CONFIDENCE)
    by_gene = np.full((4, value.size), np.nan)
    by_gene[:, fine] = after.mean, s_values(after.false_sign), after.low, after.high
    return (*by_gene, prior.scale, prior.weight)
