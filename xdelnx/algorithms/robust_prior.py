"""A prior of quasi-likelihood dispersions that a few hypervariable genes do not bend.

Phipson, Lee, Majewski, Alexander & Smyth 2016, doi:10.1214/16-AOAS920: the prior's scale and degrees of
freedom match the winsorised mean and variance of the log dispersions; genes far out in the upper tail then
get fewer prior degrees of freedom of their own, down to those that make the largest dispersion unsurprising.
"""

from __future__ import annotations

import numpy as np
from scipy.special import chdtrc, chdtri, fdtrc, fdtri

LOWER_TAIL, UPPER_TAIL = 0.05, 0.1  # of the log dispersions, pulled in to the quantile there
SMALLEST_DF, LARGEST_DF = 0.02, 1e6  # of the prior; beyond the larger one it is infinite
SMALLEST_OUTLIER_DF = 1e-4
FEWEST_GENES = 10  # fewer do not say which of them are outliers
SMALLEST_Q = 1e-5  # of the median: where the logarithm ends
NODES = 128  # of the integrals over the quantiles: 1e-10 of the moments
MAX_ITERATIONS = 200


def robust_scale(basis: np.ndarray, q: np.ndarray, d: float | np.ndarray) -> tuple[np.ndarray, float]:
    """Log s0^2 (gene,) and d0 of ``q / s0^2 ~ F(d, d0)``, log s0^2 in the span of the basis, some genes being outliers.

    Genes whose residual degrees of freedom differ are brought to the largest of them by their
    quantile, at the prior found so far.

    Parameters
    ----------
    basis
        (gene, column), the constant being in their span.
    q
        (gene,) quasi-likelihood dispersion.
    d
        Residual degrees of freedom, one number or (gene,), above 0.
    """
    z = np.log(np.maximum(q, SMALLEST_Q * np.median(q)))
    common = float(np.max(d))
    log_scale, prior_df = _winsorised_fit(basis, z, common)
    if np.min(d) < common:
        for _ in range(MAX_ITERATIONS):
            before = prior_df, log_scale
            alike = log_scale + _at_quantile_of(z - log_scale, np.asarray(d), common, prior_df)
            log_scale, prior_df = _winsorised_fit(basis, alike, common)
            same_df = prior_df == before[0] or abs(np.log(prior_df / before[0])) < 1e-8
            if same_df and np.abs(log_scale - before[1]).max() < 1e-8:
                break
    return log_scale, prior_df


def _winsorised_fit(basis: np.ndarray, z: np.ndarray, d: float) -> tuple[np.ndarray, float]:
    """Log scale (gene,) and degrees of freedom whose winsorised moments are those of ``z``."""
    trend, variance = winsorised_regression(basis, z)
    prior_df = matching_df(variance, d)
    return trend - winsorised_moments(d, prior_df)[0], prior_df


def winsorised_regression(basis: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit (gene,) whose winsorised residuals have mean 0 and no part in the basis; their variance.

    Residuals are pulled in to their own lower and upper quantile and fitted again, until nothing moves.
    """
    q, _ = np.linalg.qr(basis)
    trend = np.full(z.shape, np.median(z))
    for _ in range(MAX_ITERATIONS):
        residual = z - trend
        inner = np.clip(residual, *np.quantile(residual, [LOWER_TAIL, 1.0 - UPPER_TAIL]))
        step = q @ (q.T @ inner)
        trend = trend + step
        if np.abs(step).max() < 1e-10:
            break
    return trend, float(np.sum((inner - step) ** 2) / (z.size - basis.shape[1]))


def quantile(p: np.ndarray, d: float | np.ndarray, d0: float) -> np.ndarray:
    """Quantile of F(d, d0) whose lower tail is ``p``; of chi-squared / d where d0 is infinite."""
    return chdtri(d, 1.0 - p) / d if np.isinf(d0) else fdtri(d, d0, p)


def lower_tail(d: float | np.ndarray) -> np.ndarray:
    """Where the lower tail that is pulled in begins, without a spread of the prior."""
    return quantile(np.array(LOWER_TAIL), d, np.inf)


def upper_tail(x: np.ndarray, d: float | np.ndarray, d0: float) -> np.ndarray:
    """Upper tail of F(d, d0), or of chi-squared / d where d0 is infinite."""
    return chdtrc(d, d * x) if np.isinf(d0) else fdtrc(d, d0, x)


def winsorised_moments(d: float, d0: float) -> tuple[float, float]:
    """Mean and variance of log F(d, d0), its tails pulled in to the quantiles where they begin."""
    points, weights = np.polynomial.legendre.leggauss(NODES)
    low, high = LOWER_TAIL, 1.0 - UPPER_TAIL
    p = 0.5 * (low + high) + 0.5 * (high - low) * points
    share = np.concatenate([0.5 * (high - low) * weights, [LOWER_TAIL, UPPER_TAIL]])
    z = np.log(quantile(np.append(p, [low, high]), d, d0))
    mean = float(share @ z)
    return mean, float(share @ (z - mean) ** 2)


def matching_df(variance: float, d: float) -> float:
    """Prior degrees of freedom at which the winsorised variance of log F(d, d0) is this one."""

    def excess(log_df: float) -> float:
        return winsorised_moments(d, np.exp(log_df))[1] - variance

    low, high = np.log(SMALLEST_DF), np.log(LARGEST_DF)
    if excess(high) >= 0.0:
        return np.inf
    if excess(low) <= 0.0:
        return SMALLEST_DF
    from scipy.optimize import brentq

    return float(np.exp(brentq(excess, low, high, xtol=1e-12)))


def _at_quantile_of(z: np.ndarray, d: np.ndarray, common: float, d0: float) -> np.ndarray:
    """Logarithms of F(d, d0) where those of F(common, d0) have the same probability, for a common d."""
    p = np.clip(1.0 - upper_tail(np.exp(z), d, d0), 1e-10, 1.0 - 1e-10)  # winsorised beyond in any case
    return np.log(quantile(p, common, d0))


# ---- outliers --------------------------------------------------------------------------------------------


def outlier_df(x: np.ndarray, d: float | np.ndarray, d0: float) -> np.ndarray:
    """Prior degrees of freedom of each gene, (gene,), from its dispersion over the prior's scale.

    The chance that a gene is no outlier is its tail probability over the share of genes that are
    at least as far out, at most 1, and at least that of every gene further out. By this chance its degrees
    of freedom lie between ``d0`` and those at which the largest dispersion would be a median one (by
    reciprocals where ``d0`` is infinite).

    Parameters
    ----------
    x
        (gene,) quasi-likelihood dispersion over the prior's scale.
    d
        Residual degrees of freedom, one number or (gene,).
    d0
        Prior degrees of freedom of the genes that are no outliers.
    """
    tail = upper_tail(x, d, d0)
    from scipy.stats import rankdata

    regular = np.minimum(tail / ((rankdata(tail) - 0.5) / tail.size), 1.0)
    first = int(np.argmin(tail))
    if tail[first] >= 0.5 or (regular == 1.0).all():
        return np.full(x.shape, d0)
    lowest = _median_df(float(np.max(x[tail == tail[first]])), float(np.broadcast_to(d, x.shape)[first]), d0)
    regular = _rising(regular, tail)
    if np.isinf(d0):
        with np.errstate(divide="ignore"):
            return lowest / (1.0 - regular)
    return regular * d0 + (1.0 - regular) * lowest


def _median_df(x: float, d: float, d0: float) -> float:
    """Degrees of freedom, at most d0, at which the median of F(d, .) is ``x``."""

    def excess(log_df: float) -> float:
        return float(upper_tail(np.array(x), d, np.exp(log_df))) - 0.5

    low, high = np.log(SMALLEST_OUTLIER_DF), np.log(min(d0, LARGEST_DF))
    if excess(low) <= 0.0:
        return SMALLEST_OUTLIER_DF
    from scipy.optimize import brentq

    return float(np.exp(brentq(excess, low, high, xtol=1e-12)))


def _rising(values: np.ndarray, key: np.ndarray) -> np.ndarray:
    """The largest of the values up to each key: they do not fall as the key rises."""
    order = np.argsort(key, kind="stable")
    out = np.empty(values.shape)
    out[order] = np.maximum.accumulate(values[order])
    return out
