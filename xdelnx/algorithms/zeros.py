"""A few weighted samples that stand for all samples of a kind.

Every sum over a kind of one term a sample, of zeros and, as every term with a mean is linear in the count, of
counts, is one of a smooth function of log(scale), times 1 or times the count: for a mean rate * scale its nearest
singularity is pi away from the real line, whatever the gene. Put through the Chebyshev nodes of a piece of
log(scale), a polynomial of degree 15 follows it to 1e-14 on a piece of width 1.7; so the nodes, each weighted by the
sum of its Lagrange polynomial over the samples, give the sum over any number of samples to rounding, and so they do
for the counts, each put on the nodes once (`xdelnx.algorithms.factor_nodes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from xdelnx.kernels.nodes import NODES

WIDTH = 1.7  # of a piece in log(scale), which has `NODES` nodes


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
class StandIns(WeightedSamples):
    """Such nodes, and where the samples they stand for lie between them.

    Parameters
    ----------
    order
        (sample,): samples by kind and piece, as places in the order by kind.
    pieces, nodes
        (piece + 1,): where each begins among these, and where its nodes do: as many where it is few samples, which
        stand for themselves.
    kinds
        (kind + 1,): where each kind's pieces begin.
    x
        (sample,): place in the piece, within +-1, in this order.
    least
        (kind,): smallest scale of a sample.
    """

    order: np.ndarray
    pieces: np.ndarray
    nodes: np.ndarray
    kinds: np.ndarray
    x: np.ndarray
    least: np.ndarray


@dataclass(frozen=True)
class SampleScale:
    """Scale of every sample, by kind, and what stands for the samples.

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
    zeros: StandIns


def sample_scale(by_kind: np.ndarray, starts: np.ndarray) -> SampleScale:
    """Prepare the scale (sample,) of samples ordered by kind."""
    return SampleScale(by_kind, np.add.reduceat(by_kind, starts[:-1]), stand_ins(by_kind, starts))


def stand_ins(scale: np.ndarray, starts: np.ndarray) -> StandIns:
    """Weighted samples for each kind, or its own samples where they are as few.

    Parameters
    ----------
    scale
        (sample,) exponential of the offset, by kind.
    starts
        (kind + 1,): where each kind begins.
    """
    least = np.minimum.reduceat(scale, starts[:-1])
    if np.diff(starts).max() <= NODES:  # as where every sample is a kind of its own
        kinds, everyone = np.arange(starts.size), np.arange(scale.size)
        alone = everyone, starts, starts, kinds, np.zeros(scale.size), least
        return StandIns(scale, np.ones(scale.size), starts, *alone)
    parts = [_of_kind(scale, np.arange(*ends)) for ends in pairwise(starts)]
    pieces = [piece for part in parts for piece in part]
    nodes = _ends([piece.scale.size for piece in pieces])
    kinds = _ends([len(part) for part in parts])
    return StandIns(
        np.concatenate([piece.scale for piece in pieces]),
        np.concatenate([piece.weights for piece in pieces]),
        nodes[kinds],
        np.concatenate([piece.samples for piece in pieces]),
        _ends([piece.samples.size for piece in pieces]),
        nodes,
        kinds,
        np.concatenate([piece.x for piece in pieces]),
        least,
    )


def _ends(sizes: list[int]) -> np.ndarray:
    return np.cumsum([0, *sizes]).astype(np.int64)


@dataclass(frozen=True)
class _Piece:
    """Nodes of some samples of a kind, and where these lie."""

    scale: np.ndarray
    weights: np.ndarray
    samples: np.ndarray
    x: np.ndarray


def _of_kind(scale: np.ndarray, samples: np.ndarray) -> list[_Piece]:
    logs = np.log(scale[samples])
    low, high = logs.min(), logs.max()
    n = max(int(np.ceil((high - low) / WIDTH)), 1)
    if n * NODES >= samples.size:
        return [_alone(scale, samples)]
    edges = np.linspace(low, high, n + 1)
    which = np.clip(np.searchsorted(edges, logs, side="right") - 1, 0, n - 1)
    halves = [(0.5 * (start + stop), 0.5 * max(stop - start, 1e-9)) for start, stop in pairwise(edges)]
    return [_piece(scale, samples[which == i], *halves[i]) for i in range(n) if np.count_nonzero(which == i)]


def _alone(scale: np.ndarray, samples: np.ndarray) -> _Piece:
    """Samples that stand for themselves."""
    return _Piece(scale[samples], np.ones(samples.size), samples, np.zeros(samples.size))


def _piece(scale: np.ndarray, samples: np.ndarray, centre: float, half_width: float) -> _Piece:
    """Chebyshev nodes and the sum over samples of each node's Lagrange polynomial; the samples if fewer."""
    if samples.size <= NODES:
        return _alone(scale, samples)
    x = (np.log(scale[samples]) - centre) / half_width
    moments = np.polynomial.chebyshev.chebvander(x, NODES - 1).sum(axis=0)
    nodes = np.exp(centre + half_width * np.cos(_angles()))
    return _Piece(nodes, from_moments() @ moments, samples, x)


def from_moments() -> np.ndarray:
    """From sums of Chebyshev polynomials over samples to those of the nodes' Lagrange polynomials: (node, degree)."""
    degrees = np.arange(NODES)
    return np.cos(np.outer(_angles(), degrees)) * np.where(degrees == 0, 1.0, 2.0) / NODES


def _angles() -> np.ndarray:
    return (np.arange(NODES) + 0.5) * np.pi / NODES
