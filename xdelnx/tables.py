"""Tables of a result: the genes of one contrast, best first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xdelnx.messages import closest, fail, listing
from xdelnx.schema import CONTRAST, GENE

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

COLUMNS = ("log2fc", "coef", "stat", "pval", "padj")


def one_contrast(result: xr.Dataset, contrast: str | None = None) -> xr.Dataset:
    """Pick the tests of one contrast out of a result.

    Parameters
    ----------
    result
        What `fit` or `test` returned.
    contrast
        Label of the contrast; not needed where the result holds a single one.

    Returns
    -------
    xarray.Dataset
        The statistics (gene) of that contrast, in memory; the coordinate `contrast` is a scalar.

    Raises
    ------
    ValueError
        If the result has no tests, or several and none was chosen, or the label is not among them.
    """
    if "pval" not in result:
        fail(
            f"the result has no tests: expected a variable 'pval', found {listing(result.data_vars)}. "
            "Make some with xdelnx.test(data, fit, contrast), or fit(..., contrasts='last')."
        )
    others = [str(dim) for dim in result["pval"].dims if dim not in (CONTRAST, GENE)]
    if others:
        labels = listing(result[others[0]].values)
        fail(
            f"the result has groups along {others[0]!r}: choose one with .sel({others[0]}=), out of {labels}"
        )
    tests = result[[name for name in (*COLUMNS, "mean") if name in result]]
    if CONTRAST in result["pval"].dims:
        tests = tests.isel({CONTRAST: _position([str(c) for c in result[CONTRAST].values], contrast)})
    elif contrast is not None and CONTRAST in result.coords and contrast != str(result[CONTRAST].values):
        fail(f"the result holds {str(result[CONTRAST].values)!r} alone; received contrast={contrast!r}")
    return tests.compute()


def _position(labels: list[str], contrast: str | None) -> int:
    """Where the wanted contrast stands among the labels of a result."""
    if contrast is None:
        if len(labels) == 1:
            return 0
        fail(f"the result holds {len(labels)} contrasts: choose one with contrast=, out of {listing(labels)}")
    if contrast not in labels:
        fail(f"no contrast {contrast!r} in the result; {closest(str(contrast), labels, 'contrasts')}")
    return labels.index(contrast)


def top_table(result: xr.Dataset, contrast: str | None = None, *, n: int | None = None) -> pd.DataFrame:
    """Genes of one contrast as a table, smallest p-value first.

    Parameters
    ----------
    result
        What `fit` or `test` returned.
    contrast
        Label of the contrast (`result["contrast"]`); needed only where the result holds several.
    n
        Number of rows; all of them by default.

    Returns
    -------
    pandas.DataFrame
        Columns `feature` (the gene), `log2fc` (log2 scale, clipped to +-10), `coef` (natural log), `stat`
        (F statistic), `pval` and `padj` (adjusted within the contrast). Sorted by p-value, then by the size
        of the statistic, then by name; genes without a test (no count at all) come last, as NaN.

    Raises
    ------
    ValueError
        If the result has no tests, the contrast is missing or unknown, or `n` is negative.

    Examples
    --------
    >>> import xarray as xr
    >>> tests = {"log2fc": [0.1, 2.0], "coef": [0.07, 1.39], "stat": [0.2, 30.0]}
    >>> tests |= {"pval": [0.6, 1e-4], "padj": [0.6, 2e-4]}
    >>> result = xr.Dataset({k: ("gene", v) for k, v in tests.items()}, coords={"gene": ["ACTB", "GLI3"]})
    >>> print(top_table(result).to_string(index=False))
    feature  log2fc  coef  stat   pval   padj
       GLI3     2.0  1.39  30.0 0.0001 0.0002
       ACTB     0.1  0.07   0.2 0.6000 0.6000
    """
    import pandas as pd

    if n is not None and n < 0:
        fail(f"n is a number of rows, 0 or more; received {n!r}")
    tests = one_contrast(result, contrast)
    columns = {"feature": tests[GENE].values.astype(object)}
    columns |= {name: tests[name].values for name in COLUMNS}
    # p-values of very strong effects underflow to the same 0: the statistic still ranks those
    order = pd.DataFrame(
        {"p": columns["pval"], "size": -np.abs(columns["stat"]), "name": columns["feature"].astype(str)}
    ).sort_values(["p", "size", "name"], kind="stable", na_position="last")
    return pd.DataFrame(columns).iloc[order.index[:n]].reset_index(drop=True)
