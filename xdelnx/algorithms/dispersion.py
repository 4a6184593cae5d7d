"""Overdispersion of many genes at once by Cox-Reid adjusted maximum likelihood, given their means.

Newton's method in log(theta) on the derivative of the adjusted profile likelihood, kept inside
a bracket on whose ends the derivative has opposite signs (McCarthy et al. 2012; Cox & Reid 1987).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from xdelnx.algorithms.glm import Model
from xdelnx.algorithms.observations import Observations

Array = Any

COX_REID_FACTOR = 0.99  # glmGamPoi's own constant
TINIEST_MEAN = 1e-150  # whose square is a number
SUSPECT = 1e3  # an estimate beyond may be no maximum:
NO_MAXIMUM = 1e12  # it is none where the likelihood still rises here
THETA_MIN, THETA_MAX = 1e-8, 1e16  # no maximum above the first: zero; the second is a bound
LOG_TOLERANCE = 1e-5  # of the last Newton step in log(theta), which squares the error
PROBES = (1e-4, 1e-2, 1.0)  # where the likelihood is looked at once more, if it falls at zero
GAIN_STEPS = 48
LONGEST_STEP = 4.0
MAX_ITERATIONS = 80


@dataclass(frozen=True)
class Dispersions:
    """Overdispersion of each gene and whether its search ended at a maximum."""

    theta: Array
    converged: Array


def moment_dispersion(observations: Observations, mean_scale: float) -> Array:
    """Moment estimate ``max((var - mean / mean_scale) / mean^2, 0)``, 0 where undefined: (gene,)."""
    xp = observations.backend.xp
    mean, variance = observations.moments()
    safe = xp.clip(mean, min=TINIEST_MEAN)
    theta = (variance - mean / mean_scale) / (safe * safe)
    return xp.where((mean > 0.0) & (theta > 0.0), theta, 0.0)


def adjusted_derivatives(
    model: Model, observations: Observations, m: Array, theta: Array, rows: Array, *, cox_reid: bool
) -> tuple[Array, Array]:
    """First and second derivative in theta of the (adjusted) profile likelihood: (active,) each."""
    parts, w1, w2, w3 = observations.dispersion_means(m, theta, rows)
    parts = parts + observations.dispersion_counts(theta, rows)
    if cox_reid:
        parts = parts - 0.5 * COX_REID_FACTOR * model.log_determinant(w1, w2, w3)
    return parts[:, 0], parts[:, 1]


def log_derivatives(
    model: Model, observations: Observations, m: Array, log_theta: Array, rows: Array, *, cox_reid: bool
) -> tuple[Array, Array]:
    """First and second derivative in log(theta) of the same: (active,) each."""
    theta = model.xp.exp(log_theta)
    first, second = adjusted_derivatives(model, observations, m, theta, rows, cox_reid=cox_reid)
    return theta * first, theta * first + theta * theta * second


@dataclass
class _Search:
    """The genes still under way: log(theta) now, and the bracket around the maximum."""

    rows: Array
    m: Array
    u: Array
    low: Array
    high: Array

    def keep(self, xp: Any, mask: Array) -> _Search:
        where = xp.nonzero(mask)[0]
        return _Search(**{name: xp.take(value, where, axis=0) for name, value in vars(self).items()})


def estimate_dispersion(
    model: Model, observations: Observations, m: Array, start: Array, *, cox_reid: bool = True
) -> Dispersions:
    """Maximise the (adjusted) profile likelihood over log(theta) for each gene.

    Parameters
    ----------
    model
        The basis of the design, for the Cox-Reid term.
    observations
        The counts of the genes.
    m
        (gene, kind) fitted mean at scale 1.
    start
        (gene,) first guess of the overdispersion.
    cox_reid
        Whether to adjust for the coefficients' degrees of freedom.

    Returns
    -------
    Dispersions
        Zero where the likelihood falls already at theta = 1e-8, and has no higher maximum further on. Without the
        adjustment where that makes the likelihood rise for ever.
    """
    found = _climb(model, observations, m, start, cox_reid=cox_reid)
    xp = model.xp
    rows = xp.nonzero(found.theta > SUSPECT)[0]
    if not cox_reid or rows.shape[0] == 0:
        return found
    # The likelihood of k positive counts falls like k log(theta), the adjustment rises like p/2 log(theta) where
    # the means of the zeros are not quite zero (few counts and a covariate, or a ridge). Then there is no maximum,
    # and what was found is a shoulder on the way.
    far = xp.full(rows.shape[0], NO_MAXIMUM, dtype=xp.float64)
    slope, _ = adjusted_derivatives(model, observations, xp.take(m, rows, axis=0), far, rows, cox_reid=True)
    plain = _climb(model, observations, m, start, cox_reid=False)
    return _replaced(xp, found, plain, xp.take(rows, xp.nonzero(slope > 0.0)[0]))


def _replaced(xp: Any, found: Dispersions, others: Dispersions, rows: Array) -> Dispersions:
    """Take what was found of all genes but those in these rows, and the others of these."""
    which = xp.isin(xp.arange(found.theta.shape[0]), rows)
    return Dispersions(
        xp.where(which, others.theta, found.theta), xp.where(which, others.converged, found.converged)
    )


def _climb(
    model: Model, observations: Observations, m: Array, start: Array, *, cox_reid: bool
) -> Dispersions:
    """Search from ``start``, all genes at once."""
    xp = model.xp
    n_genes = start.shape[0]
    everyone = xp.arange(n_genes)
    least = xp.full(n_genes, THETA_MIN, dtype=xp.float64)
    slope, _ = adjusted_derivatives(model, observations, m, least, everyone, cox_reid=cox_reid)
    search = _Search(
        everyone,
        m,
        xp.log(xp.clip(start, 1e-3, 1e3)),
        xp.log(least),
        xp.full(n_genes, math.log(THETA_MAX), dtype=xp.float64),
    )
    found = _ascend(model, observations, search.keep(xp, slope > 0.0), n_genes, cox_reid=cox_reid)
    return _beyond_zero(model, observations, m, found, cox_reid=cox_reid)


def _ascend(
    model: Model, observations: Observations, search: _Search, n_genes: int, *, cox_reid: bool
) -> Dispersions:
    """Newton's method inside the brackets, all genes at once; genes that are not in the search get zero."""
    xp = model.xp
    done = [(xp.arange(n_genes), xp.zeros(n_genes, dtype=xp.float64), xp.ones(n_genes, dtype=xp.bool))]
    for _ in range(MAX_ITERATIONS):
        if search.rows.shape[0] == 0:
            break
        search, following, finished = _advance(model, observations, search, cox_reid=cox_reid)
        done.append((search.rows[finished], xp.exp(following[finished]), finished[finished]))
        search.u = following
        search = search.keep(xp, ~finished)
    done.append((search.rows, xp.exp(search.u), xp.zeros(search.rows.shape[0], dtype=xp.bool)))
    return _gather(xp, done)


def _beyond_zero(
    model: Model, observations: Observations, m: Array, found: Dispersions, *, cox_reid: bool
) -> Dispersions:
    """Look for a maximum above the one at zero.

    A large count that is fitted exactly, as that of a group of one sample, makes the likelihood fall at zero however
    far the other counts are from their means: by ``y / 2`` for each unit of theta, but by ``log(y) / 2`` in all.
    """
    xp = model.xp
    rows = xp.nonzero(found.theta == 0.0)[0]
    begin = xp.zeros(rows.shape[0], dtype=xp.float64)
    for probe in PROBES if rows.shape[0] else ():
        at = xp.full(rows.shape[0], probe, dtype=xp.float64)
        slope, _ = adjusted_derivatives(
            model, observations, xp.take(m, rows, axis=0), at, rows, cox_reid=cox_reid
        )
        begin = xp.where(slope > 0.0, at, begin)
    rising = xp.nonzero(begin > 0.0)[0]
    if rising.shape[0] == 0:
        return found
    rows, low = xp.take(rows, rising), xp.log(xp.take(begin, rising))
    high = xp.full(rows.shape[0], math.log(THETA_MAX), dtype=xp.float64)
    search = _Search(rows, xp.take(m, rows, axis=0), low, low, high)
    other = _ascend(model, observations, search, found.theta.shape[0], cox_reid=cox_reid)
    gain = _gain(model, observations, search, xp.take(other.theta, rows), cox_reid=cox_reid)
    return _replaced(xp, found, other, xp.take(rows, xp.nonzero(gain > 0.0)[0]))


def _gain(
    model: Model, observations: Observations, search: _Search, theta: Array, *, cox_reid: bool
) -> Array:
    """Likelihood at theta over that at zero, from its derivative in log(theta) by the trapezoidal rule: (active,)."""
    xp = model.xp
    least = math.log(THETA_MIN)
    width = (xp.log(theta) - least) / GAIN_STEPS
    total = xp.zeros(theta.shape[0], dtype=xp.float64)
    for step in range(GAIN_STEPS):  # the derivative is 0 at the end
        slope, _ = log_derivatives(
            model, observations, search.m, least + step * width, search.rows, cox_reid=cox_reid
        )
        total = total + slope * (0.5 if step == 0 else 1.0)
    return total * width


def _advance(
    model: Model, observations: Observations, search: _Search, *, cox_reid: bool
) -> tuple[_Search, Array, Array]:
    """One evaluation: a tighter bracket, the next point, and which genes are done with it."""
    xp = model.xp
    slope, curve = log_derivatives(model, observations, search.m, search.u, search.rows, cox_reid=cox_reid)
    rising = slope > 0.0
    low, high = xp.where(rising, search.u, search.low), xp.where(rising, search.high, search.u)
    concave = curve < 0.0
    end = xp.where(rising, high, low)
    newton = xp.where(concave, -slope / xp.where(concave, curve, -1.0), end - search.u)
    step = xp.clip(newton, -LONGEST_STEP, LONGEST_STEP)
    following = search.u + step
    arrived = concave & (xp.abs(step) < LOG_TOLERANCE)  # a step of no length is not inside the bracket
    inside = (following > low) & (following < high)
    following = xp.where(inside | arrived, following, 0.5 * (search.u + end))
    finished = arrived | (high - low < LOG_TOLERANCE)
    return _Search(search.rows, search.m, search.u, low, high), following, finished


def _gather(xp: Any, done: list[tuple[Array, Array, Array]]) -> Dispersions:
    """The last word on each gene, in order (a stable sort puts it last)."""
    rows, theta, converged = (xp.concat(parts, axis=0) for parts in zip(*done, strict=True))
    order = xp.argsort(rows, stable=True)
    rows = xp.take(rows, order)
    last = xp.nonzero(xp.concat([rows[1:] != rows[:-1], xp.ones(1, dtype=xp.bool)]))[0]
    pick = xp.take(order, last)
    return Dispersions(xp.take(theta, pick), xp.take(converged, pick))
