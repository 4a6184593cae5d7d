"""Coefficients of many genes at once, at a given overdispersion: one Newton iteration for all.

The likelihood is concave in the coefficients, so Newton's method with the observed information
converges quadratically. A step is shortened when the slope along it has changed sign and kept
more than half its size (an overshoot); no logarithm is needed until the deviance at the end.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from xdelnx.algorithms.basis import Basis
from xdelnx.algorithms.observations import Observations
from xdelnx.kernels.backend import Backend
from xdelnx.kernels.linear import LARGEST_LOG_MEAN

Array = Any

# Newton decrement (the deviance still to gain) at which the last step is taken; that step squares the error.
DECREMENT = 1e-10
MAX_ITERATIONS = 100
# No step moves a log mean further. From far above the counts a full step could end where every mean, and
# with it the information, is zero: that must not look like an optimum.
LONGEST_STEP = 30.0


@dataclass(frozen=True)
class Penalty:
    """Ridge penalty on the basis' parameters: gradient ``matrix @ b - target`` of half the penalty.

    Parameters
    ----------
    matrix
        (parameter, parameter): n Lambda' Lambda in the basis.
    target
        (parameter,): that matrix times the coefficients shrunk to.
    constant
        What the penalty is where all parameters are 0.
    per_weight
        Whether these are of a total weight of 1, and those of a gene are as many times that as its samples weigh.
    """

    matrix: np.ndarray
    target: np.ndarray
    constant: float = 0.0
    per_weight: bool = False


@dataclass(frozen=True)
class Coefficients:
    """Parameters of the genes in a basis, and how they were reached."""

    b: Array  # (gene, parameter)
    iterations: Array  # (gene,)
    converged: Array  # (gene,) bool


class Model:
    """A basis on a backend: from parameters to kinds and from sums by kind back to parameters.

    With a ``shift`` (kind,) the linear predictor has that, which is not fitted, added to it.
    """

    def __init__(
        self,
        backend: Backend,
        basis: Basis,
        penalty: Penalty | None = None,
        shift: np.ndarray | None = None,
    ) -> None:
        if penalty is not None and basis.groups:
            msg = "a penalty fills the zeros between groups: build the basis with dense=True"
            raise ValueError(msg)
        self.backend = backend
        self.xp = backend.xp
        self.groups = basis.groups
        self.size = basis.size
        self._rows = backend.asarray(np.ascontiguousarray(basis.rows.T))  # (parameter, kind)
        self._products = backend.asarray(np.ascontiguousarray(basis.products.T))  # (packed, kind)
        self.penalty = penalty
        self._total_weight: Array | None = None  # (gene,), where the penalty is in proportion to it
        self.shift = backend.asarray(np.zeros(basis.rows.shape[0]) if shift is None else shift)  # (kind,)
        largest_row = np.sqrt(np.max(np.sum(basis.rows**2, axis=1), initial=0.0))
        self.longest_step = LONGEST_STEP / max(float(largest_row), 1e-300)

    def of(self, observations: Observations) -> Model:
        """Model of these genes, whose penalty may depend on their weights."""
        if self.penalty is None or not self.penalty.per_weight:
            return self
        model = copy(self)
        model._total_weight = self.backend.asarray(observations.total_weight)
        return model

    def _times_weight(self, values: Array, rows: Array | None = None) -> Array:
        """Part of a penalty, (gene, ...), as many times as the genes' samples weigh where that is to be."""
        if self.penalty is None or not self.penalty.per_weight:
            return values
        if self._total_weight is None:
            msg = "this penalty depends on the genes' weights: use Model.of"
            raise ValueError(msg)
        total = self._total_weight if rows is None else self.xp.take(self._total_weight, rows)
        return values * (total if values.ndim == 1 else total[:, None])

    def log_mean(self, b: Array) -> Array:
        """Log of the mean at scale 1: (gene, kind)."""
        return self.backend.kernel("log_means")(b, self._rows, self.shift)

    def mean(self, b: Array) -> Array:
        """Mean at scale 1: (gene, kind); held within e^+-300, where a step that overshot would overflow."""
        return self.backend.kernel("means")(b, self._rows, self.shift)

    def score(self, by_kind: Array, b: Array, rows: Array | None = None) -> Array:
        """Score in the parameters, (gene, parameter), of all genes or of those in these rows."""
        score = self.project(by_kind)
        if self.penalty is None:
            return score
        matrix, target = self.backend.asarray(self.penalty.matrix), self.backend.asarray(self.penalty.target)
        if not self.penalty.per_weight:
            return score - self.backend.kernel("combine")(b, matrix) + target[None, :]
        return score - self._times_weight(self.backend.kernel("combine")(b, matrix) - target[None, :], rows)

    def project(self, by_kind: Array) -> Array:
        """Sum each parameter's row over the kinds: (gene, kind) gives (gene, parameter)."""
        return self.backend.kernel("combine")(by_kind, self._rows)

    def packed(self, weight: Array) -> Array:
        """Information of each gene without a penalty, a packed arrow: (gene, packed)."""
        return self.backend.kernel("combine")(weight, self._products)

    def information(self, weight: Array, rows: Array | None = None) -> Array:
        """Information of each gene, or of those in these rows, a packed arrow: (gene, packed)."""
        information = self.packed(weight)
        if self.penalty is None:
            return information
        i, j = np.tril_indices(self.size)
        added = self.backend.asarray(self.penalty.matrix[i, j])[None, :]
        return information + self._times_weight(added, rows)

    def penalised(self, deviance: Array, b: Array) -> Array:
        """Deviance (gene,) with the penalty of the parameters (gene, parameter) added."""
        if self.penalty is None:
            return deviance
        matrix, target = self.backend.asarray(self.penalty.matrix), self.backend.asarray(self.penalty.target)
        linear = self.backend.kernel("combine")(b, matrix) - 2.0 * target
        if not self.penalty.per_weight:
            return deviance + self.xp.sum(linear * b, axis=1) + self.penalty.constant
        return deviance + self._times_weight(self.xp.sum(linear * b, axis=1) + self.penalty.constant)

    def solve(self, information: Array, rhs: Array) -> Array:
        """Solve the system of each gene: (gene, parameter)."""
        return self.backend.kernel("solve_arrow")(information, rhs, self.groups)

    def shortened(self, step: Array) -> Array:
        """Steps (gene, parameter), none of which moves a log mean by more than `LONGEST_STEP`."""
        length = self.xp.sqrt(self.xp.sum(step * step, axis=1))
        return step * (self.longest_step / self.xp.clip(length, min=self.longest_step))[:, None]

    def quadratic_forms(self, information: Array, vectors: Array) -> Array:
        """``v' information^-1 v`` for rows v (q, parameter): (gene, q)."""
        return self.backend.kernel("quadratic_forms")(information, vectors, self.groups)

    def row_forms(self, information: Array) -> Array:
        """``x' information^-1 x`` for the row x of each kind: (gene, kind)."""
        return self.quadratic_forms(information, self.xp.permute_dims(self._rows, (1, 0)))

    def log_determinant(self, w1: Array, w2: Array, w3: Array) -> Array:
        """First and second derivative in theta of log det(information), without a penalty: (gene, 2)."""
        packed = self.packed(w1), self.packed(w2), self.packed(w3)
        return self.backend.kernel("log_determinant_derivatives")(*packed, self.groups)


def start_from_data(model: Model, observations: Observations, theta: Array) -> Array:
    """One weighted least-squares step, from each kind's rate with a sample of the gene's overall rate added.

    Gives (gene, parameter). Where every sample is a kind of its own that is halfway between the counts and
    their mean; the more samples a kind has, the nearer it is to the kind's own rate.
    """
    xp = model.xp
    rate = xp.sum(observations.totals(), axis=1) / xp.sum(observations.scale_totals(), axis=1)
    weight, response = observations.first_step(rate, theta)
    return model.solve(model.information(weight), model.project(response))


def start_from_fit(model: Model, log_mean: Array, weight: Array) -> Array:
    """Weighted projection of a fit's log mean (gene, kind) onto the model: (gene, parameter)."""
    fitted = log_mean - model.shift[None, :]
    return model.solve(model.information(weight), model.project(weight * fitted))


@dataclass
class _State:
    """The genes still under way, in step: each array's first axis is the active gene."""

    rows: Array
    theta: Array
    b: Array  # accepted
    direction: Array
    slope: Array  # along the direction, at b
    step: Array  # length now tried

    def trial(self) -> Array:
        return self.b + self.step[:, None] * self.direction

    def keep(self, xp: Any, mask: Array) -> _State:
        where = xp.nonzero(mask)[0]
        return _State(**{name: xp.take(value, where, axis=0) for name, value in vars(self).items()})


def fit_coefficients(
    model: Model,
    observations: Observations,
    theta: Array,
    start: Array,
    *,
    max_iterations: int = MAX_ITERATIONS,
) -> Coefficients:
    """Maximum likelihood (or penalised) parameters of each gene at its overdispersion.

    Parameters
    ----------
    model
        The basis, with a penalty if any.
    observations
        The counts of the genes.
    theta
        (gene,) overdispersion.
    start
        (gene, parameter) where to begin.
    max_iterations
        Evaluations allowed a gene.

    Returns
    -------
    Coefficients
        Genes that did not converge have their last accepted parameters and say so.
    """
    xp = model.xp
    n_genes = theta.shape[0]
    done: list[tuple[Array, Array, Array, Array]] = []
    if model.size == 0 or n_genes == 0:
        return Coefficients(start, xp.zeros(n_genes, dtype=xp.int64), xp.ones(n_genes, dtype=xp.bool))
    zeros = xp.zeros(n_genes, dtype=xp.float64)
    state = _State(xp.arange(n_genes), theta, start, xp.zeros_like(start), zeros, zeros)
    for iteration in range(1, max_iterations + 1):
        state = _advance(model, observations, state)
        finished = (state.step == 1.0) & (state.slope < DECREMENT)
        if xp.any(finished):
            ended = state.keep(xp, finished)
            done.append(_record(xp, ended.rows, ended.trial(), iteration, converged=True))
            state = state.keep(xp, ~finished)
        if state.rows.shape[0] == 0:
            break
    else:
        done.append(_record(xp, state.rows, state.b, max_iterations, converged=False))
    return _gather(xp, done)


def settled(xp: Any, found: Coefficients, m: Array) -> Array:
    """Whether coefficients are at an optimum, given their means (gene, kind): (gene,).

    Where a mean ran to its upper bound the likelihood's slope is known, but its curvature is below a
    double's precision, so that no step in that direction is seen: converged, but nowhere.
    """
    return found.converged & xp.all(m < 0.5 * math.exp(LARGEST_LOG_MEAN), axis=1)


def _advance(model: Model, observations: Observations, state: _State) -> _State:
    """Evaluate the trial points; accept them with a new Newton direction, or shorten their step."""
    xp = model.xp
    trial = state.trial()
    by_kind, weight = observations.newton(model.mean(trial), state.theta, state.rows)
    score = model.score(by_kind, trial, state.rows)
    slope_there = xp.sum(score * state.direction, axis=1)
    # NaN and infinity (an exponential that overflowed) compare false and are rejected with the rest.
    accepted = slope_there >= -0.5 * state.slope
    score = xp.where(accepted[:, None], score, 0.0)
    information = model.information(xp.where(accepted[:, None], weight, 1.0), state.rows)
    newton = model.shortened(model.solve(information, score))
    lost = xp.where(xp.isfinite(slope_there) & ~accepted, state.slope - slope_there, xp.inf)
    shorter = state.step * xp.clip(state.slope / lost, 0.1, 0.5)  # to where the slope's secant is zero
    take = accepted[:, None]
    return _State(
        rows=state.rows,
        theta=state.theta,
        b=xp.where(take, trial, state.b),
        direction=xp.where(take, newton, state.direction),
        slope=xp.where(accepted, xp.sum(score * newton, axis=1), state.slope),
        step=xp.where(accepted, 1.0, shorter),
    )


def _record(
    xp: Any, rows: Array, b: Array, iteration: int, *, converged: bool
) -> tuple[Array, Array, Array, Array]:
    n = rows.shape[0]
    return rows, b, xp.full(n, iteration, dtype=xp.int64), xp.full(n, converged, dtype=xp.bool)


def _gather(xp: Any, done: list[tuple[Array, Array, Array, Array]]) -> Coefficients:
    """Put the genes back in order."""
    rows, b, iterations, converged = (xp.concat(parts, axis=0) for parts in zip(*done, strict=True))
    order = xp.argsort(rows)
    return Coefficients(xp.take(b, order, axis=0), xp.take(iterations, order), xp.take(converged, order))
