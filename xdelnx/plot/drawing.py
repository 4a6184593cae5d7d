"""What the pictures share: axes, gene vectors, clouds of points, names beside points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xdelnx.messages import fail
from xdelnx.plot.placement import place_labels
from xdelnx.schema import GENE

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

# The palette of Okabe and Ito, and two neutral shades.
BLUE, VERMILION, ORANGE, SKY = "#0072B2", "#D55E00", "#E69F00", "#56B4E9"
GREY, INK = "#9A9A9A", "#222222"
RASTERISE_OVER = 20_000
CROWDED_OVER = 2_000


def axes_for(ax: Axes | None, size: tuple[float, float] = (5.4, 4.2)) -> Axes:
    """Axes to draw into: those given, or a new figure's of a size in inches."""
    if ax is not None:
        if not hasattr(ax, "scatter"):
            msg = f"ax is one matplotlib Axes; received {type(ax).__name__} (of several, pass one: axes[0])"
            raise TypeError(msg)
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        msg = "plots need matplotlib: pip install 'xdelnx[plot]'"
        raise ImportError(msg) from error
    return plt.subplots(figsize=size, layout="constrained")[1]


def plain(text: object, limit: int = 28) -> str:
    """Write a name from the data as it is, cut where it is long: no mathematics between dollars."""
    words = str(text)
    words = words if len(words) <= limit else f"{words[: limit - 1]}…"
    return (f" {words}" if words.startswith("_") else words).replace("$", r"\$")


def gene_vectors(dataset: xr.Dataset, *names: str) -> list[np.ndarray]:
    """Vectors (gene,) of a result, in memory and as float64."""
    missing = [name for name in names if name not in dataset]
    if missing:
        found = ", ".join(map(str, dataset.data_vars)) or "nothing"
        fail(f"this plot needs {', '.join(missing)}, which the result does not have; it has {found}")
    for name in names:
        if dataset[name].dims != (GENE,):
            dims = dataset[name].dims
            fail(f"{name!r} has the dimensions {dims}: select with .sel() until only {GENE!r} is left")
    loaded = dataset[list(names)].compute()
    return [loaded[name].values.astype(np.float64) for name in names]


def nothing_to_show(ax: Axes, values: np.ndarray) -> bool:
    """Say so in the picture, where there is no gene to show."""
    if len(values):
        return False
    ax.text(0.5, 0.5, "no gene to show", transform=ax.transAxes, ha="center", va="center", color=INK)
    return True


def bars(ax: Axes, values: np.ndarray, edges: np.ndarray) -> None:
    """Draw a histogram of one value a gene."""
    label = f"{len(values):,} genes"
    ax.hist(values, bins=edges.tolist(), color=SKY, edgecolor="white", linewidth=0.3, label=label)
    ax.set_ylabel("genes")


def points(ax: Axes, x: np.ndarray, y: np.ndarray, colour: str, **options: Any) -> None:
    """Draw a cloud of points: the more of them, the smaller and the more transparent."""
    crowded = len(x) > CROWDED_OVER
    style: dict[str, Any] = {"s": 5 if crowded else 14, "alpha": 0.45 if crowded else 0.8, "linewidths": 0}
    ax.scatter(x, y, c=colour, rasterized=len(x) > RASTERISE_OVER, **(style | options))


def curve(ax: Axes, x: np.ndarray, y: np.ndarray, *, label: str) -> None:
    """Draw a function of the mean through the genes, in the order of their means."""
    known = (x > 0) & (y > 0)
    order = np.argsort(x[known])
    ax.plot(x[known][order], y[known][order], color=VERMILION, linewidth=1.8, label=label, zorder=4)


def name_points(ax: Axes, x: np.ndarray, y: np.ndarray, chosen: list[int], names: np.ndarray) -> None:
    """Write the names of the chosen points beside them, none over another; one without room is left out.

    The axes must have their final limits. x, y: (n,) all points (NaN: not drawn); names: (n,).
    """
    chosen = [k for k in chosen if np.isfinite(x[k]) and np.isfinite(y[k])]
    figure = ax.get_figure(root=True)
    if not chosen or figure is None:
        return
    from matplotlib.patheffects import withStroke

    figure.draw_without_rendering()  # settles the layout: from here on a pixel means what it will mean
    line = {"arrowstyle": "-", "linewidth": 0.6, "color": INK, "shrinkA": 0, "shrinkB": 1}
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": "small", "color": INK, "zorder": 5}
    labels = [
        ax.annotate(
            plain(names[k], 60),
            (x[k], y[k]),
            (0, 0),
            textcoords="offset points",
            arrowprops=line.copy(),
            **style,
        )
        for k in chosen
    ]
    for label in labels:
        label.set_path_effects([withStroke(linewidth=2, foreground="white")])
    sizes = np.array([label.get_window_extent().size for label in labels]) * 1.04 + 2
    pixels = ax.transData.transform(np.column_stack([x, y]))
    drawn = pixels[np.isfinite(pixels).all(1)]
    places = place_labels(pixels[chosen], sizes, np.array(ax.get_window_extent().extents), drawn)
    for label, place, point in zip(labels, places, pixels[chosen], strict=True):
        if np.isfinite(place).all():
            label.xyann = tuple((place - point) * 72 / figure.dpi)
        else:
            label.remove()


def finish(ax: Axes, *, legend: Literal["upper right", "upper left"] | None = None) -> Axes:
    """Take away the frame's idle sides and add the legend."""
    ax.spines[["top", "right"]].set_visible(False)
    if legend:
        box = ax.legend(loc=legend, frameon=False, fontsize="small", handletextpad=0.4, markerscale=2)
        for handle in box.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    return ax
