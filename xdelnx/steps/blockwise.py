"""The fit of one block of genes, step by step, on arrays.

Each step takes the counts of a block (sample, gene) and gives a dict of small arrays by gene.
Inside, the genes are taken in tiles that fit the cache; nothing of the size of the block is
ever made in floating point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xdelnx.algorithms.basis import Basis, Layout, basis_of, complement
from xdelnx.algorithms.centring import Directions, direction_variance
from xdelnx.algorithms.compressed import Block
from xdelnx.algorithms.covariate import CovariateNodes
from xdelnx.algorithms.dispersion import estimate_dispersion, log_derivatives, moment_dispersion
from xdelnx.algorithms.glm import Model, Penalty, fit_coefficients, settled, start_from_data, start_from_fit
from xdelnx.algorithms.observations import Observations
from xdelnx.algorithms.outcomes import status_of_fit
from xdelnx.algorithms.penalties import Ridge, make_penalty
from xdelnx.algorithms.sandwich import Clusters, clustered, empty_tests
from xdelnx.algorithms.subsampling import Subsample
from xdelnx.algorithms.tiles import Tile, tiles
from xdelnx.algorithms.weighting import own_freedom
from xdelnx.kernels.backend import Backend
from xdelnx.kernels.devices import backend_on
from xdelnx.steps.tilewise import FOLLOWED, Arrays, by_tile, scatter

SEPARATED_BELOW = 1e-7  # expected counts in all samples of a kind: none, to the optimiser


@dataclass(frozen=True)
class Reduced:
    """The part of the design on which a contrast has a given value.

    Parameters
    ----------
    basis, penalty
        As for the whole design.
    shift
        (kind,): what the contrast's value adds to the linear predictor; None for 0.
    """

    basis: Basis
    penalty: Penalty | None = None
    shift: np.ndarray | None = None


@dataclass(frozen=True)
class FitPlan:
    """What every block needs to know of a fit.

    Parameters
    ----------
    layout, basis
        The design.
    mean_scale
        Mean over samples and genes of the exponential of the offset, for the moment estimate; with weights
        the mean over genes, (sample,) by kind.
    cox_reid
        Whether the dispersion is adjusted for the coefficients.
    penalty
        Ridge, in the basis.
    reduced
        Each contrast's design without it.
    directions
        (contrast, parameter): each contrast as a sum of the basis' parameters; NaN for a joint test.
    centred
        What the size factors are centred by, where they are.
    clusters
        Of kinds, where tests are robust to what the samples of a cluster share.
    device
        Name of the backend.
    cooks
        Whether the second pass looks for outliers: "" no, "flag", or "mask", for those to be replaced.
    subsample
        Samples on which the overdispersion is estimated; None: all.
    adjusted
        Whether it gives bias-adjusted deviances and their degrees of freedom.
    """

    layout: Layout
    basis: Basis
    mean_scale: float | np.ndarray
    cox_reid: bool = True
    penalty: Penalty | None = None
    reduced: tuple[Reduced, ...] = ()
    directions: np.ndarray | None = None
    centred: Directions | None = None
    clusters: Clusters | None = None
    device: str = "cpu"
    cooks: str = ""
    subsample: Subsample | None = None
    adjusted: bool = False

    @property
    def backend(self) -> Backend:
        """Namespace and kernels, resolved where the block runs."""
        return backend_on(self.device)

    @property
    def by_nodes(self) -> bool:
        """Whether nodes along a covariate may stand for samples: not where sums by kind leave the tile."""
        return self.centred is None and self.clusters is None and self.backend.at_nodes

    def at(self, nodes: CovariateNodes) -> FitPlan:
        """Return the plan for kinds that are such nodes (of the layout only the design)."""
        reduced = tuple(
            Reduced(
                nodes.basis(part.basis),
                part.penalty,
                None if part.shift is None else nodes.rows(part.shift),
            )
            for part in self.reduced
        )
        layout = replace(self.layout, design=nodes.rows(self.layout.design))
        return replace(self, layout=layout, basis=nodes.basis(self.basis), reduced=reduced)


def constrained(
    layout: Layout, weights: np.ndarray, value: float, ridge: Ridge | None, n_samples: float | None
) -> Reduced:
    """The design where the contrast's weights (q, coefficient) give ``value`` (natural log; q = 1 unless 0)."""
    basis = basis_of(layout, complement(weights), dense=ridge is not None)
    if value == 0.0:
        return Reduced(basis, make_penalty(basis, ridge, n_samples))
    at = value * weights[0] / (weights[0] @ weights[0])
    return Reduced(basis, make_penalty(basis, ridge, n_samples, at), layout.design @ at)


def direction(basis: Basis, weights: np.ndarray) -> np.ndarray:
    """Contrast of weights (q, coefficient) on the basis' parameters (parameter,); NaN for a joint test."""
    return weights[0] @ basis.to_coefficients if weights.shape[0] == 1 else np.full(basis.size, np.nan)


def _host(plan: FitPlan, **arrays: Any) -> Arrays:
    return {name: plan.backend.to_numpy(values) for name, values in arrays.items()}


def fit_step(plan: FitPlan, block: Block, theta: np.ndarray | None, *, estimate: bool) -> Arrays:
    """First pass: coefficients at a first dispersion, the fitted mean, and the dispersion.

    Parameters
    ----------
    plan, block
        The fit and the counts.
    theta
        (gene,) given overdispersion; None: the moment estimate is the first.
    estimate
        Whether to estimate the overdispersion from there.

    Returns
    -------
    dict
        ``b`` (gene, parameter), ``mean``, ``theta``, ``iterations``, ``coefficients_converged``,
        ``dispersion_converged`` (gene,); with ``plan.centred`` also ``direction_variance``
        (gene, direction), and with weights by entry ``residual_df`` and ``estimable`` (gene,).
    """
    now = estimate and plan.subsample is None
    parts = by_tile(plan, block, lambda plan, tile: _fit_tile(plan, tile, theta, estimate=now))
    result = scatter(parts, block.n_genes) if parts else _empty_fit(plan, block.n_genes)
    if estimate and plan.subsample is not None:
        result |= _dispersion_on_subsample(plan, block, result)
    return result | own_freedom(plan.layout, block.weights)


def _on_subsample(plan: FitPlan, block: Block) -> tuple[FitPlan, Block]:
    """Plan and block with the samples alone on which the overdispersion is estimated."""
    some = plan.subsample
    if some is None:
        return plan, block
    less = replace(plan, layout=some.layout, basis=some.basis(plan.basis), subsample=None)
    return less, block.drawn(some, plan.layout)


def _dispersion_on_subsample(plan: FitPlan, block: Block, first: Arrays) -> Arrays:
    """Overdispersion at the means of all samples; genes without a count among those drawn keep their first one."""
    less, some = _on_subsample(plan, block)
    model, backend = Model(plan.backend, less.basis, plan.penalty), plan.backend
    theta, converged = first["theta"].copy(), first["dispersion_converged"].copy()
    for tile in tiles(backend, less.layout, some):
        m, start = model.mean(backend.asarray(first["b"][tile.genes])), backend.asarray(theta[tile.genes])
        found = estimate_dispersion(model, tile.observations, m, start, cox_reid=plan.cox_reid)
        theta[tile.genes] = backend.to_numpy(found.theta)
        converged[tile.genes] = backend.to_numpy(found.converged)
    return {"theta": theta, "dispersion_converged": converged}


def _fit_tile(plan: FitPlan, tile: Tile, theta: np.ndarray | None, *, estimate: bool) -> Arrays:
    xp, observations = plan.backend.xp, tile.observations
    model = Model(plan.backend, plan.basis, plan.penalty).of(observations)
    if theta is None:
        scale: Any = plan.mean_scale
        scale = observations.average(plan.backend.asarray(scale)) if np.ndim(scale) else scale
        first = moment_dispersion(observations, scale)
    else:
        first = plan.backend.asarray(theta[tile.genes])
    found = fit_coefficients(model, observations, first, start_from_data(model, observations, first))
    m = model.mean(found.b)
    converged = xp.ones(first.shape[0], dtype=xp.bool)
    if estimate:
        dispersions = estimate_dispersion(model, observations, m, first, cox_reid=plan.cox_reid)
        first, converged = dispersions.theta, dispersions.converged
    mean = xp.sum(m * observations.scale_totals(), axis=1) / observations.total_weight
    return _host(
        plan,
        b=found.b,
        mean=mean,
        theta=first,
        iterations=found.iterations,
        coefficients_converged=settled(xp, found, m),
        **{FOLLOWED: observations.follow(model, found)},
        dispersion_converged=converged,
        **(
            direction_variance(plan.centred, plan.basis, model, observations, m, first)
            if plan.centred
            else {}
        ),
    )


def _empty_fit(plan: FitPlan, n_genes: int) -> Arrays:
    nan = np.full(n_genes, np.nan)
    no = np.zeros(n_genes, dtype=bool)
    directions = {} if plan.centred is None else {"direction_variance": len(plan.centred.weights)}
    return {name: np.full((n_genes, size), np.nan) for name, size in directions.items()} | {
        "b": np.full((n_genes, plan.basis.size), np.nan),
        "mean": nan,
        "theta": nan.copy(),
        "iterations": np.zeros(n_genes, dtype=np.int64),
        "coefficients_converged": no,
        "dispersion_converged": no.copy(),
    }


def global_score_step(plan: FitPlan, block: Block, b: np.ndarray, log_theta: np.ndarray) -> np.ndarray:
    """Derivative in log(theta) of each gene's likelihood at each given point: (gene, point)."""
    plan, block = _on_subsample(plan, block)
    model = Model(plan.backend, plan.basis)
    slopes = np.zeros((block.n_genes, log_theta.size))
    for tile in tiles(plan.backend, plan.layout, block):
        xp, m = plan.backend.xp, model.mean(plan.backend.asarray(b[tile.genes]))
        rows = xp.arange(tile.genes.size)
        for i, u in enumerate(log_theta):
            here = xp.full(tile.genes.size, u, dtype=xp.float64)
            slope, _ = log_derivatives(model, tile.observations, m, here, rows, cox_reid=plan.cox_reid)
            slopes[tile.genes, i] = plan.backend.to_numpy(slope)
    return slopes


def refit_step(plan: FitPlan, block: Block, theta: np.ndarray, first: Arrays) -> Arrays:
    """Second pass: final coefficients and deviance at ``theta``, and the reduced fit of each contrast.

    Parameters
    ----------
    theta
        (gene,) final overdispersion; NaN for genes without counts.
    first
        The first pass' result for the block.

    Returns
    -------
    dict
        ``beta`` (gene, coefficient), ``deviance``, ``variance`` (gene, coefficient): the unscaled
        variance of beta; ``contrast_variance``, the same of each contrast, and ``reduced_deviance``
        (gene, contrast), ``iterations``, ``status`` (gene,).
    """
    parts = by_tile(plan, block, lambda plan, tile: _refit_tile(plan, tile, theta, first["b"]))
    p = plan.basis.to_coefficients.shape[0]
    result = scatter(parts, block.n_genes) if parts else _empty_refit(plan, block.n_genes, p)
    result["status"] = status_of_fit(result, first)
    result["iterations"] = result["iterations"] + first["iterations"]
    return result


def _empty_refit(plan: FitPlan, n_genes: int, p: int) -> Arrays:
    no = np.zeros(n_genes, dtype=bool)
    return {
        "beta": np.full((n_genes, p), np.nan),
        "deviance": np.full(n_genes, np.nan),
        "variance": np.full((n_genes, p), np.nan),
        "separated": no,
        "iterations": np.zeros(n_genes, dtype=np.int64),
        "converged": no,
        **_empty_test(plan, n_genes),
    }


def _empty_test(plan: FitPlan, n_genes: int) -> Arrays:
    if plan.clusters is not None:
        return empty_tests(plan.clusters, n_genes) | {"reduced_converged": np.zeros(n_genes, dtype=bool)}
    n_contrasts = 0 if plan.directions is None else plan.directions.shape[0]
    return {
        "contrast_variance": np.full((n_genes, n_contrasts), np.nan),
        "reduced_deviance": np.full((n_genes, len(plan.reduced)), np.nan),
        "reduced_converged": np.zeros(n_genes, dtype=bool),
    }


def _refit_tile(plan: FitPlan, tile: Tile, final: np.ndarray, start: np.ndarray) -> Arrays:
    xp, observations = plan.backend.xp, tile.observations
    rows, theta = xp.arange(tile.genes.size), plan.backend.asarray(final[tile.genes])
    model = Model(plan.backend, plan.basis, plan.penalty).of(observations)
    found = fit_coefficients(model, observations, theta, plan.backend.asarray(start[tile.genes]))
    m = model.mean(found.b)
    weight = observations.fisher(m, theta, rows)
    to_coefficients = plan.backend.asarray(plan.basis.to_coefficients)
    result = _host(
        plan,
        beta=plan.backend.kernel("combine")(found.b, to_coefficients),
        deviance=model.penalised(observations.deviance(m, theta, rows), found.b),
        variance=model.quadratic_forms(model.information(weight), to_coefficients),
        separated=observations.lacks_counts(m, SEPARATED_BELOW),
        iterations=found.iterations,
        converged=settled(xp, found, m),
    ) | _contrasts(plan, observations, model.log_mean(found.b), weight, theta)
    result[FOLLOWED] &= plan.backend.to_numpy(observations.follow(model, found))
    return result


def _contrasts(plan: FitPlan, observations: Observations, log_mean: Any, weight: Any, theta: Any) -> Arrays:
    """Variance of each contrast, and the deviance without it, from the full fit's projection on."""
    xp, n_genes = plan.backend.xp, theta.shape[0]
    if plan.clusters is not None:
        terms = cluster_terms(plan, observations, xp.exp(log_mean), weight, theta)
        certain = dict.fromkeys(("reduced_converged", FOLLOWED), np.ones(n_genes, dtype=bool))
        return clustered(plan.clusters, *terms) | certain
    deviances, all_converged, followed = [], xp.ones(n_genes, dtype=xp.bool), xp.ones(n_genes, dtype=xp.bool)
    for reduced in plan.reduced:
        model = Model(plan.backend, reduced.basis, reduced.penalty, reduced.shift).of(observations)
        found = fit_coefficients(model, observations, theta, start_from_fit(model, log_mean, weight))
        m = model.mean(found.b)
        deviance = observations.deviance(m, theta, xp.arange(n_genes))
        deviances.append(model.penalised(deviance, found.b))
        all_converged = all_converged & settled(xp, found, m)
        followed = followed & observations.follow(model, found)
    if plan.directions is None or not deviances:
        return _empty_test(plan, n_genes) | _host(
            plan, reduced_converged=all_converged, **{FOLLOWED: followed}
        )
    full = Model(plan.backend, plan.basis, plan.penalty).of(observations)
    return _host(
        plan,
        contrast_variance=full.quadratic_forms(
            full.information(weight), plan.backend.asarray(plan.directions)
        ),
        reduced_deviance=xp.stack(deviances, axis=1),
        reduced_converged=all_converged,
        **{FOLLOWED: followed},
    )


def cluster_terms(plan: FitPlan, observations: Observations, m: Any, weight: Any, theta: Any) -> Any:
    """Basis, and scores and information by kind (gene, kind), as `xdelnx.algorithms.sandwich` takes them."""
    score, _ = observations.newton(m, theta, plan.backend.xp.arange(theta.shape[0]))
    basis, host = plan.basis, plan.backend.to_numpy
    return basis.rows, basis.to_coefficients, host(score), host(weight)


def test_step(plan: FitPlan, block: Block, theta: np.ndarray, beta: np.ndarray) -> Arrays:
    """One pass for contrasts asked for later.

    Returns
    -------
    dict
        ``contrast_variance`` and ``reduced_deviance`` (gene, contrast), ``reduced_converged`` (gene,).
    """
    parts = by_tile(
        plan, block, lambda plan, tile: _contrasts(plan, tile.observations, *_at(plan, tile, theta, beta))
    )
    return scatter(parts, block.n_genes) if parts else _empty_test(plan, block.n_genes)


test_step.__test__ = False  # type: ignore[attr-defined]  # its name is not meant for pytest


def at_fit(
    plan: FitPlan, block: Block, theta: np.ndarray, beta: np.ndarray
) -> Iterator[tuple[Tile, Any, Any, Any]]:
    """Tiles with overdispersion (gene,), log mean and expected information by kind (gene, kind) of a fit."""
    for tile in tiles(plan.backend, plan.layout, block):
        log_mean, weight, at = _at(plan, tile, theta, beta)
        yield tile, at, log_mean, weight


def _at(plan: FitPlan, tile: Tile, theta: np.ndarray, beta: np.ndarray) -> tuple[Any, Any, Any]:
    """Log mean and expected information by kind (gene, kind), and overdispersion (gene,)."""
    xp, design = plan.backend.xp, plan.backend.asarray(plan.layout.design)
    log_mean = plan.backend.kernel("combine")(plan.backend.asarray(beta[tile.genes]), design)
    at = plan.backend.asarray(theta[tile.genes])
    return log_mean, tile.observations.fisher(xp.exp(log_mean), at, xp.arange(tile.genes.size)), at
