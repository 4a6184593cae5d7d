"""The verb `adjust`: adjusted p-values of a result, by another method or over more tests at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.algorithms.adjustment import METHODS, adjust_pvalues, check_method
from xdelnx.algorithms.independent_filtering import kept
from xdelnx.checks import check_result
from xdelnx.messages import closest, fail, listing
from xdelnx.schema import GENE, arranged
from xdelnx.verbs.dimensions import any_dims

LONG_NAMES = {
    "bh": "Benjamini-Hochberg",
    "by": "Benjamini-Yekutieli",
    "holm": "Holm",
    "storey": "Storey's q-value",
}


@any_dims
def adjust(
    result: xr.Dataset,
    method: str = "bh",
    *,
    across: str | Sequence[str] = (),
    filter_by: Any = None,
    alpha: float = 0.05,
) -> xr.Dataset:
    """Adjust the p-values of a result anew.

    Parameters
    ----------
    result
        What `fit`, `test` or `rank_genes` returned.
    method
        ``"bh"`` (Benjamini & Hochberg 1995), ``"by"`` (Benjamini & Yekutieli 2001: under any dependence of
        the tests), ``"holm"`` (Holm 1979: the chance of a single false discovery) or ``"storey"``
        (q-values: Storey & Tibshirani 2003, the share of true nulls by the bootstrap of Storey, Taylor & Siegmund
        2004 in closed form).
    across
        Dimensions whose tests are adjusted together with the genes', such as ``"contrast"``; otherwise each
        contrast is adjusted on its own.
    filter_by
        Independent filtering: a variable of the result along ``gene``, such as ``"mean"``, or a DataArray of
        that kind (a fit's ``mean``, for a result of `test`). Genes below a cut take no part, and their ``padj``
        is NaN; the cut is the lowest that leaves about as many genes significant as any. It must not depend on
        what is tested: the mean over all samples does not.
    alpha
        Level at which significant genes are counted for the cut.

    Returns
    -------
    xarray.Dataset
        The result with another ``padj``; NaN p-values take no part and stay NaN.

    Raises
    ------
    ValueError
        An unknown method or dimension, a result without tests, or a filter that is not there or not along
        ``gene``.

    References
    ----------
    Bourgon, Gentleman & Huber 2010, doi:10.1073/pnas.0914005107; Love, Huber & Anders 2014,
    doi:10.1186/s13059-014-0550-8, for ``filter_by``.

    Examples
    --------
    >>> import xarray as xr
    >>> pval = ("contrast", "gene"), [[0.01, 0.02], [0.03, 0.5]]
    >>> result = xr.Dataset({"pval": pval})
    >>> adjust(result, "holm")["padj"].values.tolist()
    [[0.02, 0.02], [0.06, 0.5]]
    >>> adjust(result, "holm", across="contrast")["padj"].values.tolist()
    [[0.04, 0.06], [0.06, 0.5]]
    """
    check_method(method)
    check_result(result)
    if "pval" not in result:
        fail(f"the result has no tests: expected a variable 'pval', found {listing(result.data_vars)}")
    together = [across] if isinstance(across, str) else list(across)
    for dim in together:
        if dim not in result["pval"].dims or dim == GENE:
            others = [name for name in result["pval"].dims if name != GENE]
            fail(
                f"across={dim!r} is not a dimension of the tests; {closest(str(dim), others, 'choose from')}"
            )
    return with_adjusted(result, method, together, _filter(result, filter_by), _level(alpha))


def _level(alpha: Any) -> float:
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0.0 < alpha < 1.0:
        fail(f"alpha={alpha!r} is a false discovery rate, a number between 0 and 1")
    return float(alpha)


def _filter(result: xr.Dataset, filter_by: Any) -> xr.DataArray | None:
    """Values to filter by, with the dimensions of the p-values."""
    if filter_by is None:
        return None
    if isinstance(filter_by, str):
        names = [str(name) for name, values in result.data_vars.items() if GENE in values.dims]
        if filter_by not in names:
            fail(
                f"filter_by={filter_by!r} is not a variable of the result along {GENE!r}; "
                f"{closest(filter_by, names, 'it has')}; for a result of test pass the fit's: filter_by=fit['mean']"
            )
        filter_by = result[filter_by]
    if not isinstance(filter_by, xr.DataArray) or GENE not in filter_by.dims:
        msg = f"filter_by is the name of a variable or a DataArray along {GENE!r}, not {type(filter_by).__name__}"
        raise TypeError(msg)
    pval = result["pval"]
    if not filter_by.get_index(GENE).equals(pval.get_index(GENE)) or set(filter_by.dims) - set(pval.dims):
        fail(f"filter_by has other genes or dimensions ({listing(filter_by.dims)}) than the tests")
    return filter_by.fillna(0.0).broadcast_like(pval).transpose(*pval.dims)


def with_adjusted(
    result: xr.Dataset,
    method: str,
    together: Sequence[str] = (),
    filter_by: xr.DataArray | None = None,
    alpha: float = 0.05,
) -> xr.Dataset:
    """Put adjusted p-values into a result, if it has tests."""
    if "pval" not in result:
        return result
    adjusted = _adjusted(result["pval"], method, [*together], filter_by, alpha)
    return arranged(result.assign(padj=adjusted.variable))  # coordinates keep their attributes


def _adjusted(
    pval: xr.DataArray, method: str, together: list[str], filter_by: xr.DataArray | None, alpha: float
) -> xr.DataArray:
    core = [*together, GENE]
    inputs = [pval] if filter_by is None else [pval, filter_by]
    adjusted = xr.apply_ufunc(
        _flat,
        *inputs,
        kwargs={"method": method, "axes": len(core), "alpha": alpha},
        input_core_dims=[core] * len(inputs),
        output_core_dims=[core],
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True},
        output_dtypes=[float],
    ).transpose(*pval.dims)
    cut = "" if filter_by is None else ", after independent filtering"
    where = f", over {listing(together)}" if together else ""
    name = f"p-value adjusted for multiple testing ({LONG_NAMES[method]}{where}{cut})"
    return adjusted.assign_attrs(long_name=name, units="1")


def _flat(
    pval: np.ndarray, filter_by: np.ndarray | None = None, *, method: str, axes: int, alpha: float
) -> np.ndarray:
    """Adjust over the last axes together."""
    shape = pval.shape
    flat = pval.reshape(*shape[: len(shape) - axes], -1)
    if filter_by is not None:
        filters, flat = filter_by.reshape(flat.shape), flat.copy()
        for at in np.ndindex(flat.shape[:-1]):
            flat[at][~kept(flat[at], filters[at], alpha, METHODS[method])] = np.nan
    return adjust_pvalues(flat, method).reshape(shape)
