"""Heat map of genes: normalised counts, scaled by gene, in the order of a clustering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.messages import fail
from xdelnx.plot.columns import colour_by, column_of
from xdelnx.plot.drawing import INK, axes_for, plain
from xdelnx.schema import GENE, SAMPLE
from xdelnx.verbs.inference import gene_positions
from xdelnx.verbs.inputs import as_counts
from xdelnx.verbs.normalizing import normalize
from xdelnx.verbs.tables import top_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIVERGING = "RdBu_r"
LIMIT = 2.5  # standard deviations at which the colours end
MOST_CLUSTERED = 2_000  # samples or genes; beyond it samples are in the order of their columns
NAMED_SAMPLES, NAMED_GENES = 60, 80
BAR_SHARE = 0.45  # height of the colour bar, of the map's


def heatmap(
    data: Any,
    result: xr.Dataset | None = None,
    contrast: str | None = None,
    *,
    genes: Sequence[Any] | None = None,
    n_genes: int = 30,
    color: str | Sequence[str] = (),
    ax: Axes | None = None,
    cluster: bool = True,
    method: str = "log_cpm",
    size_factors: Any = "normed_sum",
    counts: str = "counts",
) -> Axes:
    """Heat map of genes (rows) and samples (columns): normalised counts, scaled by gene to mean 0 and deviation 1.

    Parameters
    ----------
    data
        Counts as in `fit`; only the genes shown are in memory.
    result
        What `fit` or `test` returned: the genes shown are those of the smallest p-values. None: those of the
        largest variance between samples.
    contrast
        Label of the contrast; needed only where the result holds several.
    genes
        Names of the genes to show instead.
    n_genes
        How many genes to show.
    color
        Columns of the samples, each a bar of colours above the samples.
    ax
        Axes to draw into, with room around it for trees, names and legends; a new figure by default.
    cluster
        Put genes and samples in the order of a clustering (average linkage; Euclidean distances, which of scaled
        genes mean correlation), with its trees. Otherwise genes are in the order of their p-values, and samples
        in that of ``color``. Samples beyond 2,000 are not clustered.
    method, size_factors, counts
        As in `normalize`.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes of the map. Colours end at 2.5 standard deviations.

    Raises
    ------
    ValueError
        A gene, contrast or column is not there, or there is no gene to choose from.
    """
    table = as_counts(data, counts)
    columns = [color] if isinstance(color, str) else list(color)
    bars = [column_of(table.samples, name, "color") for name in columns]
    values = normalize(table.dataset, method, size_factors=size_factors, counts=counts)
    values = values.transpose(SAMPLE, GENE)
    chosen = _chosen(values, table.genes, result, contrast, genes, n_genes)
    scaled = _scaled(np.asarray(values.isel({GENE: chosen}).values).T)
    rows, across = _orders(scaled, bars, cluster=cluster)
    shown = _Map(
        scaled[rows.order][:, across.order],
        [str(name) for name in table.genes[chosen][rows.order]],
        [str(name) for name in table.sample_names[across.order]],
    )
    size = _size(len(rows.order), len(across.order), max((len(name) for name in shown.genes), default=0))
    ax = axes_for(ax, size)
    beside = _draw(ax, shown)
    top = _bars(ax, beside, [bar.iloc[across.order] for bar in bars])
    _tree(ax, rows, side="left", start=0.0)
    _tree(ax, across, side="top", start=top)
    return ax


@dataclass(frozen=True)
class _Map:
    """Scaled values (gene, sample) in the order shown, with their names."""

    values: np.ndarray
    genes: list[str]
    samples: list[str]


@dataclass(frozen=True)
class _Order:
    """Order of the rows or columns, and the tree behind it: (k, 4) places and heights of its forks."""

    order: np.ndarray
    places: np.ndarray
    heights: np.ndarray


def _chosen(
    values: xr.DataArray,
    names: np.ndarray,
    result: xr.Dataset | None,
    contrast: str | None,
    genes: Sequence[Any] | None,
    n_genes: int,
) -> np.ndarray:
    """Positions of the genes to show."""
    if genes is not None:
        return gene_positions(genes, names)
    if isinstance(n_genes, bool) or not isinstance(n_genes, int | np.integer) or n_genes < 1:
        fail(f"n_genes is a whole number, 1 or more; received {n_genes!r}")
    if result is None:
        variance = np.asarray(values.var(SAMPLE).values)
        return np.argsort(-variance, kind="stable")[:n_genes]
    best = top_table(result, contrast, n=n_genes).dropna(subset=["pval"])
    if not len(best):
        fail("no gene of the result has a p-value; name the genes to show: genes=")
    return gene_positions(best["feature"].tolist(), names)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Give each row mean 0 and standard deviation 1; a constant one is 0."""
    centred = values - values.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, ddof=1, keepdims=True)
    return centred / np.where(deviation > 1e-12, deviation, 1.0)


def _orders(scaled: np.ndarray, bars: Sequence[pd.Series], *, cluster: bool) -> tuple[_Order, _Order]:
    if cluster:
        rows = _clustered(scaled)
        if scaled.shape[1] <= MOST_CLUSTERED:
            return rows, _clustered(scaled.T)
    else:
        rows = _untouched(scaled.shape[0])
    if not bars:
        return rows, _untouched(scaled.shape[1])
    ranked = [pd.factorize(bar, sort=True)[0] for bar in reversed(bars)]
    return rows, _Order(np.lexsort(ranked), np.empty((0, 4)), np.empty((0, 4)))


def _untouched(n: int) -> _Order:
    return _Order(np.arange(n), np.empty((0, 4)), np.empty((0, 4)))


def _clustered(values: np.ndarray) -> _Order:
    """Order of the rows by average linkage of Euclidean distances, the tree's closest leaves side by side."""
    n = len(values)
    if n < 2 or n > MOST_CLUSTERED:
        return _untouched(n)
    from scipy.cluster.hierarchy import dendrogram, linkage

    tree = linkage(values, "average", optimal_ordering=n <= 200)
    drawn = dendrogram(tree, no_plot=True)
    places = (np.array(drawn["icoord"]) - 5.0) / 10.0  # SciPy's leaves stand at 5, 15, 25, ...
    heights = np.array(drawn["dcoord"])
    return _Order(np.array(drawn["leaves"]), places, heights / max(heights.max(), 1e-12))


def _size(n_genes: int, n_samples: int, longest: int) -> tuple[float, float]:
    """Size of a figure in inches."""
    width = np.clip(0.24 * n_samples, 2.4, 7.0) + 2.6 + 0.07 * min(longest, 40)
    return float(width), float(np.clip(0.17 * n_genes, 2.2, 9.0) + 1.8)


def _draw(ax: Axes, shown: _Map) -> Axes:
    """Draw the map with its names and the colour bar; return the Axes of that."""
    n_genes, n_samples = shown.values.shape
    image = ax.imshow(
        shown.values, cmap=DIVERGING, vmin=-LIMIT, vmax=LIMIT, aspect="auto", interpolation="nearest"
    )
    small = 8.0 if max(n_genes, n_samples) <= 40 else 6.0
    ax.yaxis.tick_right()
    if n_genes <= NAMED_GENES:
        ax.set_yticks(range(n_genes), [plain(name) for name in shown.genes], fontsize=small)
    else:
        ax.set_yticks([])
    if n_samples <= NAMED_SAMPLES:
        ax.set_xticks(range(n_samples), [plain(name) for name in shown.samples], fontsize=small, rotation=90)
    else:
        ax.set_xticks([])
        ax.set_xlabel(f"{n_samples:,} samples")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    place: dict[str, Any] = {"shrink": BAR_SHARE, "aspect": 14, "pad": 0.02, "anchor": (0.0, 0.0)}
    bar = ax.get_figure(root=True).colorbar(image, ax=ax, extend="both", **place)  # type: ignore[union-attr]
    bar.set_label("standard deviations\nfrom the gene's mean", fontsize="x-small")
    bar.ax.tick_params(labelsize="x-small")
    return bar.ax


def _bars(ax: Axes, beside: Axes, bars: Sequence[pd.Series]) -> float:
    """Draw bars of colours above the map, and their legend; return where they end, in heights of the map."""
    from matplotlib.colors import to_rgba_array

    thick = 0.16 / ax.get_figure(root=True).get_size_inches()[1]  # type: ignore[union-attr]
    top, used = 1.0, 0
    entries: list[tuple[str, Any]] = []
    for bar in bars:
        colours = colour_by(bar, len(bar), alone=False, first=used)
        used += len(colours.levels)
        strip = ax.inset_axes((0.0, top + 0.3 * thick, 1.0, thick))
        strip.imshow(to_rgba_array(colours.values)[None], aspect="auto", interpolation="nearest")
        strip.set_xticks([])
        strip.set_yticks([0], [plain(str(bar.name))], fontsize="x-small")
        strip.yaxis.tick_right()
        strip.tick_params(length=0)
        strip.spines[:].set_visible(False)
        top += 1.3 * thick
        entries += [(str(bar.name), None), *colours.key()]
    if entries:
        _explain_bars(beside, entries)
    return top


def _explain_bars(place: Axes, entries: Sequence[tuple[str, str | None]]) -> None:
    """Add one legend of all bars beside the map: a heading without a colour, then its levels."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour or "none", marker="s", linestyle="", markersize=6.5, label=plain(text))
        for text, colour in entries
    ]
    legend = place.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(-0.6, 1.0 / BAR_SHARE + 0.1),
        frameon=False,
        fontsize="x-small",
        handletextpad=0.2,
        labelspacing=0.25,
        borderaxespad=0.0,
    )
    for text, (_, colour) in zip(legend.get_texts(), entries, strict=True):
        if colour is None:
            text.set_fontweight("bold")


def _tree(ax: Axes, order: _Order, *, side: str, start: float) -> None:
    """Draw the tree of the rows left of the map, or that of the columns on top of it."""
    if not len(order.places):
        return
    inches = ax.get_figure(root=True).get_size_inches()  # type: ignore[union-attr]
    n = len(order.order)
    if side == "left":
        width = 0.35 / inches[0]
        room = ax.inset_axes((-width - 0.006, 0.0, width, 1.0))
        lines = zip(-order.heights, order.places, strict=True)
        room.set(xlim=(-1.02, 0), ylim=(n - 0.5, -0.5))
    else:
        room = ax.inset_axes((0.0, start + 0.006, 1.0, 0.35 / inches[1]))
        lines = zip(order.places, order.heights, strict=True)
        room.set(xlim=(-0.5, n - 0.5), ylim=(0, 1.02))
    from matplotlib.collections import LineCollection

    forks = [np.column_stack(line) for line in lines]
    room.add_collection(LineCollection(forks, colors=INK, linewidths=0.6, rasterized=n > 500))
    room.set_axis_off()
