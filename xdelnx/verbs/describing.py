"""A result in a few lines of words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import xarray as xr

from xdelnx.messages import counted, cut, fail, listing
from xdelnx.schema import CONTRAST, GENE, SAMPLE
from xdelnx.status import Status
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.skipped import NUMBER, REASON
from xdelnx.verbs.tables_for_others import each_contrast

FDR = 0.05
FAILED = (Status.COEFFICIENTS_NOT_CONVERGED, Status.DISPERSION_NOT_CONVERGED, Status.REDUCED_NOT_CONVERGED)
UNEVEN = 20.0  # largest over smallest size factor


@any_dims
def describe(result: xr.Dataset) -> str:
    """Say what a result is and what it found; its first line is a summary of its own.

    Parameters
    ----------
    result
        What `fit`, `test` or `rank_genes` returned.

    Returns
    -------
    str
        Size and design, genes found at a false discovery rate of 5 % in each contrast, genes that need a look, size
        factors, overdispersion and prior, and what to be wary of.

    Raises
    ------
    TypeError, ValueError
        It is something else.

    Examples
    --------
    >>> import xdelnx as xd
    >>> print(describe(xd.fit(xd.simulate(n_samples=12, n_genes=500, seed=1), "~ condition")))
    fit of ~ condition: 12 samples x 500 genes, 1 contrast, 7 of 470 tested genes at a false discovery rate of 5 %
    condition[T.B]: 7 of 470 tested genes at a false discovery rate of 5 % (5 up, 2 down)
    status of genes: 30 all_zero, 5 separated (all others ok)
    size factors normed_sum, 0.55 to 1.3; overdispersion 0.09 in the median gene; prior of 11.8 degrees of freedom
    """
    if not isinstance(result, xr.Dataset):
        msg = f"result is a Dataset that xdelnx returned, received {type(result).__name__}"
        raise TypeError(msg)
    if not {"pval", "beta"} & set(result.variables):
        fail(
            f"the Dataset is no result of fit, test or rank_genes; its variables are {listing(result.data_vars)}"
        )
    return "\n".join([_headline(result), *findings(result), *_estimates(result), *_cautions(result)])


def findings(result: xr.Dataset) -> Iterator[str]:
    """Say how many genes each contrast found, and how many genes need a look."""
    if "padj" in result:
        for label, one in each_contrast(result):
            yield f"{label}: {_found(one['padj'].values)}{_directions(one)}"
    if "status" in result:
        status = result["status"].values
        numbers = {kind.name.lower(): int((status == kind).sum()) for kind in Status if kind != Status.OK}
        notes = [f"{number:,} {name}" for name, number in numbers.items() if number]
        if notes:
            yield f"status of genes: {', '.join(notes)} (all others ok)"


def _found(padj: np.ndarray) -> str:
    tested = int(np.isfinite(padj).sum())
    return (
        f"{int((padj < FDR).sum()):,} of {tested:,} tested genes at a false discovery rate of {FDR * 100:g} %"
    )


def _directions(one: xr.Dataset) -> str:
    found = one["log2fc"].values[one["padj"].values < FDR]
    if not found.size or np.isnan(found).all():
        return ""
    return f" ({int((found > 0).sum()):,} up, {int((found < 0).sum()):,} down)"


def _headline(result: xr.Dataset) -> str:
    what = "fit" if "beta" in result else "marker genes" if "auroc" in result else "test"
    design = f" of {result.attrs['design_formula']}" if result.attrs.get("design_formula") else ""
    sizes = [counted(result.sizes[dim], dim) for dim in (SAMPLE, GENE) if dim in result.sizes]
    parts = [" x ".join(sizes)]
    if "padj" in result:
        parts += [counted(result.sizes.get(CONTRAST, 1), "contrast")]
        parts += [_found(np.asarray(result["padj"]))] if result["padj"].size == result.sizes[GENE] else []
    return f"{what}{design}: {', '.join(parts)}"


def _estimates(result: xr.Dataset) -> Iterator[str]:
    parts = []
    if "size_factor" in result:
        factors = result["size_factor"].values
        how = json.loads(result.attrs.get("options", "{}")).get("size_factors", "")
        parts += [f"size factors {how}, {factors.min():.2g} to {factors.max():.2g}"]
    if "dispersion" in result:
        parts += [f"overdispersion {float(np.nanmedian(result['dispersion'])):.2g} in the median gene"]
    if "prior_df" in result:
        parts += [f"prior of {float(np.nanmedian(result['prior_df'])):.3g} degrees of freedom"]
    if parts:
        yield "; ".join(parts)


def _cautions(result: xr.Dataset) -> Iterator[str]:
    """Say what a reader should be wary of."""
    if "prior_df" in result and np.isinf(result["prior_df"].values).all():
        yield (
            "caution: the prior has infinitely many degrees of freedom: genes differ no more in their variance than "
            "by chance, and every gene is given that of the trend"
        )
    if "size_factor" in result:
        factors = result["size_factor"].values
        if factors.max() > UNEVEN * factors.min():
            yield f"caution: size factors differ {factors.max() / factors.min():.0f}-fold: look at the smallest samples"
    if result.attrs.get(NUMBER):
        yield f"caution: {counted(result.attrs[NUMBER], 'gene')} could not be read: {cut(result.attrs[REASON], 400)}"
    if "status" in result:
        failed = int(np.isin(result["status"].values, FAILED).sum())
        if failed:
            yield f"caution: {counted(failed, 'gene')} did not converge; xarray's flag_advice of status says what to do"
