"""Colours and markers of the levels of a column of the samples, and the legends that explain them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xdelnx.messages import closest, fail
from xdelnx.plot.drawing import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's, the ones that stand out on white first
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#222222", "#F0E442")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
UNKNOWN = "#BBBBBB"
NUMBERS = "viridis"
MISSING = "missing"


def column_of(samples: pd.DataFrame, name: str, what: str) -> pd.Series:
    """Return the column of the samples that an argument names.

    Raises
    ------
    ValueError
        There is no such column.
    """
    if name not in samples.columns:
        fail(
            f"{what}={name!r} names no column of the samples; {closest(str(name), samples.columns, 'columns')}"
        )
    return samples[name]


def levels_of(column: pd.Series) -> tuple[list[str], np.ndarray]:
    """Levels of a column in order, and where each sample's stands among them; missing ones last."""
    texts = column.astype(object).where(column.notna(), MISSING).astype(str)
    ordered = (
        [str(level) for level in column.cat.categories] if hasattr(column, "cat") else sorted(set(texts))
    )
    found = [level for level in ordered if level in set(texts) and level != MISSING]
    found += [MISSING] if (texts == MISSING).any() else []
    return found, texts.map({level: k for k, level in enumerate(found)}).to_numpy(dtype=int)


def is_numeric(column: pd.Series) -> bool:
    """Whether a column holds numbers to scale by, rather than levels."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


@dataclass(frozen=True)
class Colours:
    """Colour and marker of each sample, and what they mean.

    Parameters
    ----------
    values
        (sample,) colours as text, or (sample, 4).
    markers
        (sample,) markers.
    levels
        Levels in the legend; empty for numbers and for one colour.
    entries
        Colour and marker of each level.
    scale
        The ScalarMappable of numbers, for a colour bar.
    """

    values: np.ndarray
    markers: list[str]
    levels: list[str]
    entries: list[tuple[str, str]]
    scale: Any = None

    def key(self) -> list[tuple[str, Any]]:
        """Levels with their colours; of numbers, the ends and the middle of the scale."""
        if self.scale is None:
            return [(level, colour) for level, (colour, _) in zip(self.levels, self.entries, strict=True)]
        low, high = self.scale.get_clim()
        return [(f"{value:.4g}", self.scale.to_rgba(value)) for value in (low, (low + high) / 2, high)]

    def explain(self, ax: Axes, title: str | None, markers: Sequence[str] | None) -> None:
        """Add the legend or the colour bar; markers are those of the points, None where they mean another column."""
        if self.scale is not None and ax.figure is not None:
            bar = ax.figure.colorbar(self.scale, ax=ax, shrink=0.5, aspect=14, pad=0.02, anchor=(0, 1.0))
            bar.set_label(plain(title or ""), fontsize="small")
            bar.outline.set_visible(False)
        if self.levels:
            shapes = ["o" if markers is None else marker for _, marker in self.entries]
            legend_beside(ax, title or "", self.levels, [colour for colour, _ in self.entries], shapes)


def colour_by(column: pd.Series | None, n_samples: int, *, alone: bool = True, first: int = 0) -> Colours:
    """Choose the colours of a column's values; with more than 8 levels, of colours and markers together.

    The palette is gone through from its colour number ``first``.

    Raises
    ------
    ValueError
        There are more levels than can be told apart: 8, or 64 if markers are free (``alone``).
    """
    if column is None:
        return Colours(np.full(n_samples, PALETTE[0]), [MARKERS[0]] * n_samples, [], [])
    if is_numeric(column):
        return _by_number(column)
    levels, codes = levels_of(column)
    most = len(PALETTE) * (len(MARKERS) if alone else 1)
    if len(levels) > most:
        fail(
            f"column {column.name!r} has {len(levels)} levels, and {most} can be told apart"
            f"{'' if alone else ' by colour alone (leave out shape for more)'}; choose another column"
        )
    entries = [(PALETTE[(first + k) % len(PALETTE)], MARKERS[k // len(PALETTE)]) for k in range(len(levels))]
    entries = [
        (UNKNOWN, m) if level == MISSING else (c, m) for level, (c, m) in zip(levels, entries, strict=True)
    ]
    return Colours(np.array([entries[k][0] for k in codes]), [entries[k][1] for k in codes], levels, entries)


def _by_number(column: pd.Series) -> Colours:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    numbers = column.to_numpy(dtype=float, na_value=np.nan)
    known = numbers[np.isfinite(numbers)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    scale = ScalarMappable(Normalize(low, high if high > low else low + 1.0), NUMBERS)
    colours = scale.to_rgba(np.where(np.isfinite(numbers), numbers, low))
    colours[~np.isfinite(numbers)] = (0.73, 0.73, 0.73, 1.0)
    return Colours(colours, ["o"] * len(numbers), [], [], scale)


def shape_by(column: pd.Series) -> list[str]:
    """Choose a marker for each level of a column.

    Raises
    ------
    ValueError
        There are more levels than markers.
    """
    levels, codes = levels_of(column)
    if len(levels) > len(MARKERS):
        fail(
            f"shape={column.name!r} has {len(levels)} levels, and there are {len(MARKERS)} markers; "
            "use it as color"
        )
    return [MARKERS[k] for k in codes]


def legend_beside(
    ax: Axes,
    title: str,
    levels: Sequence[str],
    colours: Sequence[str],
    markers: Sequence[str],
    *,
    bottom: bool = False,
) -> None:
    """Add a legend right of the axes, at its top or at its bottom, beside one that is there."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            linestyle="",
            markersize=6.5,
            markeredgewidth=0,
            label=plain(level),
        )
        for level, colour, marker in zip(levels, colours, markers, strict=True)
    ]
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (1.01, 0.0)}
    if not bottom:
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
    earlier = ax.get_legend()
    legend = ax.legend(
        handles=handles,
        title=plain(title),
        frameon=False,
        fontsize="small",
        title_fontsize="small",
        alignment="left",
        handletextpad=0.2,
        borderaxespad=0.2,
        ncols=1 + (len(handles) - 1) // 18,
        **place,
    )
    if earlier is not None and earlier is not legend:
        ax.add_artist(earlier)
