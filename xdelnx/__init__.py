"""Differential expression with quasi-likelihood negative-binomial GLMs on xarray and Dask.

>>> import xdelnx as xd
>>> ds = xd.simulate(n_samples=8, n_genes=200, seed=1)
>>> fit = xd.fit(ds, "~condition")
>>> table = xd.top_table(fit)
>>> list(table.columns)
['feature', 'log2fc', 'coef', 'stat', 'pval', 'padj']
"""

from importlib import import_module
from importlib.metadata import version as _version
from typing import Any

from xdelnx.after_import import after_import as _after_import

# Public name -> module. Loaded on first use, so that `import xdelnx` costs next to nothing.
_HOME = {
    "XdelnxWarning": "errors",
    "adjust": "verbs.adjusting",
    "convert": "storage.conversion",
    "covariance": "verbs.inference",
    "describe": "verbs.describing",
    "filter_by_expression": "verbs.filtering",
    "fit": "verbs.fitting",
    "from_anndata": "storage.io",
    "goodness_of_fit": "verbs.looking",
    "length_offset": "verbs.normalizing",
    "normalize": "verbs.normalizing",
    "open_counts": "storage.io",
    "plot": "plot",
    "predict": "verbs.predictions",
    "pseudobulk": "verbs.aggregation",
    "report": "reporting.writing",
    "residuals": "verbs.looking",
    "score_matrix": "verbs.tables_for_others",
    "shrink_lfc": "verbs.fold_changes",
    "rank_genes": "verbs.markers",
    "ranked": "verbs.tables",
    "simulate": "verbs.simulation",
    "size_factors": "verbs.sizing",
    "test": "verbs.testing",
    "to_anndata": "verbs.annotated",
    "to_pertpy": "verbs.tables_for_others",
    "top_table": "verbs.tables",
}

__version__ = _version("xdelnx")
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module 'xdelnx' has no attribute {name!r}; it has {', '.join(sorted(_HOME))}"
        raise AttributeError(msg)
    module = import_module(f"xdelnx.{_HOME[name]}")
    value = module if _HOME[name] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


_after_import("xarray", "xdelnx.accessor")  # for `ds.xdelnx`
