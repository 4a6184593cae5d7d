"""The quasi-likelihood of edgeR 4: one overdispersion for all genes, and bias-adjusted deviances on it.

Chen, Chen, Lun, Baldoni & Smyth 2025, doi:10.1093/nar/gkaf018.
"""

from __future__ import annotations

import numpy as np

from xdelnx.algorithms.bias_adjustment import adjusted_deviance
from xdelnx.algorithms.compressed import Block
from xdelnx.algorithms.glm import Model
from xdelnx.algorithms.influence import leverage, means
from xdelnx.algorithms.shrinkage import Shrinkage, fit_prior, squeeze
from xdelnx.algorithms.tiles import dense_tiles
from xdelnx.steps.blockwise import Arrays, FitPlan

ABUNDANT = 0.1  # of the genes, those with the largest means, give the overdispersion
FEWEST_ABUNDANT = 50
FEWEST_DF = 0.5  # adjusted ones: what fewer say of a gene's dispersion is mostly chance
SMALLEST_Q = 1e-2  # of the median: where the logarithm ends


def abundant_dispersion(mean: np.ndarray, theta: np.ndarray) -> float:
    """Median overdispersion of the tenth of the genes with the largest means (at least 50, or all).

    Counts of these vary by overdispersion and hardly by chance, so that it is well known; a median
    because a few hypervariable genes shall not raise it.

    Parameters
    ----------
    mean, theta
        (gene,); NaN for genes without a count.
    """
    part = np.flatnonzero(np.isfinite(mean) & np.isfinite(theta))
    if part.size == 0:
        return 0.0
    n = min(max(int(np.ceil(ABUNDANT * part.size)), FEWEST_ABUNDANT), part.size)
    least = np.partition(mean[part], part.size - n)[part.size - n]
    return float(np.median(theta[part[mean[part] >= least]]))


def adjust_step(plan: FitPlan, block: Block, theta: np.ndarray, beta: np.ndarray) -> Arrays:
    """Bias-adjusted deviance of each gene of a block at a fit, and its degrees of freedom.

    Returns
    -------
    dict
        ``adjusted_deviance`` and ``residual_df`` (gene,); NaN for genes without a count.
    """
    backend, model = plan.backend, Model(plan.backend, plan.basis, plan.penalty)
    design = backend.asarray(plan.layout.design)
    found = np.full((2, block.n_genes), np.nan)
    for tile in dense_tiles(backend, plan.layout, block):
        observations, at = tile.observations, backend.asarray(theta[tile.genes])
        m = backend.xp.exp(backend.kernel("combine")(backend.asarray(beta[tile.genes]), design))
        h = leverage(model, observations, m, at)
        y, mu, h = map(backend.to_numpy, (observations.y, means(observations, m), h))
        v = backend.to_numpy(observations.weights)
        found[:, tile.genes] = adjusted_deviance(y, mu, h, float(theta[tile.genes[0]]), v)
    return {"adjusted_deviance": found[0], "residual_df": found[1]}


def shrunken(mean: np.ndarray, fitted: Arrays, *, robust: bool) -> Arrays:
    """Quasi-likelihood dispersions of bias-adjusted deviances, their prior, and shrunken to it: (gene,) each."""
    result = shrink_deviances(mean, fitted["adjusted_deviance"], fitted["residual_df"], robust=robust)
    return {
        "ql_dispersion": result.ql_dispersion,
        "ql_prior": result.ql_prior,
        "ql_dispersion_shrunken": result.ql_dispersion_shrunken,
        "prior_df": np.array(result.prior_df),
    }


def shrink_deviances(
    mean: np.ndarray, deviance: np.ndarray, residual_df: np.ndarray, *, robust: bool = False
) -> Shrinkage:
    """Shrink quasi-likelihood dispersions that are deviances over their degrees of freedom, (gene,) both.

    Genes with fewer than `FEWEST_DF` take no part in the prior's fit, and almost get their prior. Its
    ``trend`` is NaN.
    """
    part = np.isfinite(mean) & np.isfinite(deviance)
    known = part & (residual_df > FEWEST_DF)
    full = np.full(mean.shape, np.nan)
    if not known.any():
        return Shrinkage(full, full, np.where(part, 1.0, np.nan), np.where(part, 1.0, np.nan), np.inf)
    q = np.where(known, deviance / np.where(known, residual_df, 1.0), np.nan)
    floored = np.maximum(q, SMALLEST_Q * np.median(q[known]))
    prior, prior_df = fit_prior(mean[known], floored[known], residual_df[known], robust=robust)
    at = np.full(mean.shape, np.nan)
    at[known] = prior
    others = part & ~known
    nearest = np.argsort(mean[known])
    at[others] = np.exp(np.interp(mean[others], mean[known][nearest], np.log(prior[nearest])))
    by_gene = prior_df
    if isinstance(prior_df, np.ndarray):
        by_gene = np.where(part, np.max(prior_df), np.nan)
        by_gene[known] = prior_df
    d = np.where(part, residual_df, np.nan)
    return Shrinkage(full, q, at, squeeze(np.where(known, q, at), d, at, by_gene), by_gene)
