"""What a fit leaves of each count: residuals of several kinds, and their sums by gene.

Sources: McCullagh & Nelder 1989, section 2.4; randomized quantile residuals, Dunn & Smyth 1996,
doi:10.1080/10618600.1996.10474708.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
from scipy.special import betainc, gammainc, gammaincc, ndtri

from xdelnx.algorithms.compressed import Block
from xdelnx.algorithms.glm import Model
from xdelnx.algorithms.influence import leverage, means
from xdelnx.algorithms.tiles import dense_tiles
from xdelnx.kernels.moments import unit_deviances
from xdelnx.steps.blockwise import Arrays, FitPlan

KINDS = ("deviance", "pearson", "randomized_quantile", "working", "response", "leverage")
WEIGHTED = ("deviance", "pearson")  # times the root of an observation's weight
SMALLEST = 1e-300  # of a tail, so that no quantile is infinite, and of a mean
# Relative excess of the variance over Poisson's below which a tail, to 40 standard deviations, is Poisson's to 1e-6;
# there SciPy's incomplete beta function loses as many digits as the overdispersion has zeros.
POISSON_EXCESS = 1e-9


def residual_step(
    plan: FitPlan, block: Block, theta: np.ndarray, beta: np.ndarray, kind: str, keys: Any, seed: int
) -> np.ndarray:
    """Residuals of a block: (sample, gene), NaN for genes without a count.

    Parameters
    ----------
    plan, block
        The fit, and the counts.
    theta, beta
        (gene,) overdispersion and (gene, coefficient) coefficients.
    kind
        One of `KINDS`.
    keys, seed
        (gene,) names, of which with the seed the random numbers of a gene are made.
    """
    out = np.full((plan.layout.order.size, block.n_genes), np.nan)
    for genes, y, mu, w, hat in _entries(plan, block, theta, beta, hat=kind == "leverage"):
        uniform = _uniform(keys[genes], y.shape[1], seed) if kind == "randomized_quantile" else None
        values = hat if kind == "leverage" else residual(kind, y, mu, theta[genes, None], uniform)
        out[:, genes] = (values * np.sqrt(w) if kind in WEIGHTED else values).T
    return out


def goodness_step(plan: FitPlan, block: Block, theta: np.ndarray, beta: np.ndarray) -> Arrays:
    """``deviance``, ``pearson_statistic``, ``residual_df`` (gene,) of a block, NaN for genes without a count.

    The degrees of freedom count the samples with a weight above 0.
    """
    names = ("deviance", "pearson_statistic", "residual_df")
    out = {name: np.full(block.n_genes, np.nan) for name in names}
    for genes, y, mu, w, _ in _entries(plan, block, theta, beta, hat=False):
        out["residual_df"][genes] = np.sum(w > 0.0, axis=1) - plan.layout.design.shape[1]
        for name, kind in (("deviance", "deviance"), ("pearson_statistic", "pearson")):
            out[name][genes] = np.sum(w * residual(kind, y, mu, theta[genes, None]) ** 2, axis=1)
    return out


def _entries(
    plan: FitPlan, block: Block, theta: np.ndarray, beta: np.ndarray, *, hat: bool
) -> Iterator[tuple[np.ndarray, ...]]:
    """Positions of some genes, their counts, means, weights and leverages (gene, sample), samples in their order."""
    backend, model = plan.backend, Model(plan.backend, plan.basis, plan.penalty)
    design, back = backend.asarray(plan.layout.design), np.argsort(plan.layout.order)
    for tile in dense_tiles(backend, plan.layout, block):
        seen = tile.observations
        m = backend.xp.exp(backend.kernel("combine")(backend.asarray(beta[tile.genes]), design))
        values = seen.y, means(seen, m), seen.weights + backend.xp.zeros_like(seen.y)
        h = leverage(model, seen, m, backend.asarray(theta[tile.genes])) if hat else seen.y
        yield tile.genes, *(backend.to_numpy(each)[:, back] for each in (*values, h))


def residual(
    kind: str, y: np.ndarray, mu: np.ndarray, theta: np.ndarray, uniform: np.ndarray | None = None
) -> np.ndarray:
    """Residuals of counts with means ``mu`` and overdispersion ``theta`` (gene, 1), arrays (gene, sample).

    ``deviance``: the signed root of the unit deviance. ``pearson``: ``(y - mu) / sqrt(mu + theta mu^2)``.
    ``working``: ``(y - mu) / mu``. ``response``: ``y - mu``. ``randomized_quantile``: normal quantile of the
    probability of a smaller count and a random part (``uniform``) of that of the count itself.
    """
    gap = y - mu
    if kind == "response":
        return gap
    if kind == "randomized_quantile":
        assert uniform is not None
        return _quantile(y, mu, theta, uniform)
    # A mean that underflows is that of a group without a count: its residual is the limit, 0, or -1 of the working
    safe = np.where(mu > 0.0, mu, SMALLEST)
    if kind == "working":
        return np.where(mu > 0.0, gap / safe, -1.0)
    if kind == "pearson":
        return gap / np.sqrt(safe * (1.0 + theta * safe))
    return np.sign(gap) * np.sqrt(unit_deviances(y, safe, np.ravel(theta)))


def _quantile(y: np.ndarray, mu: np.ndarray, theta: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Randomized quantile residuals, by the tail that is the smaller, so that nothing cancels."""
    below, above = _tails(y - 1.0, mu, theta)
    up_to, beyond = _tails(y, mu, theta)
    lower = ndtri(np.maximum(below + uniform * (up_to - below), SMALLEST))
    upper = -ndtri(np.maximum(beyond + (1.0 - uniform) * (above - beyond), SMALLEST))
    return np.where(up_to < 0.5, lower, upper)


def _tails(y: np.ndarray, mu: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of a count up to ``y``, and of one beyond; Poisson where `POISSON_EXCESS` cannot tell."""
    at = np.maximum(y, 0.0) + 1.0
    poisson = theta * np.maximum(at, mu) < POISSON_EXCESS
    theta = np.where(poisson, 1.0, theta)
    z = theta * mu
    r, p, q = 1.0 / theta, 1.0 / (1.0 + z), z / (1.0 + z)
    low = np.where(poisson, gammaincc(at, mu), betainc(r, at, p))
    high = np.where(poisson, gammainc(at, mu), betainc(at, r, q))
    return np.where(y < 0.0, 0.0, low), np.where(y < 0.0, 1.0, high)


def _uniform(keys: Any, size: int, seed: int) -> np.ndarray:
    """Uniform numbers (gene, size), of each gene by its name, so that no block or choice changes them."""
    rows = []
    for name in keys:
        key = blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
        rows.append(np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little"))).random(size))
    return np.stack(rows)
