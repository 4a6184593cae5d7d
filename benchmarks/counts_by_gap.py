"""Negative binomial counts that are mostly zero, drawn at the cost of the others alone.

Samples in order of their scale are taken in short runs. From one candidate to the next there is a geometric gap, at the
probability of a count above zero that the run's largest scale has; a candidate stays with the ratio of its own
probability to that, and its count is drawn from those above zero by going up the distribution.
"""

# ruff: noqa: NPY002 - the generator that compiled code has, seeded where it runs

from __future__ import annotations

import math

import numpy as np

from xdelnx.kernels.dense import compiled

RUN = 4096  # samples of a run
LARGEST = 65_535


@compiled
def _some_count(mu: float, theta: float) -> float:
    """Probability of a count above zero; theta > 0."""
    return -math.expm1(-math.log1p(theta * mu) / theta)


@compiled
def _count_above_zero(mu: float, theta: float, u: float) -> int:
    """Return the count at which the distribution, given that it is above zero, passes ``u``."""
    share = theta * mu / (1.0 + theta * mu)
    zero = math.exp(-math.log1p(theta * mu) / theta)
    term, left, y = zero * share / theta, u * (1.0 - zero), 1
    while left > term and y < LARGEST:
        left -= term
        term *= share * (y + 1.0 / theta) / (y + 1.0)
        y += 1
    return y


@compiled
def _draw_gene(
    column: np.ndarray, order: np.ndarray, scale: np.ndarray, first: int, last: int, mean: float, theta: float
) -> None:
    """Fill in a gene's counts (sample,) at places ``order[first:last]``, whose ``scale`` rises."""
    for begin in range(first, last, RUN):
        end = min(begin + RUN, last)
        most = _some_count(mean * scale[end - 1], theta)
        per_gap = math.log1p(-most)
        i = float(begin) - 1.0
        while True:
            i += 1.0 + math.floor(math.log(1.0 - np.random.random()) / per_gap)
            if i >= end:
                break
            mu = mean * scale[int(i)]
            if np.random.random() * most < _some_count(mu, theta):
                column[order[int(i)]] = _count_above_zero(mu, theta, np.random.random())


@compiled
def draw_block(
    seed: int, samples: tuple[np.ndarray, np.ndarray, np.ndarray], mean: np.ndarray, theta: np.ndarray
) -> np.ndarray:
    """Draw counts (sample, gene), uint16.

    ``samples``: their order by group and scale, their scale in that order, and where each group begins; ``mean``
    (gene, group) at scale 1; ``theta`` (gene,) overdispersion.
    """
    order, scale, starts = samples
    np.random.seed(seed)
    out = np.zeros((order.size, mean.shape[0]), dtype=np.uint16)
    for g in range(mean.shape[0]):
        for k in range(mean.shape[1]):
            if mean[g, k] > 0.0:
                _draw_gene(out[:, g], order, scale, starts[k], starts[k + 1], mean[g, k], theta[g])
    return out
