"""Where the genes that do not change lie: the centre of each coefficient over all genes.

Library totals are wrong for a group of samples whose changed genes weigh much in them, and then the
coefficients of all genes that do not change are off by the same amount. A factor that depends on
the design alone, ``exp(design @ shift)``, moves every gene's coefficients by ``-shift`` and nothing
else: neither means nor overdispersions. So the centre of the coefficients over genes says by how
much the size factors of each kind of samples have to be multiplied, without another look at the counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from xdelnx.algorithms.basis import Basis, Layout
from xdelnx.algorithms.glm import Model
from xdelnx.algorithms.observations import Observations
from xdelnx.algorithms.one_sided import moved_centre
from xdelnx.messages import fail

TUNING = 4.685  # of Tukey's biweight: 95 % efficient for normal errors (Beaton & Tukey 1974)
LARGEST_ERROR = 1.0  # natural log, of the linear predictor: a gene that knows less tells nothing
FEWEST_GENES = 20
LEVEL = 0.05  # of false discoveries
TOO_MANY = 0.1  # false discoveries, at the level above, that deserve a warning
LEAST_FALSE = 5.0  # of them, at least
SURE = 4.0  # standard errors


@dataclass(frozen=True)
class Directions:
    """What of the coefficients is compared between samples: all but the gene's own level.

    Parameters
    ----------
    weights
        (direction, coefficient): each as a sum of coefficients, on the scale of the linear predictor.
    to_coefficients
        (coefficient, direction): coefficients of which these are the directions.
    """

    weights: np.ndarray
    to_coefficients: np.ndarray


@dataclass(frozen=True)
class Centre:
    """Centre of a coefficient over genes, with its standard error; NaN of too few genes."""

    at: float
    error: float


def directions_of(design: np.ndarray) -> Directions | None:
    """Directions of a design (sample, coefficient); None if no combination of its columns is an intercept.

    With an intercept they are the other coefficients, without one (``~ 0 + condition``) the differences
    from the first level.
    """
    level = np.linalg.lstsq(design, np.ones(design.shape[0]), rcond=None)[0]
    if not np.allclose(design @ level, 1.0, rtol=0.0, atol=1e-8):
        return None
    level[np.abs(level) < 1e-8 * np.abs(level).max()] = 0.0
    first = int(np.flatnonzero(level)[0])
    others = np.delete(np.arange(level.size), first)
    scale = np.std(design[:, others], axis=0)
    identity = np.eye(level.size)[others]
    identity[:, first] = -level[others] / level[first]
    return Directions(scale[:, None] * identity, np.eye(level.size)[:, others] / scale)


def centre(values: np.ndarray, variance: np.ndarray) -> Centre:
    """Centre of values (gene,) of which most are the same but for their errors, whatever the others are.

    Tukey's biweight about the weighted median. What most genes differ by beyond their errors is
    added to their variance, so that a few genes with small errors cannot decide. Where clearly more genes
    differ to one side, which draws it there, what differs is told apart (`xdelnx.algorithms.one_sided`).
    """
    known = np.isfinite(values) & (variance > 0.0) & (variance < LARGEST_ERROR**2)
    if np.count_nonzero(known) < FEWEST_GENES:
        return Centre(np.nan, np.nan)
    x, v = values[known], variance[known]
    at = _weighted_median(x, 1.0 / np.sqrt(v))
    for _ in range(2):
        total = v + _extra_variance(x - at, v)
        at = _biweight(x, total, at)
    return Centre(*(moved_centre(x, v, at) or (at, _error(x - at, total))))


def _weighted_median(x: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(x, kind="stable")
    cumulated = np.cumsum(weight[order])
    return float(x[order][np.searchsorted(cumulated, 0.5 * cumulated[-1])])


def _extra_variance(residual: np.ndarray, variance: np.ndarray) -> float:
    """Variance to be added so that the median of the standardised residuals is a normal's."""
    squares, wanted = residual**2, ndtri(0.75) ** 2

    def excess(extra: float) -> float:
        return float(np.median(squares / (variance + extra))) - wanted

    highest = float(np.median(squares)) / wanted
    from scipy.optimize import brentq

    return brentq(excess, 0.0, highest, xtol=1e-14, rtol=1e-12) if excess(0.0) > 0.0 else 0.0


def _biweight(x: np.ndarray, variance: np.ndarray, at: float) -> float:
    for _ in range(100):
        weight = np.maximum(1.0 - (x - at) ** 2 / (TUNING**2 * variance), 0.0) ** 2 / variance
        before, at = at, float(weight @ x / weight.sum())
        if abs(at - before) < 1e-13:
            break
    return at


def _error(residual: np.ndarray, variance: np.ndarray) -> float:
    """Standard error of an M-estimate of location (Huber 1981, section 6.3)."""
    inside = np.maximum(1.0 - residual**2 / (TUNING**2 * variance), 0.0)
    slope = np.sum(inside * (5.0 * inside - 4.0) / variance)
    return float(np.sqrt(np.sum((inside**2 * residual / variance) ** 2)) / slope)


def direction_variance(
    directions: Directions, basis: Basis, model: Model, observations: Observations, m: Any, theta: Any
) -> dict[str, Any]:
    """Unscaled ``direction_variance`` (gene, direction) at means m (gene, kind) and overdispersions (gene,)."""
    xp = model.xp
    information = model.information(observations.fisher(m, theta, xp.arange(theta.shape[0])))
    rows = model.backend.asarray(directions.weights @ basis.to_coefficients)
    return {"direction_variance": model.quadratic_forms(information, rows)}


def shift_of_kinds(
    directions: Directions,
    layout: Layout,
    basis: Basis,
    b: np.ndarray,
    variance: np.ndarray,
    dispersions: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Log of what the size factors of each kind have to be multiplied by, up to a constant: (kind,).

    Parameters
    ----------
    directions, layout, basis
        Of the design.
    b, variance
        (gene, parameter) coefficients at these size factors, and their `direction_variance`.
    dispersions
        With ``ql_dispersion`` and ``ql_dispersion_shrunken`` (gene,) the variance, which is that at
        the gene's own overdispersion, is taken to the shrunken one.

    Raises
    ------
    ValueError
        Too few genes have counts enough.
    """
    if "ql_dispersion" in dispersions:
        variance = variance * (dispersions["ql_dispersion_shrunken"] / dispersions["ql_dispersion"])[:, None]
    values = b @ (directions.weights @ basis.to_coefficients).T
    at = np.array([centre(x, v).at for x, v in zip(values.T, variance.T, strict=True)])
    if np.isnan(at).any():
        fail(
            f"size_factors='invariant' compares the samples by at least {FEWEST_GENES} genes that have counts "
            "enough, and there are fewer; use 'normed_sum'"
        )
    return layout.design @ (directions.to_coefficients @ at)


@dataclass(frozen=True)
class Imbalance:
    """Shift of the genes that do not change in a contrast, and the share of false discoveries it makes."""

    shift: float
    error: float
    found: int
    false: float


def imbalance(coef: np.ndarray, standard_error: np.ndarray, pval: np.ndarray) -> Imbalance | None:
    """Whether size factors make genes significant that do not change; None if they do not, or hardly.

    The shift, in each gene's standard error, says how many genes without a change would pass the threshold
    that Benjamini & Hochberg set at 5 %. It is worth a warning from twice as many as there should be.

    Parameters
    ----------
    coef, standard_error, pval
        (gene,) of one contrast, natural log.
    """
    known = np.isfinite(pval) & np.isfinite(coef) & np.isfinite(standard_error) & (standard_error > 0.0)
    x, errors, p = coef[known], standard_error[known], np.sort(pval[known])
    passing = np.flatnonzero(p <= LEVEL * np.arange(1, p.size + 1) / max(p.size, 1))
    if passing.size == 0:
        return None
    found, threshold = int(passing[-1]) + 1, float(p[passing[-1]])
    if not _too_many(float(np.median(x)), errors, found, threshold):  # saves the search for the centre
        return None
    middle = centre(x, errors**2)
    if not (abs(middle.at) > SURE * middle.error and _too_many(middle.at, errors, found, threshold)):
        return None
    false = _false(middle.at, errors, found, threshold)
    return Imbalance(middle.at, middle.error, found, min(false / found, 1.0))


def _too_many(shift: float, errors: np.ndarray, found: int, threshold: float) -> bool:
    return _false(shift, errors, found, threshold) > max(TOO_MANY * found, LEAST_FALSE)


def _false(shift: float, errors: np.ndarray, found: int, threshold: float) -> float:
    """Genes without a change among those found below a p-value, when their coefficients are shifted.

    A share r of the genes without a change gets there; these are all genes but those found rightly.
    """
    off, bound = shift / errors, -ndtri(0.5 * max(threshold, 1e-300))
    share = float(np.mean(ndtr(off - bound) + ndtr(-off - bound)))
    return share * (errors.size - found) / max(1.0 - share, 1e-300)
