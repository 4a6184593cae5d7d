"""How much a single sample bears on the fit of a gene: its leverage.

Arrays of a tile of genes whose every entry is visited (`xdelnx.tiles.dense_tiles`), samples by kind.
"""

from __future__ import annotations

from typing import Any

from xdelnx.glm import Model
from xdelnx.negative_binomial import fisher_weight
from xdelnx.observations import DenseObservations

Array = Any


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
    information = model.information(observations.fisher(m, theta, xp.arange(theta.shape[0])))
    forms = model.row_forms(information)
    weight = fisher_weight(means(observations, m), theta[:, None]) * observations.weights
    # A group whose means underflow has no information: a form of infinity, and no weight.
    return xp.clip(xp.where(weight > 0.0, weight * expand(forms, observations), 0.0), 0.0, 1.0)
