"""Pictures of a fit and of its tests, one function each: a result in, matplotlib Axes out."""

from xdelnx.plot.figures import (
    dispersion_histogram,
    ma,
    mean_dispersion,
    pvalue_histogram,
    ql_dispersion,
    volcano,
)

__all__ = ["dispersion_histogram", "ma", "mean_dispersion", "pvalue_histogram", "ql_dispersion", "volcano"]
