"""A few weighted samples that stand for all samples where their count is zero.

Every sum over the zeros of a gene is a sum over samples of a smooth function of log(scale): for a
mean rate * scale its nearest singularity is pi away from the real line, whatever the gene. Put
through the Chebyshev nodes of an interval of log(scale), a polynomial of degree 21 follows it to
1e-14 on an interval of width 3; so the nodes, each weighted by the sum of its Lagrange polynomial
over the samples, give the sum over any number of samples to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

WIDTH = 3.0  # of an interval in log(scale)
NODES = 22  # an interval


@dataclass(frozen=True)
class WeightedSamples:
    """Scales and weights by kind.

    Parameters
    ----------
    scale, weights
        (node,) by kind.
    starts
        (kind + 1,): where each kind begins.
    """

    scale: np.ndarray
    weights: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True)
class SampleScale:
    """Scale of every sample, by kind, and what stands for the samples at a count of zero.

    Parameters
    ----------
    by_kind
        (sample,) exponential of the offset, ordered by kind.
    kind_totals
        (kind,): its sum over the samples of a kind.
    zeros
        Weighted samples for the sums over zeros.
    """

    by_kind: np.ndarray
    kind_totals: np.ndarray
    zeros: WeightedSamples


def sample_scale(by_kind: np.ndarray, starts: np.ndarray) -> SampleScale:
    """Prepare the scale (sample,) of samples ordered by kind."""
    return SampleScale(by_kind, np.add.reduceat(by_kind, starts[:-1]), stand_ins(by_kind, starts))


def stand_ins(scale: np.ndarray, starts: np.ndarray) -> WeightedSamples:
    """Weighted samples for each kind, or its own samples where they are as few.

    Parameters
    ----------
    scale
        (sample,) exponential of the offset, by kind.
    starts
        (kind + 1,): where each kind begins.
    """
    if np.diff(starts).max() <= NODES:  # as where every sample is a kind of its own
        return WeightedSamples(scale, np.ones(scale.size), starts)
    parts = [_of_kind(scale[start:stop]) for start, stop in pairwise(starts)]
    ends = np.cumsum([0, *(nodes.size for nodes, _ in parts)])
    return WeightedSamples(
        np.concatenate([nodes for nodes, _ in parts]),
        np.concatenate([weights for _, weights in parts]),
        ends.astype(np.int64),
    )


def _of_kind(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logs = np.log(scale)
    low, high = logs.min(), logs.max()
    intervals = max(int(np.ceil((high - low) / WIDTH)), 1)
    if intervals * NODES >= scale.size:
        return scale, np.ones(scale.size)
    edges = np.linspace(low, high, intervals + 1)
    which = np.clip(np.searchsorted(edges, logs, side="right") - 1, 0, intervals - 1)
    parts = [
        _interval(logs[which == i], 0.5 * (edges[i] + edges[i + 1]), 0.5 * max(edges[i + 1] - edges[i], 1e-9))
        for i in range(intervals)
        if (which == i).any()
    ]
    return np.concatenate([nodes for nodes, _ in parts]), np.concatenate([weights for _, weights in parts])


def _interval(logs: np.ndarray, centre: float, half_width: float) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes and the sum over samples of each node's Lagrange polynomial; the samples if fewer."""
    if logs.size <= NODES:
        return np.exp(logs), np.ones(logs.size)
    degrees = np.arange(NODES)
    moments = np.polynomial.chebyshev.chebvander((logs - centre) / half_width, NODES - 1).sum(axis=0)
    angles = (degrees + 0.5) * np.pi / NODES
    factors = np.where(degrees == 0, 1.0, 2.0) / NODES
    weights = np.cos(np.outer(angles, degrees)) @ (factors * moments)
    return np.exp(centre + half_width * np.cos(angles)), weights
