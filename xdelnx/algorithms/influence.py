"""How much a single sample bears on the fit of a gene: its leverage, and Cook's distance.

Sources: Cook 1977; with the robust dispersion, Love, Huber & Anders 2014, doi:10.1186/s13059-014-0550-8.
Arrays of a tile of genes whose every entry is visited (`xdelnx.algorithms.tiles.dense_tiles`), samples by kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from scipy.special import chdtr, chdtri

from xdelnx.algorithms.glm import Model
from xdelnx.algorithms.observations import DenseObservations
from xdelnx.scalars.negative_binomial import fisher_weight

Array = Any

REPLICATES = 3  # samples with the same row of the design, for a count to be compared with the others'
SMALLEST_ROBUST_THETA = 0.04
NEARLY_ONE = 1.0 - 1e-9  # leverage of a sample that has a coefficient to itself


def expand(values: Array, observations: DenseObservations) -> Array:
    """From kinds to samples: (gene, kind) gives (gene, sample)."""
    xp, starts = observations.backend.xp, observations.starts
    return xp.repeat(values, xp.asarray(starts[1:] - starts[:-1]), axis=1)


def means(observations: DenseObservations, m: Array) -> Array:
    """Fitted means (gene, sample) from those at scale 1 (gene, kind)."""
    return expand(m, observations) * observations.scale


def leverage(model: Model, observations: DenseObservations, m: Array, theta: Array) -> Array:
    """Diagonal of the hat matrix of the weighted fit: ``w_i x_i' (X' W X)^-1 x_i``, (gene, sample).

    ``W`` is the expected information, ``mu / (1 + theta mu)`` times the sample's weight. A gene's values are
    between 0 and 1 and add up to the number of coefficients (less under a ridge penalty).

    Parameters
    ----------
    model
        The basis, with a penalty if any.
    observations
        The counts; samples are in their order.
    m
        (gene, kind) fitted mean at scale 1.
    theta
        (gene,) overdispersion.
    """
    xp = observations.backend.xp
    information = model.of(observations).information(observations.fisher(m, theta, xp.arange(theta.shape[0])))
    forms = model.row_forms(information)
    weight = fisher_weight(means(observations, m), theta[:, None]) * observations.weights
    # A group whose means underflow has no information: a form of infinity, and no weight.
    return xp.clip(xp.where(weight > 0.0, weight * expand(forms, observations), 0.0), 0.0, 1.0)


def cooks_distance(model: Model, observations: DenseObservations, m: Array, theta: Array) -> Array:
    """Cook's distance of each count, ``r^2 / p * h / (1 - h)^2``: (gene, sample).

    The Pearson residual r has the variance of the gene's `robust_dispersion`, which an outlier does not
    inflate; h is the `leverage`. NaN where that is 1.

    Parameters
    ----------
    model, observations, m, theta
        As for `leverage`.
    """
    xp, mu = observations.backend.xp, means(observations, m)
    h = leverage(model, observations, m, theta)
    robust = robust_dispersion(observations)[:, None]
    variance = xp.where(mu > 0.0, mu + robust * mu * mu, 1.0)
    free = h < NEARLY_ONE
    influence = xp.where(free, h, xp.nan) / xp.where(free, 1.0 - h, 1.0) ** 2
    return (observations.y - mu) ** 2 / variance * influence / model.size


def robust_dispersion(observations: DenseObservations) -> Array:
    """Overdispersion (gene,) by moments, from the largest trimmed variance of any group of replicates.

    Counts are on the scale of 1; replicates share a row of the design, at least 3 of them (all samples where
    there are none). At least 0.04.
    """
    xp = observations.backend.xp
    values = observations.y / observations.scale
    spread = [_trimmed_variance(xp, values[:, part]) for part in _replicates(observations.starts)]
    variance = xp.max(xp.stack(spread, axis=1), axis=1)
    mean = xp.mean(values, axis=1)
    return xp.clip((variance - mean) / xp.where(mean > 0.0, mean * mean, 1.0), SMALLEST_ROBUST_THETA, None)


def _replicates(starts: Array) -> Iterator[slice]:
    """Samples of each kind that has at least `REPLICATES`, or all of them."""
    kinds = [slice(int(a), int(b)) for a, b in pairwise(starts)]
    yield from [kind for kind in kinds if kind.stop - kind.start >= REPLICATES] or [slice(0, int(starts[-1]))]


def _trimmed_variance(xp: Any, values: Array) -> Array:
    """Trimmed mean of the squared deviations from the trimmed mean, (gene,), unbiased for many normal values."""
    n = values.shape[1]
    share = 1.0 / 3.0 if n <= 3 else 0.25 if n < 24 else 0.125
    squares = (values - trimmed_mean(xp, values, share)[:, None]) ** 2
    low, high = float(chdtri(1.0, 1.0 - share)), float(chdtri(1.0, share))
    # E[z^2; low < z^2 < high] of a normal z is a difference of chi-squared on 3 degrees of freedom
    return trimmed_mean(xp, squares, share) * (1.0 - 2.0 * share) / (chdtr(3.0, high) - chdtr(3.0, low))


def trimmed_mean(xp: Any, values: Array, share: float) -> Array:
    """Mean of each row without that share of its values at either end: (gene,)."""
    cut = int(values.shape[1] * share + 1e-9)
    return xp.mean(xp.sort(values, axis=1)[:, cut : values.shape[1] - cut], axis=1)
