"""Covariance of the coefficients of every gene of a block."""

from __future__ import annotations

from typing import Any

import numpy as np

from xdelnx.algorithms.compressed import Block
from xdelnx.algorithms.glm import Model
from xdelnx.algorithms.sandwich import covariance
from xdelnx.steps.blockwise import Arrays, FitPlan, at_fit, cluster_terms, scatter


def covariance_step(plan: FitPlan, block: Block, theta: np.ndarray, beta: np.ndarray) -> Arrays:
    """``covariance`` of the coefficients, (gene, coefficient, coefficient): unscaled, or robust to clusters."""
    model, p = Model(plan.backend, plan.basis, plan.penalty), plan.basis.to_coefficients.shape[0]
    parts = []
    for tile, at, log_mean, weight in at_fit(plan, block, theta, beta):
        if plan.clusters is None:
            found = {
                "covariance": plan.backend.to_numpy(
                    _solved_columns(plan, model, model.of(tile.observations).information(weight))
                )
            }
        else:
            terms = cluster_terms(plan, tile.observations, plan.backend.xp.exp(log_mean), weight, at)
            found = {"covariance": covariance(plan.clusters, *terms)}
        parts.append((tile.genes, found))
    return scatter(parts, block.n_genes) if parts else {"covariance": np.full((block.n_genes, p, p), np.nan)}


def _solved_columns(plan: FitPlan, model: Model, information: Any) -> Any:
    """``T information^-1 T'`` for the map T from parameters to coefficients: (gene, coefficient, coefficient)."""
    xp, to_coefficients = plan.backend.xp, plan.backend.asarray(plan.basis.to_coefficients)
    columns = [
        model.solve(information, xp.zeros((information.shape[0], 1), dtype=xp.float64) + row[None, :])
        for row in (to_coefficients[i, :] for i in range(to_coefficients.shape[0]))
    ]
    return xp.stack([plan.backend.kernel("combine")(column, to_coefficients) for column in columns], axis=1)
