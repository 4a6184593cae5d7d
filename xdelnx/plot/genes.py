"""Picture of one gene: its counts, and what the model makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri, stdtrit

from xdelnx.algorithms.matrices import as_dense, as_matrix
from xdelnx.designs.formulas import read
from xdelnx.messages import fail, listing
from xdelnx.plot.columns import PALETTE, colour_by, column_of, is_numeric, levels_of
from xdelnx.plot.drawing import INK, RASTERISE_OVER, axes_for, finish, plain
from xdelnx.schema import GENE
from xdelnx.verbs.fitted import Reopened, reopen
from xdelnx.verbs.inference import gene_positions
from xdelnx.verbs.predictions import predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONFIDENCE = 0.95
WIDEST = 30.0  # half an interval, natural log: beyond it, as of a group without a count, it says nothing
GRID = 80  # places along a covariate at which the fit is drawn


def gene_counts(
    data: Any,
    fit: xr.Dataset,
    gene: Any,
    by: str | None = None,
    *,
    color: str | None = None,
    ax: Axes | None = None,
    log: bool = True,
) -> Axes:
    """Counts of one gene, divided by the size factors, with the fitted mean and its 95 % confidence interval.

    Parameters
    ----------
    data, fit
        The counts, and what `fit` returned.
    gene
        Name of the gene.
    by
        Column of the samples along the horizontal axis: a factor, or numbers; by default the last column that the
        fit's formula uses.
    color
        Column of the samples to colour the points by; by default ``by``, where it is a factor.
    ax
        Axes to draw into; a new figure by default.
    log
        Whether counts are on a log scale (linear below 1, so that zeros are seen).

    Returns
    -------
    matplotlib.axes.Axes
        The Axes drawn into. Of a factor, the fit of a level is that of the mean of its samples' rows of the design;
        along numbers, other numbers are at their mean and factors at the level that most samples have. A design
        without a formula has its fit drawn at each sample. Intervals use the gene's degrees of freedom of the test
        (``df2``; of several, as with clusters, the fewest), or a normal distribution where there are none.

    Raises
    ------
    ValueError
        A gene or column is not there, no column is known to plot by, or the data is not that of the fit.
    """
    again = reopen(data, fit)
    position = int(gene_positions(gene, again.table.genes)[0])
    by = _last_column(again) if by is None else by
    x = column_of(again.table.samples, by, "by")
    values = _normalised_counts(again, position)
    ax = axes_for(ax)
    numeric = _is_scale(again, x)
    levels = None if numeric else x
    colour = levels if color is None else column_of(again.table.samples, color, "color")
    points = _along_numbers(x) if numeric else _along_levels(ax, x)
    _scatter(ax, points, values, colour, color, legend=color is not None)
    multiplier = _multiplier(fit.isel({GENE: position}))
    draw = _fit_along if numeric and again.model.formula else _fit_at_samples if numeric else _fit_by_level
    draw(ax, again, fit, again.table.genes[position], x, multiplier)
    mark = "diamonds" if ax.containers else "line"
    explained = f"{plain(by)}   ({mark}: fit, 95 % interval)" if ax.containers or ax.lines else plain(by)
    ax.set(xlabel=explained, ylabel="count / size factor")
    ax.set_title(plain(again.table.genes[position], 60), fontsize="medium")
    _count_scale(ax, log=log)
    return finish(ax)


def _last_column(again: Reopened) -> str:
    """Column of the samples that the formula uses last."""
    columns = again.table.samples.columns
    terms = [] if again.model.formula is None else [term for term in again.model.terms if term != "Intercept"]
    if not terms:
        fail(
            f"the design names no column of the samples; choose one to plot by: by=, out of {listing(columns)}"
        )
    return str(read(f"~ {terms[-1]}", columns).columns[-1])


def _is_scale(again: Reopened, x: pd.Series) -> bool:
    """Whether a column is a scale along which the model has a curve: numbers that are not a factor of the formula."""
    formula = again.model.formula
    return is_numeric(x) and (
        formula is None or x.name not in read(formula, again.table.samples.columns).coded.values()
    )


def _normalised_counts(again: Reopened, position: int) -> np.ndarray:
    """Counts (sample,) of the gene, divided by size factors and offsets."""
    counts = again.table.array[:, position : position + 1]
    counts = counts.compute() if hasattr(counts, "dask") else counts
    return as_dense(as_matrix(counts))[:, 0] / np.exp(_log_scale(again, position))


def _log_scale(again: Reopened, position: int) -> np.ndarray:
    by_sample, by_entry = again.offset
    scale = np.log(np.asarray(again.arrays["size_factor"]))
    scale = scale if by_sample is None else scale + by_sample
    return scale if by_entry is None else scale + np.asarray(by_entry[:, position])


def _along_numbers(x: pd.Series) -> np.ndarray:
    return x.to_numpy(dtype=float, na_value=np.nan)


def _along_levels(ax: Axes, x: pd.Series) -> np.ndarray:
    """Places of the samples around their level's, the same in every picture."""
    levels, codes = levels_of(x)
    _name_levels(ax, levels)
    places = codes.astype(float)
    for k in range(len(levels)):
        of_level = np.flatnonzero(codes == k)
        spread = min(0.18, 0.03 * (of_level.size - 1))
        steps = np.linspace(-spread, spread, of_level.size) if of_level.size > 1 else np.zeros(1)
        places[of_level] += np.random.default_rng(k).permutation(steps)
    return places


def _name_levels(ax: Axes, levels: list[str]) -> None:
    slanted = sum(map(len, levels)) > 40
    turn: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    ax.set_xticks(range(len(levels)), [plain(level) for level in levels], **turn)
    ax.set_xlim(-0.6, len(levels) - 0.4)


def _scatter(
    ax: Axes, x: np.ndarray, y: np.ndarray, column: pd.Series | None, title: str | None, *, legend: bool
) -> None:
    colours = colour_by(column, len(x))
    size, alpha = (34, 0.85) if len(x) <= 200 else (8, 0.5)
    for marker in dict.fromkeys(colours.markers):
        part = np.array([other == marker for other in colours.markers])
        style: dict[str, Any] = {"s": size, "alpha": alpha, "linewidths": 0, "zorder": 2}
        ax.scatter(
            x[part],
            y[part],
            c=colours.values[part],
            marker=marker,
            rasterized=len(x) > RASTERISE_OVER,
            **style,
        )
    if legend:
        colours.explain(ax, title, colours.markers)


def _multiplier(of_gene: xr.Dataset) -> float:
    """Half width of the interval in standard errors, by the degrees of freedom of the gene's tests."""
    upper = 0.5 + CONFIDENCE / 2
    df = np.asarray(of_gene["df2"].values, dtype=float) if "df2" in of_gene else np.array(np.inf)
    known = df[np.isfinite(df)]
    return float(stdtrit(known.min(), upper)) if known.size else float(ndtri(upper))


def _means(
    data: Any, fit: xr.Dataset, gene: Any, rows: pd.DataFrame, multiplier: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fitted mean and the ends of its interval at new samples, each (sample,), for a size factor of 1."""
    found = predict(data, fit, rows, genes=[gene], scale="link")
    eta, error = found["prediction"].values[:, 0], multiplier * found["prediction_se"].values[:, 0]
    error = np.where(error < WIDEST, error, np.nan)
    return np.exp(eta), np.exp(eta - error), np.exp(eta + error)


def _fit_by_level(
    ax: Axes, again: Reopened, fit: xr.Dataset, gene: Any, x: pd.Series, multiplier: float
) -> None:
    """Draw the fitted mean and its interval for each level."""
    levels, codes = levels_of(x)
    rows = [again.model.matrix[codes == k].mean(axis=0) for k in range(len(levels))]
    new = pd.DataFrame(rows, columns=list(again.model.names))
    _interval_marks(ax, np.arange(len(levels)) + 0.3, _means(again.table.dataset, fit, gene, new, multiplier))


def _fit_at_samples(
    ax: Axes, again: Reopened, fit: xr.Dataset, gene: Any, x: pd.Series, multiplier: float
) -> None:
    """Draw the fitted mean and its interval at each sample of a design without a formula."""
    new = pd.DataFrame(again.model.matrix, columns=list(again.model.names))
    _interval_marks(ax, _along_numbers(x), _means(again.table.dataset, fit, gene, new, multiplier))


def _interval_marks(ax: Axes, x: np.ndarray, means: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    mean, low, high = means
    known = np.isfinite(mean)
    if not known.any():
        return
    ends = np.abs(np.array([mean - low, high - mean]))[:, known]
    style: dict[str, Any] = {"fmt": "D", "color": INK, "markersize": 4.5, "capsize": 3, "linewidth": 1.3}
    ax.errorbar(x[known], mean[known], ends, zorder=4, **style)


def _fit_along(
    ax: Axes, again: Reopened, fit: xr.Dataset, gene: Any, x: pd.Series, multiplier: float
) -> None:
    """Draw the fitted mean along a covariate, everything else at what is usual."""
    numbers = _along_numbers(x)
    grid = np.linspace(np.nanmin(numbers), np.nanmax(numbers), GRID)
    new = pd.DataFrame({str(name): _usual(column, GRID) for name, column in again.table.samples.items()})
    new[x.name] = grid
    mean, low, high = _means(again.table.dataset, fit, gene, new, multiplier)
    if np.isfinite(mean).all():
        ax.fill_between(grid, low, high, color=PALETTE[0], alpha=0.18, linewidth=0, zorder=1)
        ax.plot(grid, mean, color=PALETTE[0], linewidth=1.8, zorder=3)


def _usual(column: pd.Series, n: int) -> pd.Series:
    """The mean of a column of numbers, or the level that most samples have, n times."""
    value = column.mean() if is_numeric(column) else column.mode().iloc[0]
    return pd.Series([value] * n, dtype=None if is_numeric(column) else column.dtype)


def _count_scale(ax: Axes, *, log: bool) -> None:
    """Scale the counts' axis, zero at its foot."""
    if not log:
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
        return
    from matplotlib.ticker import FuncFormatter, SymmetricalLogLocator

    low, high = ax.dataLim.intervaly
    ax.set_yscale("symlog", linthresh=1.0, linscale=0.4)
    narrow = high < 30 * max(low, 1.0)
    ax.yaxis.set_major_locator(
        SymmetricalLogLocator(base=10, linthresh=1.0, subs=[1, 2, 5] if narrow else [1])
    )
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    )
    ax.set_ylim(-0.1 if low < 1.0 else low / 1.25, max(high * 1.25, 1.0))
