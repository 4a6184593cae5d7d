"""The verb `adjust`: adjusted p-values of a result, by another method or over more tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from xdelnx.adjustment import adjust_pvalues, check_method
from xdelnx.messages import closest, fail, listing
from xdelnx.schema import GENE

LONG_NAMES = {
    "bh": "Benjamini-Hochberg",
    "by": "Benjamini-Yekutieli",
    "holm": "Holm",
    "storey": "Storey's q-value",
}


def adjust(result: xr.Dataset, method: str = "bh", *, across: str | Sequence[str] = ()) -> xr.Dataset:
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

    Returns
    -------
    xarray.Dataset
        The result with another ``padj``; NaN p-values take no part and stay NaN.

    Raises
    ------
    ValueError
        An unknown method or dimension, or a result without tests.

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
    if "pval" not in result:
        fail(f"the result has no tests: expected a variable 'pval', found {listing(result.data_vars)}")
    together = [across] if isinstance(across, str) else list(across)
    for dim in together:
        if dim not in result["pval"].dims or dim == GENE:
            others = [name for name in result["pval"].dims if name != GENE]
            fail(
                f"across={dim!r} is not a dimension of the tests; {closest(str(dim), others, 'choose from')}"
            )
    return with_adjusted(result, method, together)


def with_adjusted(result: xr.Dataset, method: str, together: Sequence[str] = ()) -> xr.Dataset:
    """Put adjusted p-values into a result, if it has tests."""
    if "pval" not in result:
        return result
    return result.assign(padj=_adjusted(result["pval"], method, [*together]))


def _adjusted(pval: xr.DataArray, method: str, together: list[str]) -> xr.DataArray:
    core = [*together, GENE]
    adjusted = xr.apply_ufunc(
        _flat,
        pval,
        kwargs={"method": method, "axes": len(core)},
        input_core_dims=[core],
        output_core_dims=[core],
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True},
        output_dtypes=[float],
    ).transpose(*pval.dims)
    where = f", over {listing(together)}" if together else ""
    name = f"p-value adjusted for multiple testing ({LONG_NAMES[method]}{where})"
    return adjusted.assign_attrs(long_name=name, units="1")


def _flat(pval: np.ndarray, method: str, axes: int) -> np.ndarray:
    """Adjust over the last axes together."""
    shape = pval.shape
    return adjust_pvalues(pval.reshape(*shape[: len(shape) - axes], -1), method).reshape(shape)
