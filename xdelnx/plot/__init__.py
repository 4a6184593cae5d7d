"""Pictures of counts, of a fit and of its tests, one function each: matplotlib Axes in and out."""

from xdelnx.plot.figures import (
    dispersion_histogram,
    ma,
    mean_dispersion,
    pvalue_histogram,
    ql_dispersion,
    volcano,
)
from xdelnx.plot.genes import gene_counts
from xdelnx.plot.heat_map import heatmap
from xdelnx.plot.interactive import ma_html, volcano_html
from xdelnx.plot.samples import mds, pca
from xdelnx.verbs.dimensions import any_dims

__all__ = [
    "dispersion_histogram",
    "gene_counts",
    "heatmap",
    "ma",
    "ma_html",
    "mds",
    "mean_dispersion",
    "pca",
    "pvalue_histogram",
    "ql_dispersion",
    "volcano",
    "volcano_html",
]

for _name in __all__:  # results whose dimensions have other names are drawn, too
    globals()[_name] = any_dims(globals()[_name])
