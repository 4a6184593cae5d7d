"""Adaptive shrinkage of estimates with known errors: a mixture of normals around 0 as their prior.

The prior of an effect is a point mass at 0 and normals of increasing scale, all with mean 0; their
weights are what makes the estimates of all genes together most likely (empirical Bayes). Where most
effects are small the prior is narrow and noisy estimates shrink to it, but its wide components keep
large, well-measured effects as they are (Stephens 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtr

COMPONENTS = 30  # of the prior: the point mass and a geometric grid of scales
NULL_WEIGHT = 10.0  # Dirichlet parameter of the point mass, 1 for the others: doubt counts for no effect
GAIN = 0.01  # log likelihood of all genes together that the prior's weights may leave
MAX_ITERATIONS = 200
DAMPING = 1e-9  # of the Newton step, relative to the curvature
SHORTEST = 1e-4  # Newton step
LEAST_LEFT = 0.01  # of a weight after a step, lest genes that only it explains have no likelihood
NEGLIGIBLE = 1e-6  # weight of a component
BISECTIONS = 30  # halvings of an interval of a dozen standard deviations
NODES = np.arange(-14.0, 6.0)  # of the gamma variable's log, in standard deviations
LARGE_DF = 1e6
TILE = 500  # genes whose posteriors are in memory at once


@dataclass(frozen=True)
class Prior:
    """Mixture of normals around 0: ``scale`` (component,), 0 for the point mass, and ``weight``."""

    scale: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Posterior:
    """What is known of each effect: arrays (gene,)."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    false_sign: np.ndarray  # probability that the effect is 0 or has the other sign than it seems to have


@dataclass(frozen=True)
class Estimates:
    """Estimates of effects, each normal around its effect with one of a few errors.

    Student's t is a normal whose variance is divided by a gamma variable: a sum over ``NODES`` values
    of that stands for it, so that all that follows is normal.

    Parameters
    ----------
    value
        (gene,).
    error
        (gene, node) standard errors; one node where the normal itself is meant.
    share
        (gene, node) their probabilities.
    """

    value: np.ndarray
    error: np.ndarray
    share: np.ndarray

    def part(self, genes: slice) -> Estimates:
        """Some of them."""
        return Estimates(self.value[genes], self.error[genes], self.share[genes])


def t_estimates(value: np.ndarray, error: np.ndarray, df: np.ndarray) -> Estimates:
    """Estimates (gene,) with standard errors on degrees of freedom (gene,), infinite for the normal.

    The trapezoidal rule in the log of the gamma variable, with a step of its standard deviation, gives
    the density of t out to ten errors: to 1e-3 with 3 degrees of freedom, to 1e-5 from 12 on.
    """
    if np.isinf(df).all():
        return Estimates(value, error[:, None], np.ones((value.size, 1)))
    half = 0.5 * np.minimum(df, LARGE_DF)[:, None]
    logs = NODES / np.sqrt(half)
    share = np.exp(half * (logs - np.expm1(logs)))
    return Estimates(value, error[:, None] * np.exp(-0.5 * logs), share / share.sum(axis=1, keepdims=True))


def fit_prior(estimates: Estimates) -> Prior:
    """Weights of the components by penalised maximum likelihood, on a grid of scales from the data."""
    scale = _scales(estimates)
    return Prior(scale, most_likely_weights(_by_component(estimates, scale)))


def most_likely_weights(likelihood: np.ndarray, left: float = GAIN) -> np.ndarray:
    """Weights (component,) that maximise the likelihood (gene, component) by Newton steps on non-negative weights.

    Not more than ``left`` of the log likelihood is left on the table. Without the constraint that they add up to 1:
    the sum times the number of genes is taken from the log likelihood instead, which has the same maximum
    (Kim et al. 2020).
    """
    doubt = NULL_WEIGHT - 1.0
    total = likelihood.shape[0] + doubt

    def gain(weight: np.ndarray) -> float:
        with np.errstate(divide="ignore"):
            logs = np.sum(np.log(mixed(likelihood, weight))) + doubt * np.log(weight[0])
        return float(logs - total * np.sum(weight))

    weight = np.full(likelihood.shape[1], 1.0 / likelihood.shape[1])
    now = gain(weight)
    for _ in range(MAX_ITERATIONS):
        rows = likelihood / mixed(likelihood, weight)[:, None]
        ascent, curvature = rows.sum(axis=0), rows.T @ rows
        ascent[0] += doubt / weight[0]
        curvature[0, 0] += doubt / weight[0] ** 2
        if ascent.max() - total < left:  # no weights can gain more than this: the function is concave
            break
        step = np.maximum(_newton(weight, ascent - total, curvature), LEAST_LEFT * weight) - weight
        length = 1.0
        while gain(weight + length * step) <= now and length > SHORTEST:
            length *= 0.5
        if length <= SHORTEST:
            step, length = weight * (ascent / total - 1.0), 1.0  # of expectation and maximisation: never down
        weight = weight + length * step
        now = gain(weight)
    return weight / weight.sum()


def mixed(parts: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sum over components: (gene,); in an order that does not depend on a BLAS and its threads."""
    return np.einsum("gc,c->g", parts, weight)


def _newton(weight: np.ndarray, slope: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Non-negative maximum of the quadratic function that has this slope and curvature at the weights."""
    damped = curvature + DAMPING * np.trace(curvature) * np.eye(weight.size)  # neighbours are almost alike
    root = np.linalg.cholesky(damped)
    from scipy.optimize import nnls

    try:
        return nnls(root.T, solve_triangular(root, damped @ weight + slope, lower=True))[0]
    except RuntimeError:  # of too many iterations: no step
        return weight


def _scales(estimates: Estimates) -> np.ndarray:
    """From a tenth of the smallest error to twice the largest effect beyond its error."""
    error = np.sqrt(np.sum(estimates.share * estimates.error**2, axis=1))
    low = error.min() / 10.0
    excess = np.max(estimates.value**2 - error**2)
    high = 2.0 * np.sqrt(excess) if excess > low**2 else 8.0 * low
    return np.concatenate([[0.0], np.geomspace(low, high, COMPONENTS - 1)])


def _densities(estimates: Estimates, scale: np.ndarray) -> np.ndarray:
    """Density of each estimate by component and node: (gene, component, node), relative to the gene's largest."""
    variance = estimates.error[:, None, :] ** 2 + scale[None, :, None] ** 2
    logs = -0.5 * (estimates.value[:, None, None] ** 2 / variance + np.log(variance))
    return np.exp(logs - logs.max(axis=(1, 2), keepdims=True)) * estimates.share[:, None, :]


def _by_component(estimates: Estimates, scale: np.ndarray) -> np.ndarray:
    """The same summed over the nodes: (gene, component)."""
    parts = [_densities(estimates.part(tile), scale).sum(axis=2) for tile in _tiles(estimates)]
    return np.concatenate(parts)


def _tiles(estimates: Estimates) -> list[slice]:
    return [slice(i, i + TILE) for i in range(0, estimates.value.size, TILE)]


def posterior(prior: Prior, estimates: Estimates, level: float) -> Posterior:
    """Mean, equal-tailed interval of a level such as 0.95, and local false sign rate of each effect."""
    used = prior.weight > NEGLIGIBLE
    used[0] = True
    kept = Prior(prior.scale[used], prior.weight[used])
    parts = [_posterior(kept, estimates.part(tile), level) for tile in _tiles(estimates)]
    return Posterior(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _posterior(prior: Prior, estimates: Estimates, level: float) -> tuple[np.ndarray, ...]:
    n_genes = estimates.value.size
    share = _densities(estimates, prior.scale) * prior.weight[None, :, None]
    share /= share.sum(axis=(1, 2), keepdims=True)
    variance, squared = estimates.error[:, None, :] ** 2, prior.scale[None, 1:, None] ** 2
    mixture = _Mixture(
        null=share[:, 0].sum(axis=1),
        share=share[:, 1:].reshape(n_genes, -1),
        mean=(estimates.value[:, None, None] * squared / (squared + variance)).reshape(n_genes, -1),
        sd=np.sqrt(squared * variance / (squared + variance)).reshape(n_genes, -1),
    )
    below = mixture.below(np.zeros(n_genes))
    mean, sd = mixture.moments()
    tail = 0.5 * (1.0 - level)
    ends = [mixture.quantile(q, below, mean, sd) for q in (tail, 1.0 - tail)]
    return mean, *ends, np.minimum(below + mixture.null, 1.0 - below)


@dataclass(frozen=True)
class _Mixture:
    """Posterior of each gene: a point mass at 0, (gene,), and normals, (gene, component)."""

    null: np.ndarray
    share: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def below(self, x: np.ndarray) -> np.ndarray:
        """Probability of the normals below x (gene,)."""
        return np.sum(self.share * ndtr((x[:, None] - self.mean) / self.sd), axis=1)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation: (gene,) each."""
        mean = np.sum(self.share * self.mean, axis=1)
        square = np.sum(self.share * (self.mean**2 + self.sd**2), axis=1)
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def quantile(self, q: float, below: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Quantile (gene,) by bisection; ``below`` is the probability below 0, where the point mass is.

        No quantile q is further from the mean than sqrt(1 / q) or sqrt(1 / (1 - q)) standard deviations.
        """
        reach = sd / np.sqrt(min(q, 1.0 - q))
        low, high = mean - reach, mean + reach
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            enough = self.below(middle) + np.where(middle >= 0.0, self.null, 0.0) >= q
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return np.where((below < q) & (q <= below + self.null), 0.0, high)


def s_values(false_sign: np.ndarray) -> np.ndarray:
    """Average false sign rate among the genes that are at least as sure: the q-value's counterpart for signs."""
    order = np.argsort(false_sign, kind="stable")
    result = np.empty(false_sign.shape)
    result[order] = np.cumsum(false_sign[order]) / np.arange(1, false_sign.size + 1)
    return result
