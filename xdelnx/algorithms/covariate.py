"""A few weighted places in (size factor, covariate) that stand for the samples of a design with one covariate.

Samples that differ in the covariate alone (a *stratum*: they share every factor) have the mean
``scale exp(intercept + slope x)``, so every sum over them, of zeros and of counts alike, is one of a smooth function of
log(scale) and x, times 1 or times the count, in which all terms with a mean are linear. Put through the Chebyshev nodes
of a rectangle these sums need, of the samples, only how much of 1 and of the gene's counts falls to
each node by its Lagrange polynomials. As in `xdelnx.algorithms.zeros` the singularities are pi away, here for
log(scale) + slope x: the steeper the slope, the less the nodes can follow, and `CovariateNodes.follow` says which
genes they do follow to `NODE_ERROR`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from xdelnx.algorithms.basis import Basis, Layout, distinct_rows, packed_products
from xdelnx.algorithms.zeros import WeightedSamples
from xdelnx.kernels.dense import SMALLEST_MEAN
from xdelnx.kernels.nodes import spread

Array = Any

NODE_ERROR = 2e-13  # of a function's largest value, by interpolation
WIDTH = 3.0  # of an interval in log(scale)
COVARIATE_NODES = 16  # along the covariate, in a box
BOX = 5.0  # width of a box, in standard deviations of the covariate
STEEPEST = 2.4  # log mean across a box, at which 16 nodes still have an error of 2e-12
FEW_VALUES = 24  # a column with as many distinct values is a factor's
ON_A_LINE = 1e-9  # of the length of a stratum's rows may lie beside it


@dataclass(frozen=True)
class CovariateNodes:
    """Kinds that are no samples but places along the covariate, and how samples are spread over them.

    Parameters
    ----------
    samples
        Scale and weight of the nodes, by kind.
    first, last, share
        (kind,): its row of the design is ``1 - share`` of that of the layout's kind ``first`` and ``share`` of
        ``last``'s.
    strata
        (stratum + 1,): where the kinds of each begin.
    boxes
        (box, 2): first and last of the kinds of each box.
    at, alone
        (sample,): first of the nodes of its box, or its only one; whether it is that. In the samples' own order.
    by_scale, by_covariate
        (sample, node) Lagrange polynomials along both directions of the box, whose nodes are together, those of a
        place along the covariate one after the other.
    """

    samples: WeightedSamples
    first: np.ndarray
    last: np.ndarray
    share: np.ndarray
    strata: np.ndarray
    boxes: np.ndarray
    at: np.ndarray
    alone: np.ndarray
    by_scale: np.ndarray
    by_covariate: np.ndarray

    @property
    def size(self) -> int:
        """Number of nodes."""
        return self.samples.scale.size

    @property
    def single(self) -> np.ndarray:
        """Whether a kind is a sample that stands for itself: (kind,)."""
        return np.diff(self.samples.starts) == 1

    @property
    def spread_arguments(self) -> tuple[Any, ...]:
        """What the kernel ``spread`` needs to know of the samples."""
        return self.at, self.alone, self.by_scale, self.by_covariate, self.size

    def rows(self, by_kind: np.ndarray) -> np.ndarray:
        """Numbers at these kinds of what is linear in the design's row: (layout's kind, ...) gives (kind, ...)."""
        share = self.share.reshape(-1, *(1 for _ in by_kind.shape[1:]))
        return (1.0 - share) * by_kind[self.first] + share * by_kind[self.last]

    def basis(self, basis: Basis) -> Basis:
        """Return the same parameters at these kinds."""
        rows = self.rows(basis.rows)
        return Basis(rows, basis.groups, packed_products(rows, basis.groups), basis.to_coefficients)

    def follow(self, xp: Any, log_mean: Array) -> Array:
        """Whether the nodes follow means with these logs at scale 1, (gene, kind): (gene,).

        Also where a mean in a box may be below `SMALLEST_MEAN`, at which what is summed has a kink, they do not.
        """
        in_boxes = np.repeat(~self.single, np.diff(self.samples.starts))
        # boxes reach a little beyond their nodes
        least = np.log(SMALLEST_MEAN / self.samples.scale[in_boxes].min()) + 0.1
        low = xp.min(xp.take(log_mean, np.flatnonzero(~self.single), axis=1), axis=1) > least
        across = xp.take(log_mean, self.boxes[:, 1], axis=1) - xp.take(log_mean, self.boxes[:, 0], axis=1)
        return low & xp.all(xp.abs(across) < STEEPEST, axis=1)


def covariate_nodes(layout: Layout, scale: np.ndarray) -> CovariateNodes | None:
    """Places that stand for samples with this scale (sample,), by kind; None if they would not be fewer.

    The design may have one covariate, also in interactions with factors; not several, nor its powers.
    """
    strata = _strata(layout.design)
    if strata is None:
        return None
    order, ends = strata
    kinds = _Kinds(layout, np.log(scale))
    for first, last in pairwise(ends):
        if not kinds.add_stratum(order[first:last]):
            return None
    return kinds.nodes() if kinds.n_nodes < scale.size else None


def _strata(design: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Kinds by what they have in all columns of few values, and where each stratum begins; None without others."""
    few = np.array([np.unique(column).size <= FEW_VALUES for column in design.T])
    if few.all():
        return None
    _, stratum = distinct_rows(design[:, few])
    order = np.argsort(stratum, kind="stable")
    return order, np.concatenate([[0], np.cumsum(np.bincount(stratum))])


def _along_a_line(rows: np.ndarray) -> tuple[np.ndarray, int, int] | None:
    """Place from 0 to 1 of rows (kind, coefficient) on a line, and the kinds at its ends; None if on none."""
    size = np.abs(rows).max(axis=0)
    scaled = rows / np.where(size > 0.0, size, 1.0)
    away = scaled - scaled[np.argmax(np.sum((scaled - scaled[0]) ** 2, axis=1))]
    end = away[np.argmax(np.sum(away**2, axis=1))]
    length = end @ end
    if length == 0.0:
        return np.zeros(rows.shape[0]), 0, 0
    place = away @ end / length
    if np.abs(away - place[:, None] * end).max() > ON_A_LINE * np.sqrt(length):
        return None
    return place, int(np.argmin(place)), int(np.argmax(place))


def _stretch(place: np.ndarray, width: float) -> tuple[int, int]:
    """Bounds in sorted places of the stretch of this width that holds most."""
    stop = np.searchsorted(place, place + width, side="right")
    first = int(np.argmax(stop - np.arange(place.size)))
    return first, int(stop[first])


def _lagrange(x: np.ndarray, n: int) -> np.ndarray:
    """Lagrange polynomials of n Chebyshev nodes (of the first kind, rising) at x within +-1: (x, node)."""
    degrees = np.arange(n)
    factors = np.where(degrees == 0, 1.0, 2.0) / n
    at_nodes = np.cos(np.outer(_angles(n), degrees)) * factors
    return np.polynomial.chebyshev.chebvander(x, n - 1) @ at_nodes.T


def _angles(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5)[::-1] * np.pi / n


def _nodes_for(half_width: float) -> int:
    """Nodes that follow a function of log(scale) on an interval to `NODE_ERROR`; a multiple of 8, for registers."""
    ellipse = np.pi / half_width + np.hypot(np.pi / half_width, 1.0)
    return 8 * int(np.ceil(-np.log(NODE_ERROR) / np.log(ellipse) / 8))


class _Kinds:
    """Kinds and nodes, as one stratum after the other is added."""

    def __init__(self, layout: Layout, log_scale: np.ndarray) -> None:
        self.layout, self.log_scale = layout, log_scale
        low, high = log_scale.min(), log_scale.max()
        intervals = max(int(np.ceil((high - low) / WIDTH)), 1)
        self.half = 0.5 * max((high - low) / intervals, 1e-9)
        self.interval = np.clip(((log_scale - low) / (2.0 * self.half)).astype(np.int64), 0, intervals - 1)
        self.centres = low + self.half * (2.0 * np.arange(intervals) + 1.0)
        self.n_scale, n = _nodes_for(self.half), log_scale.size
        self.by_scale = _lagrange((log_scale - self.centres[self.interval]) / self.half, self.n_scale)
        self.by_covariate = np.zeros((n, COVARIATE_NODES))
        self.at, self.alone = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        self.scales: list[np.ndarray] = []
        self.rows: list[tuple[int, int, float]] = []
        self.boxes: list[tuple[int, int]] = []
        self.strata, self.n_nodes = [0], 0

    def add_stratum(self, kinds: np.ndarray) -> bool:
        """Add the samples of these kinds, which share their factors; whether they lie on a line."""
        line = _along_a_line(self.layout.design[kinds])
        if line is None:
            return False
        place, first, last = line
        sizes = self.layout.sizes[kinds]
        before = np.cumsum(sizes) - sizes
        samples = np.repeat(self.layout.starts[kinds] - before, sizes) + np.arange(sizes.sum())
        places = np.repeat(place, sizes)
        by_place = np.argsort(places, kind="stable")
        width = max(BOX * float(np.std(places)), 1e-12)
        self._add(samples[by_place], places[by_place], width, (int(kinds[first]), int(kinds[last])))
        self.strata.append(len(self.rows))
        return True

    def _add(self, samples: np.ndarray, places: np.ndarray, width: float, ends: tuple[int, int]) -> None:
        """The stretch that holds most, and on both sides of it the same again; what is few stays alone."""
        if samples.size == 0:
            return
        start, stop = _stretch(places, width)
        if stop - start <= self.n_scale * COVARIATE_NODES:
            self._add_alone(samples, places, ends)
            return
        inside = slice(start, stop)
        for interval in np.unique(self.interval[samples[inside]]):
            here = start + np.flatnonzero(self.interval[samples[inside]] == interval)
            add = self._add_box if here.size > self.n_scale * COVARIATE_NODES else self._add_alone
            add(samples[here], places[here], ends)
        self._add(samples[:start], places[:start], width, ends)
        self._add(samples[stop:], places[stop:], width, ends)

    def _add_alone(self, samples: np.ndarray, places: np.ndarray, ends: tuple[int, int]) -> None:
        for sample, place in zip(samples, places, strict=True):
            self.at[sample] = self._new_kind(ends, place, np.exp(self.log_scale[[sample]]))

    def _add_box(self, samples: np.ndarray, places: np.ndarray, ends: tuple[int, int]) -> None:
        low, high = places[0], places[-1]
        centre, half = 0.5 * (low + high), 0.5 * max(high - low, 1e-12)
        self.by_covariate[samples] = _lagrange((places - centre) / half, COVARIATE_NODES)
        self.at[samples], self.alone[samples] = self.n_nodes, False
        scales = np.exp(self.centres[self.interval[samples[0]]] + self.half * np.cos(_angles(self.n_scale)))
        self.boxes.append((len(self.rows), len(self.rows) + COVARIATE_NODES - 1))
        for node in np.cos(_angles(COVARIATE_NODES)):
            self._new_kind(ends, centre + half * node, scales)

    def _new_kind(self, ends: tuple[int, int], place: float, scale: np.ndarray) -> int:
        self.rows.append((*ends, place))
        self.scales.append(scale)
        self.n_nodes += scale.size
        return self.n_nodes - scale.size

    def nodes(self) -> CovariateNodes:
        """Everything together, with the nodes' weights: what falls to them of 1 a sample."""
        first, last, share = zip(*self.rows, strict=True)
        starts = np.concatenate([[0], np.cumsum([scale.size for scale in self.scales])]).astype(np.int64)
        n = self.log_scale.size
        own = np.empty(n, dtype=np.int64)
        own[self.layout.order] = np.arange(n)
        tables = [values[own] for values in (self.at, self.alone, self.by_scale, self.by_covariate)]
        everyone = np.ones(n), np.arange(n, dtype=np.int32), np.array([0, n])
        weights = spread(*everyone, *tables, self.n_nodes)[0]
        samples = WeightedSamples(np.concatenate(self.scales), weights, starts)
        kinds = np.array(first), np.array(last), np.array(share)
        strata, boxes = np.array(self.strata), np.array(self.boxes).reshape(-1, 2)
        return CovariateNodes(samples, *kinds, strata, boxes, *tables)
