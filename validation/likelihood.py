"""The negative binomial's likelihood, written a second time with SciPy and none of xdelnx.

It referees where xdelnx and R differ: the estimate with the higher likelihood is right,
whoever made it. Arrays are (sample, gene); ``theta`` is (gene,).
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

COX_REID_FACTOR = 0.99


def means(beta: np.ndarray, design: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Mean (sample, gene) of coefficients (gene, coefficient); ``scale`` is (sample,) or (sample, gene)."""
    # A group without counts has coefficients of -1e8 in R's tables: products with 0, so not clipped themselves.
    predictor = design @ np.nan_to_num(beta).T
    return np.exp(np.clip(predictor, -700.0, 300.0)) * (scale[:, None] if scale.ndim == 1 else scale)


def moment_dispersion(y: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Overdispersion of the first fit, from the variance of the counts: (gene,)."""
    mean, variance = y.mean(axis=0), y.var(axis=0, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        theta = (variance - mean / scale.mean()) / mean**2
    return np.where((mean > 0) & (theta > 0), theta, 0.0)


def deviance(y: np.ndarray, mu: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Deviance (gene,): twice the log likelihood's distance to the saturated model."""
    positive = y > 0
    ratio = np.log(np.where(positive, y, 1.0) / np.where(positive, np.maximum(mu, 1e-300), 1.0))
    at = np.maximum(theta, np.finfo(float).tiny)
    # the two logarithms of the pooled term in one, which loses no digits where the overdispersion is small
    ratios = np.log1p(at * np.abs(y - mu) / (1.0 + at * np.minimum(y, mu)))
    pooled = y * (np.log1p(at * y) - np.log1p(at * mu)) + np.sign(y - mu) * ratios / at
    return 2.0 * np.sum(y * ratio - np.where(theta > 0.0, pooled, y - mu), axis=0)


def log_likelihood(y: np.ndarray, mu: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Log likelihood (gene,) up to terms of the counts alone; ``theta`` from 1e-8 (below: Poisson)."""
    mu = np.maximum(mu, 1e-6)
    at = np.maximum(theta, 1e-8)
    size = 1.0 / at
    terms = (
        gammaln(y + size) - gammaln(size) + y * np.log(at) - (y + size) * np.log1p(at * mu) + y * np.log(mu)
    )
    return np.where(theta < 1e-8, y * np.log(mu) - mu, terms).sum(axis=0)


def cox_reid(mu: np.ndarray, theta: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Half the log determinant of the information, times glmGamPoi's constant: (gene,)."""
    orthonormal, _ = np.linalg.qr(design)  # the determinant changes by a constant, its rounding by a lot
    weight = 1.0 / (1.0 / np.maximum(mu, 1e-6) + theta)
    information = np.einsum("ip,ig,iq->gpq", orthonormal, weight, orthonormal, optimize=True)
    return 0.5 * COX_REID_FACTOR * np.linalg.slogdet(information)[1]


def adjusted_log_likelihood(
    y: np.ndarray, mu: np.ndarray, theta: np.ndarray, design: np.ndarray, *, adjusted: bool = True
) -> np.ndarray:
    """Log likelihood of the overdispersion given the means, Cox-Reid adjusted or not: (gene,)."""
    value = log_likelihood(y, mu, theta)
    return value - cox_reid(mu, theta, design) if adjusted else value


def unscaled_variance(mu: np.ndarray, theta: np.ndarray, design: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Variance of ``rows @ beta`` without a quasi-likelihood factor: (gene, row)."""
    information = np.einsum("ip,ig,iq->gpq", design, mu / (1.0 + theta * mu), design, optimize=True)
    return np.einsum("rp,gpq,rq->gr", rows, np.linalg.inv(information), rows)
