"""Results in the shapes that other packages take: a matrix of scores for decoupler, a long table for pertpy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.messages import closest, fail, listing
from xdelnx.schema import CONTRAST, GENE
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.tables import SCORES, check_tests, is_ranks

PERTPY = {"variable": "feature", "log_fc": "log2fc", "p_value": "pval", "adj_p_value": "padj", "stat": "stat"}


def each_contrast(result: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Give the label and the variables (gene) of every contrast, in memory; of every group's, after ``by=``.

    Raises
    ------
    ValueError
        If the result has no tests.
    """
    check_tests(result)
    outer = [dim for dim in result["pval"].dims if dim != GENE]
    names = [name for name, values in result.data_vars.items() if GENE in values.dims]
    tests = result[names].drop_dims(set(result[names].dims) - {GENE, *outer}).compute()
    for at in np.ndindex(*(tests.sizes[dim] for dim in outer)):
        one = tests.isel(dict(zip(outer, at, strict=True)))
        labels = [str(one[dim].values) for dim in sorted(outer, key=lambda dim: dim == CONTRAST)]
        if not outer and CONTRAST in result.coords:
            labels = [str(result[CONTRAST].values)]
        if np.isfinite(one["pval"]).any() or len(outer) < 2:  # a group that was not fitted has no contrasts
            yield ": ".join(labels) or "test", one


@any_dims
def score_matrix(result: xr.Dataset, *, by: str = "stat") -> pd.DataFrame:
    """Scores of all contrasts, contrasts in rows and genes in columns: what decoupler's methods take.

    Parameters
    ----------
    result
        What `fit`, `test` or `rank_genes` returned.
    by
        As in `ranked`: ``"stat"``, ``"pval"`` or ``"log2fc"``, each with the sign of the change.

    Returns
    -------
    pandas.DataFrame
        (contrast, gene). Joint tests, which have no direction, are left out, and genes without a score in any of the
        other contrasts.

    Raises
    ------
    ValueError
        A result without tests, or with joint tests alone; an unknown score.

    Examples
    --------
    >>> import xdelnx as xd
    >>> ds = xd.simulate(n_samples=12, n_genes=300, levels=("a", "b", "c"), seed=2)
    >>> scores = score_matrix(xd.fit(ds, "~condition"))
    >>> scores.shape, list(scores.index)  # decoupler.mt.ulm(scores, net)
    ((2, 291), ['condition[T.b]', 'condition[T.c]'])
    """
    if by not in SCORES:
        fail(f"by={by!r} is not a score; {closest(str(by), SCORES, 'choose one of')}")
    rows = {
        label: np.asarray(SCORES[by](one, is_ranks(result)))
        for label, one in each_contrast(result)
        if np.isfinite(one["log2fc"]).any()
    }
    if not rows:
        fail(f"joint tests have no direction to score genes by: {listing(result[CONTRAST].values)}")
    matrix = pd.DataFrame(rows, index=result.get_index(GENE)).T
    return matrix.dropna(axis="columns").rename_axis(index=CONTRAST, columns=None)


@any_dims
def to_pertpy(result: xr.Dataset) -> pd.DataFrame:
    """Tests of all contrasts in one long table, named as those of pertpy's differential expression.

    Parameters
    ----------
    result
        What `fit`, `test` or `rank_genes` returned.

    Returns
    -------
    pandas.DataFrame
        ``variable`` (the gene), ``log_fc`` (log2), ``p_value``, ``adj_p_value``, ``stat`` and ``contrast``;
        within each contrast the smallest p-value first, genes without a test last.

    Raises
    ------
    ValueError
        If the result has no tests.
    """
    tables = []
    for label, one in each_contrast(result):
        columns = {name: one[GENE if own == "feature" else own].values for name, own in PERTPY.items()}
        table = pd.DataFrame(columns).sort_values("p_value", kind="stable", na_position="last")
        tables.append(table.assign(contrast=label))
    return pd.concat(tables, ignore_index=True)
