"""Results in an AnnData, where scanpy and pertpy look for them; sums of cells as an AnnData of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.checks import check_result
from xdelnx.messages import fail, listing, shown
from xdelnx.schema import COEFFICIENT, GENE, SAMPLE
from xdelnx.status import Status
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.tables import SCORES, is_ranks
from xdelnx.verbs.tables_for_others import each_contrast

if TYPE_CHECKING:
    from anndata import AnnData

RECORDS = {
    "scores": "score",
    "logfoldchanges": "log2fc",
    "pvals": "pval",
    "pvals_adj": "padj",
}  # scanpy's names
FRACTIONS = {"pts": "fraction", "pts_rest": "fraction_reference"}


@any_dims
def to_anndata(
    result: xr.Dataset, adata: AnnData | None = None, *, key: str = "xdelnx", copy: bool = True
) -> AnnData:
    """Put a result into an AnnData, or make an AnnData of it; of counts, such as `pseudobulk` sums, too.

    Parameters
    ----------
    result
        What `fit`, `test`, `rank_genes` or `pseudobulk` returned.
    adata
        Where to put a result, by the names of genes (and of samples, where they are the same); those it does not
        know are NaN. None: an AnnData of its own.
    key
        First part of the names there.
    copy
        Whether to leave ``adata`` as it is and return a copy.

    Returns
    -------
    anndata.AnnData
        ``varm[key]``: what the fit says of each gene, ``status`` as a word; ``varm[f"{key}:{contrast}"]``: log2fc,
        coef (natural log), stat, pval, padj and so on, a table for each contrast. ``uns[key]``: the tests as
        `scanpy.tl.rank_genes_groups` leaves them, a contrast as a group and the signed root of F as its score, for
        ``sc.get.rank_genes_groups_df(adata, group=None, key=key)`` and ``sc.pl.rank_genes_groups(adata, key=key)``;
        beside them ``attrs``, the result's attributes. ``obs`` gets ``{key}_size_factor`` and
        ``{key}_library_size``, ``obsm[f"{key}_design"]`` the design. In names, "/" becomes "_".

        Of counts: ``X``, with the metadata in ``obs`` and ``var``.

    Raises
    ------
    TypeError, ValueError
        No Dataset, or one with neither tests nor counts; no gene in common with ``adata``.

    Examples
    --------
    >>> import xdelnx as xd
    >>> ds = xd.simulate(n_samples=8, n_genes=300, seed=2)
    >>> adata = to_anndata(xd.fit(ds, "~condition"))
    >>> list(adata.varm), adata.uns["xdelnx"]["names"].dtype.names
    (['xdelnx', 'xdelnx:condition[T.B]'], ('condition[T.B]',))
    """
    check_result(result)
    if not isinstance(key, str):
        msg = f"key is a name, received {shown(key)}"
        raise TypeError(msg)
    if not {"pval", "beta"} & set(result.variables):
        return _of_counts(result, adata)
    target = _target(result, adata, copy=copy)
    name = key.replace("/", "_")
    by_gene = _table(result, GENE, drop=("status",))
    if "status" in result and result["status"].dims == (GENE,):
        words = pd.Categorical([Status(int(code)).name.lower() for code in result["status"].values])
        by_gene["status"] = words
    if by_gene.shape[1]:
        target.varm[name] = by_gene.reindex(target.var_names)
    if "pval" in result:
        _put_tests(result, target, name)
    if SAMPLE in result.dims and target.obs_names.equals(_names(result, SAMPLE)):
        _put_samples(result, target, name)
    return target


def _target(result: xr.Dataset, adata: Any, *, copy: bool) -> Any:
    """Where results go: a new AnnData, the one given, or a copy of it."""
    from anndata import AnnData

    if adata is None:
        samples = _names(result, SAMPLE) if SAMPLE in result.dims else pd.Index([], dtype=str)
        return AnnData(obs=pd.DataFrame(index=samples), var=pd.DataFrame(index=_names(result, GENE)))
    if not isinstance(adata, AnnData):
        msg = f"adata is an AnnData, received {type(adata).__name__}"
        raise TypeError(msg)
    genes = _names(result, GENE)
    if not adata.var_names.isin(genes).any():
        fail(
            f"adata has none of the genes: its var_names are {listing(adata.var_names, 3)}, the result has "
            f"{listing(genes, 3)}"
        )
    if not copy:
        return adata
    return adata.to_memory() if adata.isbacked else adata.copy()


def _names(dataset: xr.Dataset, dim: str) -> pd.Index:
    return dataset.get_index(dim).astype(str)


def _table(dataset: xr.Dataset, dim: str, drop: tuple[str, ...] = ()) -> pd.DataFrame:
    """Every variable along one dimension alone."""
    names = [
        str(name)
        for name, values in dataset.variables.items()
        if values.dims == (dim,) and name not in (dim, *drop)
    ]
    return pd.DataFrame({name: dataset[name].values for name in names}, index=_names(dataset, dim))


def _put_tests(result: xr.Dataset, target: Any, key: str) -> None:
    tests = dict(each_contrast(result))
    tested = [name for name, values in result.data_vars.items() if {*result["pval"].dims} <= {*values.dims}]
    for label, one in tests.items():
        columns = {str(name): one[name].values for name in tested if one[name].dims == (GENE,)}
        table = pd.DataFrame(columns, index=_names(result, GENE))
        target.varm[f"{key}:{label.replace('/', '_')}"] = table.reindex(target.var_names)
    target.uns[key] = _as_scanpy(result, tests, target.var_names)


def _as_scanpy(result: xr.Dataset, tests: Mapping[str, xr.Dataset], names: pd.Index) -> dict[str, Any]:
    """Tests as scanpy keeps marker genes: a field for each contrast, genes with the largest score first."""
    ordered: dict[str, pd.DataFrame] = {}
    for label, one in tests.items():
        score = np.asarray(SCORES["stat"](one, is_ranks(result)))
        score = one["stat"].values if np.isnan(score).all() else score  # a joint test has no direction
        columns = {"score": score} | {name: one[name].values for name in ("log2fc", "pval", "padj")}
        table = pd.DataFrame(columns, index=_names(result, GENE)).reindex(names)
        ordered[label] = table.sort_values("score", ascending=False, kind="stable", na_position="last")
    records = {
        name: pd.DataFrame({label: table[own].to_numpy() for label, table in ordered.items()})
        for name, own in RECORDS.items()
    }
    genes = pd.DataFrame({label: table.index.to_numpy(dtype=object) for label, table in ordered.items()})
    found = {name: table.to_records(index=False) for name, table in ({"names": genes} | records).items()}
    shares = {
        name: pd.DataFrame({label: one[own].values for label, one in tests.items()}, _names(result, GENE))
        for name, own in FRACTIONS.items()
        if own in result
    }
    params = {
        "groupby": "contrast",
        "reference": "rest",
        "method": "wilcoxon" if is_ranks(result) else "xdelnx",
        "use_raw": False,
        "corr_method": result["padj"].attrs.get("long_name", ""),
    }
    attrs = {name: str(value) for name, value in result.attrs.items()}
    return {"params": params, **found, **shares, "attrs": attrs}


def _put_samples(result: xr.Dataset, target: Any, key: str) -> None:
    for name in ("size_factor", "library_size"):
        if name in result:
            target.obs[f"{key}_{name}"] = result[name].values
    if "design" in result:
        columns = result.get_index(COEFFICIENT).astype(str)
        target.obsm[f"{key}_design"] = pd.DataFrame(result["design"].values, target.obs_names, columns)


def _of_counts(counts: xr.Dataset, adata: Any) -> Any:
    """Counts of samples and genes as an AnnData."""
    from anndata import AnnData

    matrices = [name for name, values in counts.data_vars.items() if set(values.dims) == {SAMPLE, GENE}]
    if not matrices:
        fail(f"the Dataset holds neither tests nor counts; its variables are {listing(counts.data_vars)}")
    if adata is not None:
        fail("counts become an AnnData of their own; leave adata out")
    first = "counts" if "counts" in matrices else matrices[0]
    values = {name: counts[name].transpose(SAMPLE, GENE).data for name in matrices}
    return AnnData(
        values.pop(first),
        obs=_frame(counts, SAMPLE),
        var=_frame(counts, GENE),
        layers=values,
    )


def _frame(dataset: xr.Dataset, dim: str) -> pd.DataFrame:
    """Metadata along a dimension; text with the attribute ``categories`` becomes a factor with these levels."""
    frame = _table(dataset, dim)
    for name in frame:
        levels = getattr(dataset[name].dtype, "categories", dataset[name].attrs.get("categories"))
        if levels is not None:
            frame[name] = pd.Categorical(frame[name], list(levels))
    return frame
