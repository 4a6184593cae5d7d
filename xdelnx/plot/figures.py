"""Pictures of a fit and of its tests, one function each: a result in, matplotlib Axes out.

Every function draws into `ax`, or into a new figure where none is given, and returns the Axes. Genes
without an estimate are left out, colours are those of Okabe and Ito (told apart under colour blindness),
and clouds of more than 20,000 points are rasterised so that a PDF stays small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xdelnx.messages import fail
from xdelnx.plot.drawing import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    axes_for,
    bars,
    curve,
    finish,
    gene_vectors,
    name_points,
    nothing_to_show,
    plain,
    points,
)
from xdelnx.schema import CONTRAST, GENE, LARGEST_LOG2FC
from xdelnx.verbs.tables import one_contrast

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["dispersion_histogram", "ma", "mean_dispersion", "pvalue_histogram", "ql_dispersion", "volcano"]

LOWEST_DISPERSION = 1e-4  # a gene below is Poisson for every practical purpose: shown at the edge
LOG2FC = r"log$_2$ fold change"


def dispersion_histogram(fit: xr.Dataset, *, ax: Axes | None = None, bins: int = 60) -> Axes:
    """Histogram of the overdispersion of the genes, on a log scale.

    Parameters
    ----------
    fit
        What `fit` returned; uses `dispersion` (gene).
    ax
        Axes to draw into; a new figure by default.
    bins
        Number of bars.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes drawn into. Genes with a dispersion under 1e-4 are counted in the legend, not shown.
    """
    (dispersion,) = gene_vectors(fit, "dispersion")
    shown = dispersion[dispersion >= LOWEST_DISPERSION]
    ax = axes_for(ax)
    ax.set_xlabel("overdispersion")
    if nothing_to_show(ax, shown):
        return ax
    bars(ax, shown, np.geomspace(shown.min() / 1.001, shown.max() * 1.001, bins + 1))
    median = float(np.median(shown))
    ax.axvline(median, color=VERMILION, linewidth=1.5, label=f"median {median:.3g}")
    below = int((dispersion < LOWEST_DISPERSION).sum())
    if below:
        ax.plot([], [], " ", label=f"{below:,} genes near 0, not shown")
    ax.set_xscale("log")
    return finish(ax, legend="upper right")


def mean_dispersion(fit: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Overdispersion against the mean count, one point a gene, with the trend.

    Parameters
    ----------
    fit
        What `fit` returned; uses `mean`, `dispersion` and, where it has one, `dispersion_trend` (gene).
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes drawn into. Genes with a dispersion under 1e-4 are triangles at the lower edge.
    """
    mean, dispersion = gene_vectors(fit, "mean", "dispersion")
    ax = axes_for(ax)
    ax.set(xlabel="mean count", ylabel="overdispersion")
    known = (mean > 0) & np.isfinite(dispersion)
    if nothing_to_show(ax, mean[known]):
        return ax
    ax.set(xscale="log", yscale="log")
    over = known & (dispersion >= LOWEST_DISPERSION)
    points(ax, mean[over], dispersion[over], GREY, label=f"genes ({over.sum():,})")
    under = known & ~over
    if under.any():
        floor = np.full(under.sum(), LOWEST_DISPERSION)
        points(ax, mean[under], floor, BLUE, label=f"near 0 ({under.sum():,})", marker="v", clip_on=False)
        ax.set_ylim(bottom=LOWEST_DISPERSION)
    if "dispersion_trend" in fit:
        (trend,) = gene_vectors(fit, "dispersion_trend")
        curve(ax, mean, np.maximum(trend, LOWEST_DISPERSION), label="trend")
    return finish(ax, legend="upper right")


def ql_dispersion(fit: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Quasi-likelihood dispersion against the mean count: as estimated, its prior, and shrunken to it.

    Parameters
    ----------
    fit
        What `fit` returned, with shrinkage; uses `mean`, `ql_dispersion`, `ql_prior` and
        `ql_dispersion_shrunken` (gene), and `prior_df`.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes drawn into.
    """
    mean, raw, prior = gene_vectors(fit, "mean", "ql_dispersion", "ql_prior")
    (shrunken,) = gene_vectors(fit, "ql_dispersion_shrunken")
    ax = axes_for(ax)
    ax.set(xlabel="mean count", ylabel="quasi-likelihood dispersion")
    known = (mean > 0) & (raw > 0) & (shrunken > 0)
    if nothing_to_show(ax, mean[known]):
        return ax
    points(ax, mean[known], raw[known], GREY, label="estimated")
    points(ax, mean[known], shrunken[known], BLUE, label=f"shrunken{_prior_strength(fit)}")
    curve(ax, mean, prior, label="prior")
    ax.set(xscale="log", yscale="log")
    return finish(ax, legend="upper right")


def _prior_strength(fit: xr.Dataset) -> str:
    """Degrees of freedom of the prior, for the legend; nothing where they differ by gene."""
    if "prior_df" not in fit or fit["prior_df"].ndim:
        return ""
    return f" (prior df {float(fit['prior_df']):.3g})"


def volcano(
    result: xr.Dataset,
    contrast: str | None = None,
    *,
    ax: Axes | None = None,
    n_labels: int = 10,
    genes: Sequence[str] = (),
    fdr: float = 0.05,
) -> Axes:
    """P-value against fold change, with the names of the most significant genes.

    Parameters
    ----------
    result
        What `fit` or `test` returned.
    contrast
        Label of the contrast; needed only where the result holds several.
    ax
        Axes to draw into, whose size is final (names are placed for it); a new figure by default.
    n_labels
        How many genes to name, smallest p-value first; only significant ones are named.
    genes
        Further genes to name, significant or not.
    fdr
        Genes with an adjusted p-value up to it are coloured and counted.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes drawn into. Fold changes at the clipping bound (a group without a count), and p-values
        that underflow to 0, are triangles at the edge.

    Raises
    ------
    ValueError
        If the contrast is a joint test (it has no direction), unknown, or missing among several; or a gene
        in `genes` is not in the result.
    """
    tested = tested_genes(result, contrast, fdr)
    ax = axes_for(ax)
    ax.set(xlabel=LOG2FC, ylabel=r"$-$log$_{10}$ p")
    if nothing_to_show(ax, tested.log2fc[tested.known]):
        return ax
    height = _evidence(tested.pval)
    ax.set(xlim=(-1.03 * tested.reach, 1.03 * tested.reach), ylim=(0, np.nanmax(height) * 1.08))
    _threshold(ax, height[tested.hit], fdr)
    edge = tested.beyond | (tested.pval == 0)
    return _draw(ax, tested, tested.log2fc_within, height, edge, tested.names_of(n_labels, genes))


def ma(
    result: xr.Dataset,
    contrast: str | None = None,
    *,
    mean: xr.DataArray | None = None,
    ax: Axes | None = None,
    n_labels: int = 0,
    genes: Sequence[str] = (),
    fdr: float = 0.05,
) -> Axes:
    """Fold change against the mean count.

    Parameters
    ----------
    result
        What `fit` or `test` returned.
    contrast
        Label of the contrast; needed only where the result holds several.
    mean
        Mean count (gene); by default the result's own `mean`. For what `test` returned, `fit["mean"]`.
    ax
        Axes to draw into, whose size is final (names are placed for it); a new figure by default.
    n_labels
        How many genes to name, smallest p-value first; only significant ones are named.
    genes
        Further genes to name, significant or not.
    fdr
        Genes with an adjusted p-value up to it are coloured and counted.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes drawn into. Fold changes at the clipping bound (a group without a count) are triangles at
        the edge.

    Raises
    ------
    ValueError
        As `volcano`; or if there is no mean.
    """
    tested = tested_genes(result, contrast, fdr)
    if mean is None and "mean" not in result:
        fail("the mean counts are not in what test returned: pass mean=fit['mean'] as well")
    (level,) = gene_vectors((result if mean is None else mean.to_dataset(name="mean")), "mean")
    ax = axes_for(ax)
    ax.set(xlabel="mean count", ylabel=LOG2FC)
    if nothing_to_show(ax, tested.log2fc[tested.known]):
        return ax
    ax.set(xscale="log", ylim=(-1.03 * tested.reach, 1.03 * tested.reach))
    ax.axhline(0, color=INK, linewidth=0.8, zorder=1)
    names = tested.names_of(n_labels, genes)
    return _draw(ax, tested, level, tested.log2fc_within, tested.beyond, names)


def pvalue_histogram(
    result: xr.Dataset, contrast: str | None = None, *, ax: Axes | None = None, bins: int = 40
) -> Axes:
    """Histogram of the p-values of one contrast.

    Flat with a peak at 0 is what a good model looks like; the dashed line is the level of the flat part,
    estimated from the p-values over 1/2. A slope towards 1 means a test that is too timid, a hill in between
    a model that does not fit.

    Parameters
    ----------
    result
        What `fit` or `test` returned.
    contrast
        Label of the contrast; needed only where the result holds several.
    ax
        Axes to draw into; a new figure by default.
    bins
        Number of bars between 0 and 1.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes drawn into.
    """
    tests = one_contrast(result, contrast)
    (pval,) = gene_vectors(tests, "pval")
    pval = pval[np.isfinite(pval)]
    ax = axes_for(ax)
    ax.set(xlim=(0, 1), xlabel="p-value")
    ax.set_title(_title(tests), fontsize="medium")
    if nothing_to_show(ax, pval):
        return ax
    bars(ax, pval, np.linspace(0, 1, bins + 1))
    flat = 2 * (pval > 0.5).sum() / bins
    ax.axhline(flat, color=VERMILION, linestyle="--", linewidth=1.2, label="flat part (from p > 0.5)")
    return finish(ax, legend="upper right")


# ---------------------------------------------------------------- what volcano and ma share


@dataclass(frozen=True)
class Tested:
    """Tests of a contrast with a direction; all vectors are (gene,)."""

    title: str
    names: np.ndarray
    log2fc: np.ndarray
    pval: np.ndarray
    hit: np.ndarray

    @property
    def known(self) -> np.ndarray:
        return np.isfinite(self.log2fc) & np.isfinite(self.pval)

    @property
    def reach(self) -> float:
        """Half width of the axis: a little over the largest fold change that is not the clipping bound."""
        sizes = np.abs(self.log2fc[self.known])
        return 1.04 * float(max(sizes[sizes < LARGEST_LOG2FC].max(initial=0.0), 1.0))

    @property
    def beyond(self) -> np.ndarray:
        return np.abs(self.log2fc) > self.reach

    @property
    def log2fc_within(self) -> np.ndarray:
        return np.where(self.known, np.clip(self.log2fc, -self.reach, self.reach), np.nan)

    def names_of(self, n_labels: int, genes: Sequence[str]) -> list[int]:
        """Positions of the genes to name: the n most significant, and those asked for."""
        names = self.names.tolist()
        absent = [gene for gene in genes if gene not in names]
        if absent:
            fail(f"no gene {', '.join(map(repr, absent))} among the {len(names):,} of the result")
        order = np.argsort(np.where(self.hit, self.pval, np.inf), kind="stable")
        best = order[: min(n_labels, int(self.hit.sum()))].tolist()
        return best + [k for k in map(names.index, genes) if k not in best]


def tested_genes(result: xr.Dataset, contrast: str | None, fdr: float) -> Tested:
    """Take the tests of one contrast; an error where it has no direction."""
    tests = one_contrast(result, contrast)
    log2fc, pval, padj = gene_vectors(tests, "log2fc", "pval", "padj")
    tested = Tested(_title(tests), tests[GENE].values.astype(object), log2fc, pval, padj <= fdr)
    if np.isfinite(pval).any() and not tested.known.any():
        fail(
            f"{tested.title!r} is a joint test of several coefficients and has no fold change; "
            "plot.pvalue_histogram shows it, or choose the contrast of one coefficient"
        )
    return tested


def _title(tests: xr.Dataset) -> str:
    """Label of the contrast, where the result has one."""
    return plain(tests[CONTRAST].values, 60) if CONTRAST in tests.coords else ""


def _evidence(pval: np.ndarray) -> np.ndarray:
    """-log10 of the p-values; those that underflow to 0 go just above the rest."""
    with np.errstate(divide="ignore"):
        height = -np.log10(pval)
    top = 1.05 * max(height[np.isfinite(height)].max(initial=0.0), 1.0)
    return np.where(pval == 0, top, height)


def _threshold(ax: Axes, heights: np.ndarray, fdr: float) -> None:
    """Draw a line at the weakest significant gene, where there is one."""
    if not len(heights):
        return
    ax.axhline(heights.min(), color=INK, linewidth=0.7, linestyle="--", zorder=1)
    place = ax.get_yaxis_transform()
    style: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "color": INK}
    ax.annotate(f"FDR {fdr:.3g}", (1, heights.min()), (-2, 3), place, fontsize="x-small", **style)


def _draw(
    ax: Axes, tested: Tested, x: np.ndarray, y: np.ndarray, edge: np.ndarray, chosen: list[int]
) -> Axes:
    """Draw the genes: grey, or coloured by direction where significant; triangles at the edge; names."""
    up, down = (tested.hit & tested.known & side for side in (tested.log2fc >= 0, tested.log2fc < 0))
    for colour, part in ((GREY, tested.known & ~tested.hit), (BLUE, down), (VERMILION, up)):
        for marker, genes in (("o", part & ~edge), ("^", part & edge)):
            points(ax, x[genes], y[genes], colour, marker=marker, zorder=3)
    ax.set_title(tested.title, fontsize="medium")
    style: dict[str, Any] = {"va": "bottom", "fontsize": "small", "transform": ax.transAxes}
    ax.text(0, 1.01, f"{down.sum():,} down", color=BLUE, ha="left", **style)
    ax.text(1, 1.01, f"{up.sum():,} up", color=VERMILION, ha="right", **style)
    finish(ax)
    name_points(ax, x, y, chosen, tested.names)
    return ax
