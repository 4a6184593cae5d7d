"""Tables of a result: the genes of one contrast, best first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xdelnx.checks import check_result
from xdelnx.messages import closest, fail, listing, shown
from xdelnx.schema import CONTRAST, GENE
from xdelnx.verbs.dimensions import any_dims

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

COLUMNS = ("log2fc", "coef", "stat", "pval", "padj")
SMALLEST_P = 1e-300  # whose logarithm a p-value that underflowed to 0 is given


def check_tests(result: xr.Dataset) -> None:
    """Raise ValueError if a result has no tests, TypeError if it is none."""
    check_result(result)
    if "pval" not in result:
        fail(
            f"the result has no tests: expected a variable 'pval', found {listing(result.data_vars)}. "
            "Make some with xdelnx.test(data, fit, contrast), or fit(..., contrasts='last')."
        )


def is_ranks(result: xr.Dataset) -> bool:
    """Whether the statistics are those of a rank test: standard normal, with a direction of their own."""
    return "auroc" in result


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
    check_tests(result)
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


@any_dims
def top_table(
    result: xr.Dataset, contrast: str | None = None, *, n: int | None = None, annotation: Any = None
) -> pd.DataFrame:
    """Genes of one contrast as a table, smallest p-value first.

    Parameters
    ----------
    result
        What `fit` or `test` returned.
    contrast
        Label of the contrast (`result["contrast"]`); needed only where the result holds several.
    n
        Number of rows; all of them by default.
    annotation
        What is known of the genes, put into further columns: a table by gene name (``adata.var``), or a Dataset
        with variables along ``gene`` alone, such as the data that was fitted. Genes it lacks are missing values.

    Returns
    -------
    pandas.DataFrame
        Columns `feature` (the gene), `log2fc` (log2 scale, clipped to +-10), `coef` (natural log), `stat`
        (F statistic), `pval` and `padj` (adjusted within the contrast). Sorted by p-value, then by the size
        of the statistic, then by name; genes without a test (no count at all) come last, as NaN.

    Raises
    ------
    ValueError, TypeError
        If the result has no tests, the contrast is missing or unknown, `n` is negative, or the annotation is no
        table, has no gene in common with the result, or the table's own columns.

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

    if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer)):
        msg = f"n is a number of rows, 0 or more; received {shown(n)}"
        raise TypeError(msg)
    if n is not None and n < 0:
        fail(f"n is a number of rows, 0 or more; received {n!r}")
    tests = one_contrast(result, contrast)
    missing = [name for name in COLUMNS if name not in tests]
    if missing:
        fail(f"the result lacks {listing(missing)}; pass what xdelnx.fit or xdelnx.test returned")
    columns = {"feature": tests[GENE].values.astype(object)}
    columns |= {name: tests[name].values for name in COLUMNS}
    # p-values of very strong effects underflow to the same 0: the statistic still ranks those
    order = pd.DataFrame(
        {"p": columns["pval"], "size": -np.abs(columns["stat"]), "name": columns["feature"].astype(str)}
    ).sort_values(["p", "size", "name"], kind="stable", na_position="last")
    table = pd.DataFrame(columns)
    if annotation is not None:
        known = _annotation(annotation, columns["feature"])
        table = pd.concat([table, known], axis=1)
    return table.iloc[order.index[:n]].reset_index(drop=True)


def _annotation(annotation: Any, genes: np.ndarray) -> pd.DataFrame:
    """Columns of an annotation for the genes, in their order."""
    import pandas as pd
    import xarray as xr

    if isinstance(annotation, xr.Dataset):
        along = {
            str(name): values.values
            for name, values in annotation.reset_coords().data_vars.items()
            if values.dims == (GENE,)
        }
        annotation = pd.DataFrame(along, index=annotation.get_index(GENE))
    if not isinstance(annotation, pd.DataFrame):
        msg = f"annotation is a DataFrame by gene name, or a Dataset; received {type(annotation).__name__}"
        raise TypeError(msg)
    if annotation.index.has_duplicates:
        fail(f"annotation names genes twice: {listing(annotation.index[annotation.index.duplicated()], 3)}")
    own = sorted({"feature", *COLUMNS}.intersection(map(str, annotation.columns)))
    if own:
        fail(f"annotation has columns of the table itself: {listing(own)}; rename or drop them")
    if not annotation.index.isin(genes).any():
        fail(
            f"annotation has none of the genes; it has {listing(annotation.index, 3)}, the result {listing(genes, 3)}"
        )
    return annotation.reindex(genes).reset_index(drop=True)


@any_dims
def ranked(result: xr.Dataset, contrast: str | None = None, *, by: str = "stat") -> pd.DataFrame:
    r"""Genes of one contrast in one order from the most up to the most down, for gene-set tests.

    Parameters
    ----------
    result, contrast
        As in `top_table`.
    by
        ``"stat"``: the root of the statistic with the sign of the fold change, or the standard normal one of
        `rank_genes`; ``"pval"``: minus log10 of
        the p-value with that sign; ``"log2fc"``.

    Returns
    -------
    pandas.DataFrame
        Columns `feature` and `score`, falling; genes without a test are left out. The format that GSEA
        reads, ``.rnk``, is ``ranked(result).to_csv("genes.rnk", sep="\t", header=False, index=False)``.

    Raises
    ------
    ValueError
        As `top_table`; a joint test, which has no direction, or an unknown score.

    Examples
    --------
    >>> import xarray as xr
    >>> tests = {"log2fc": [0.5, -2.0], "coef": [0.3, -1.4], "stat": [4.0, 9.0], "pval": [0.1, 0.01]}
    >>> variables = {k: ("gene", v) for k, v in (tests | {"padj": [0.1, 0.02]}).items()}
    >>> print(ranked(xr.Dataset(variables, {"gene": ["ACTB", "GLI3"]})).to_string(index=False))
    feature  score
       ACTB    2.0
       GLI3   -3.0
    """
    table = top_table(result, contrast)
    table = table[np.isfinite(table["pval"])]
    if len(table) and np.isnan(table["log2fc"]).all():
        fail("a joint test has no direction to rank genes by; choose a contrast of one degree of freedom")
    if by not in SCORES:
        fail(f"by={by!r} is not a score; {closest(str(by), SCORES, 'choose one of')}")
    table = table.assign(score=SCORES[by](table, is_ranks(result))).dropna(subset=["score"])
    table = table.sort_values("score", ascending=False, kind="stable")
    return table[["feature", "score"]].reset_index(drop=True)


SCORES: dict[str, Callable[[Any, bool], Any]] = {
    "stat": lambda tests, ranks: (
        tests["stat"] if ranks else np.sign(tests["log2fc"]) * np.sqrt(tests["stat"])
    ),
    "pval": lambda tests, _: -np.sign(tests["log2fc"]) * np.log10(np.maximum(tests["pval"], SMALLEST_P)),
    "log2fc": lambda tests, _: tests["log2fc"],
}
