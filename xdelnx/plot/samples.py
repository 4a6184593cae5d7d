"""Pictures of the samples: which are alike, by principal components or by leading fold changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xdelnx.algorithms.ordination import classical_scaling, leading_distances, principal_components
from xdelnx.messages import counted, fail
from xdelnx.plot.columns import colour_by, column_of, legend_beside, levels_of, shape_by
from xdelnx.plot.drawing import INK, RASTERISE_OVER, axes_for, finish, name_points
from xdelnx.schema import GENE, SAMPLE
from xdelnx.verbs.inputs import Counts, as_counts
from xdelnx.verbs.normalizing import normalize

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED_UP_TO = 20  # samples, unless names are asked for
MOST_PAIRED = 500  # samples whose pairs are compared one by one
LARGE = 16_000_000  # counts: beyond it they are normalised a block of genes at a time


def pca(
    data: Any,
    color: str | None = None,
    *,
    shape: str | None = None,
    ax: Axes | None = None,
    names: bool | None = None,
    n_genes: int = 500,
    components: tuple[int, int] = (1, 2),
    method: str = "log_cpm",
    size_factors: Any = "normed_sum",
    counts: str = "counts",
) -> Axes:
    """Principal components of the samples' normalised counts, one point a sample.

    Parameters
    ----------
    data
        Counts as in `fit`; lazy ones are read twice, a block of genes at a time.
    color
        Column of the samples to colour by: a factor, or numbers.
    shape
        Column of the samples whose levels have a marker each; by default markers help colours out beyond 8 levels.
    ax
        Axes to draw into, whose size is final (names are placed for it); a new figure by default.
    names
        Whether to write the samples' names beside them; by default up to 20 samples.
    n_genes
        Genes that count: those of the largest variance between samples.
    components
        Which two are shown, counted from 1.
    method, size_factors, counts
        As in `normalize`: log2 counts per million, or ``"acosh"``.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes drawn into; the axes' labels have the share of the chosen genes' variance.

    Raises
    ------
    ValueError
        A column is not there or has more levels than can be told apart, or a number is out of range.
    """
    table = as_counts(data, counts)
    first, second = _two_components(components, len(table.samples))
    values = _variable_genes(table, _positive(n_genes, "n_genes"), method, size_factors, counts)
    scores, shares = principal_components(values, max(first, second))
    labels = [f"PC{k} ({shares[k - 1]:.1%} of variance)" for k in (first, second)]
    return _draw(ax, table, scores[:, [first - 1, second - 1]], labels, color, shape, names)


def mds(
    data: Any,
    color: str | None = None,
    *,
    shape: str | None = None,
    ax: Axes | None = None,
    names: bool | None = None,
    n_genes: int = 500,
    method: str = "log_cpm",
    size_factors: Any = "normed_sum",
    counts: str = "counts",
) -> Axes:
    """Multidimensional scaling of the samples, whose distances are leading fold changes.

    The distance of two samples is the root mean square of the largest differences between them, whichever
    genes these are, as in limma's and edgeR's plotMDS (Ritchie et al. 2015, doi:10.1093/nar/gkv007).

    Parameters
    ----------
    data
        Counts as in `fit`, of 500 samples at most.
    color, shape, ax, names
        As in `pca`.
    n_genes
        Genes that count for each pair of samples.
    method, size_factors, counts
        As in `normalize`.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes drawn into; the axes' labels have the share of what the distances hold.

    Raises
    ------
    ValueError
        As `pca`; or there are more samples, each pair of which would have to be compared.
    """
    table = as_counts(data, counts)
    if len(table.samples) > MOST_PAIRED:
        fail(
            f"mds compares each pair of samples, and there are {len(table.samples):,} samples ({MOST_PAIRED} at most); "
            "use plot.pca, or sum cells with xdelnx.pseudobulk"
        )
    n_top = _positive(n_genes, "n_genes")
    values = normalize(table.dataset, method, size_factors=size_factors, counts=counts)
    distances = leading_distances(values.transpose(SAMPLE, GENE).values, n_top)
    points, shares = classical_scaling(distances, 2)
    labels = [f"leading fold change, dimension {k} ({shares[k - 1]:.1%})" for k in (1, 2)]
    return _draw(ax, table, points, labels, color, shape, names)


def _positive(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        fail(f"{what} is a whole number, 1 or more; received {value!r}")
    return int(value)


def _two_components(components: Any, n_samples: int) -> tuple[int, int]:
    """Numbers of the two components that are shown."""
    if not isinstance(components, Sequence) or isinstance(components, str) or len(components) != 2:
        fail(f"components are two numbers, such as (1, 2); received {components!r}")
    first, second = (_positive(k, "each of components") for k in components)
    if max(first, second) > max(n_samples - 1, 2):
        fail(
            f"{counted(n_samples, 'sample')} have {n_samples - 1} components; received components={components!r}"
        )
    return first, second


def _variable_genes(table: Counts, n: int, method: str, size_factors: Any, counts: str) -> np.ndarray:
    """Normalised values (sample, gene) of the genes of largest variance, a block of genes in memory at a time."""
    dataset = table.dataset
    if not hasattr(table.array, "dask") and table.array.size > LARGE:
        dataset = dataset.chunk({GENE: max(LARGE // len(table.samples), 1)})
    values = normalize(dataset, method, size_factors=size_factors, counts=counts).transpose(SAMPLE, GENE)
    variance = np.asarray(values.var(SAMPLE).values)
    chosen = np.sort(np.argsort(-variance, kind="stable")[:n])
    return np.asarray(values.isel({GENE: chosen}).values)


def _draw(
    ax: Axes | None,
    table: Counts,
    points: np.ndarray,
    labels: Sequence[str],
    color: str | None,
    shape: str | None,
    names: bool | None,  # noqa: FBT001 - as its callers have it
) -> Axes:
    """Draw one point a sample, in its colour and with its marker, and the names."""
    column = None if color is None else column_of(table.samples, color, "color")
    colours = colour_by(column, len(points), alone=shape is None)
    markers = colours.markers if shape is None else shape_by(column_of(table.samples, shape, "shape"))
    ax = axes_for(ax)
    ax.set(xlabel=labels[0], ylabel=labels[1])
    ax.margins(0.12)
    size = 55 if len(points) <= 100 else 18 if len(points) <= 2_000 else 5
    style: dict[str, Any] = {
        "s": size,
        "linewidths": 0.4 if size > 5 else 0,
        "edgecolors": "white",
        "zorder": 3,
    }
    for marker in dict.fromkeys(markers):
        of_marker = np.array([other == marker for other in markers])
        ax.scatter(
            points[of_marker, 0],
            points[of_marker, 1],
            c=colours.values[of_marker],
            marker=marker,
            rasterized=len(points) > RASTERISE_OVER,
            **style,
        )
    colours.explain(ax, color, markers if shape is None else None)
    if shape is not None:
        levels, codes = levels_of(table.samples[shape])
        shapes = [markers[int(np.argmax(codes == k))] for k in range(len(levels))]
        legend_beside(ax, shape, levels, [INK] * len(levels), shapes, bottom=color is not None)
    finish(ax)
    if names or (names is None and len(points) <= NAMED_UP_TO):
        name_points(ax, points[:, 0], points[:, 1], list(range(len(points))), table.sample_names)
    return ax
