"""The one step across genes: dispersion trend, quasi-likelihood prior, shrunken dispersions.

Sources: the local-median trend and the trended prior as glmGamPoi has them (Ahlmann-Eltze & Huber
2020); quasi-likelihood dispersions shrunken by empirical Bayes (Lund et al. 2012; Smyth 2004).
Genes that took no part in the fit (every count zero) take no part here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, digamma, gammaln, polygamma

from xdelnx.algorithms.robust_prior import FEWEST_GENES, lower_tail, outlier_df, robust_scale
from xdelnx.algorithms.trend import local_median

SPLINE_GENES = 100  # fewer genes have a constant prior
SMALLEST_MEAN = 1e-8  # genes below take no part in the prior's fit
INFINITE_DF = 1e7  # prior degrees of freedom beyond this are infinite for every purpose
MAX_ITERATIONS = 200


@dataclass(frozen=True)
class Shrinkage:
    """Outcome of the step across genes; vectors are (gene,). A robust prior's degrees of freedom are one, too."""

    trend: np.ndarray
    ql_dispersion: np.ndarray
    ql_prior: np.ndarray
    ql_dispersion_shrunken: np.ndarray
    prior_df: float | np.ndarray


def shrink(
    mean: np.ndarray,
    theta: np.ndarray,
    residual_df: float | np.ndarray,
    trend: np.ndarray | None = None,
    *,
    robust: bool = False,
) -> Shrinkage:
    """Trend, quasi-likelihood dispersions, their prior, and the shrunken dispersions.

    Parameters
    ----------
    mean
        (gene,) mean over samples of the fitted count.
    theta
        (gene,) overdispersion; a gene with NaN takes no part and gets NaN throughout.
    residual_df
        Samples less coefficients, one number or (gene,).
    trend
        (gene,) overdispersion trend where it is given; estimated otherwise.
    robust
        Whether the prior is not to be bent by outliers, which get degrees of freedom of their own.
    """
    part = np.isfinite(mean) & np.isfinite(theta)
    m, t = mean[part], theta[part]
    at = local_median(m, t) if trend is None else trend[part]
    q = (1.0 + m * t) / (1.0 + m * at)
    d = residual_df[part] if isinstance(residual_df, np.ndarray) and residual_df.ndim else residual_df
    # a count that varies by chance alone has no q below this: its lower tail is not that of F
    tail = 1.0 / (1.0 + m * at) < lower_tail(d) if robust else None
    prior, prior_df = fit_prior(m, q, d, robust=robust, tail=tail)
    values = at, q, prior, squeeze(q, d, prior, prior_df)
    vectors = [_put(part, value) for value in values]
    by_gene = _put(part, prior_df) if isinstance(prior_df, np.ndarray) else prior_df
    return Shrinkage(vectors[0], vectors[1], vectors[2], vectors[3], by_gene)


def _put(part: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of the genes that take part among all genes, NaN for the others: (gene,)."""
    out = np.full(part.shape, np.nan)
    out[part] = values
    return out


def squeeze(
    q: np.ndarray, residual_df: float | np.ndarray, prior: np.ndarray, prior_df: float | np.ndarray
) -> np.ndarray:
    """Posterior mean of the quasi-likelihood dispersion: ``(d0 s0^2 + d q) / (d0 + d)`` (Smyth 2004)."""
    infinite = np.isinf(prior_df)
    finite = np.where(infinite, 1.0, prior_df)
    return np.where(infinite, prior, (finite * prior + residual_df * q) / (finite + residual_df))


# ---- prior -----------------------------------------------------------------------------------------------


def fit_prior(
    mean: np.ndarray,
    q: np.ndarray,
    residual_df: float | np.ndarray,
    *,
    robust: bool = False,
    tail: np.ndarray | None = None,
) -> tuple[np.ndarray, float | np.ndarray]:
    """Scale (gene,) and degrees of freedom of the prior, by maximum likelihood of ``q / s0^2 ~ F(d, d0)``.

    The logarithm of the scale is a natural cubic spline of log(mean) with inner knots at a third
    and two thirds of its range; a constant with fewer than 100 genes.

    The robust one (`xdelnx.algorithms.robust_prior`) has degrees of freedom (gene,). It is that of maximum likelihood
    where this has more of them (there are no outliers, then, to speak of) and with fewer than ten genes. Its
    moments are those of the genes in ``tail``, if given: those whose dispersion can lie as far down as
    F says; scales of the others differ from maximum likelihood as those of the nearest mean do.
    """
    if q.size == 0 or np.allclose(q, 1.0, rtol=0.0, atol=1e-12):
        return np.ones_like(q), np.full(q.shape, np.inf) if robust else np.inf
    part = mean > SMALLEST_MEAN
    x = np.log(np.where(part, mean, 1.0))
    basis = np.ones((q.size, 1))
    if part.sum() >= SPLINE_GENES and np.ptp(x[part]) > 0.0:
        knots = np.linspace(x[part].min(), x[part].max(), 4)
        basis = natural_spline(np.where(part, x, knots[0]), knots)
    d = residual_df[part] if isinstance(residual_df, np.ndarray) else residual_df
    scaled, _ = np.linalg.qr(basis[part])
    to_basis = np.linalg.lstsq(basis[part], scaled, rcond=None)[0]
    gamma, prior_df = _maximise(scaled * np.sqrt(part.sum()), q[part], d)
    scale = np.exp(basis @ (to_basis @ gamma) * np.sqrt(part.sum()))
    if not robust:
        return scale, prior_df
    by_gene = np.full(q.shape, prior_df)
    if part.sum() >= FEWEST_GENES:
        free = part if tail is None else part & tail
        if free.sum() >= FEWEST_GENES:
            of_free = residual_df[free] if isinstance(residual_df, np.ndarray) else residual_df
            log_scale, robust_df = robust_scale(basis[free], q[free], of_free)
            if robust_df > prior_df:  # outliers only ever lower it
                prior_df, order = robust_df, np.argsort(x[free])
                change = (log_scale - np.log(scale[free]))[order]
                scale = scale * np.exp(np.interp(x, x[free][order], change))
        by_gene = np.full(q.shape, prior_df)
        by_gene[part] = outlier_df(q[part] / scale[part], d, prior_df)
    return scale, by_gene


def natural_spline(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Natural cubic spline basis with the given knots, the outer two being boundaries: (x, knot)."""
    width = knots[-1] - knots[0]
    z, t = (x - knots[0]) / width, (knots - knots[0]) / width

    def tail(k: int) -> np.ndarray:
        return (np.maximum(z - t[k], 0.0) ** 3 - np.maximum(z - t[-1], 0.0) ** 3) / (t[-1] - t[k])

    last = tail(t.size - 2)
    return np.stack([np.ones_like(z), z, *(tail(k) - last for k in range(t.size - 2))], axis=1)


def prior_log_likelihood(q: np.ndarray, d: float | np.ndarray, log_scale: np.ndarray, d0: float) -> float:
    """Log likelihood of ``q / exp(log_scale) ~ F(d, d0)``."""
    x = q * np.exp(-log_scale)
    if np.isinf(d0):  # d x ~ chi-squared on d degrees of freedom
        terms = 0.5 * d * np.log(0.5 * d) - gammaln(0.5 * d) + (0.5 * d - 1.0) * np.log(x) - 0.5 * d * x
    else:
        terms = (
            0.5 * d * np.log(d / d0)
            + (0.5 * d - 1.0) * np.log(x)
            - 0.5 * (d + d0) * np.log1p(d * x / d0)
            - betaln(0.5 * d, 0.5 * d0)
        )
    return float(np.sum(terms - log_scale))


def _maximise(basis: np.ndarray, q: np.ndarray, d: float | np.ndarray) -> tuple[np.ndarray, float]:
    """Newton's method on (spline coefficients, log d0); infinite d0 where the likelihood keeps rising."""
    level = np.linalg.lstsq(basis, np.full(q.size, np.median(np.log(q))), rcond=None)[0]
    point = np.append(level, np.log(10.0))
    value = prior_log_likelihood(q, d, basis @ point[:-1], np.exp(point[-1]))
    for _ in range(MAX_ITERATIONS):
        step = _ascent(basis, *_derivatives(basis, q, d, point[:-1], np.exp(point[-1])))
        trial, reached = _line_search(basis, q, d, point, step, value)
        moved, gain = np.abs(trial - point).max(), reached - value
        point, value = trial, reached
        if np.exp(point[-1]) > INFINITE_DF or (gain < 1e-8 and moved < 1e-8):
            break
    return _finite_or_not(basis, q, d, point[:-1], float(np.exp(point[-1])), value)


def _line_search(
    basis: np.ndarray, q: np.ndarray, d: float | np.ndarray, point: np.ndarray, step: np.ndarray, value: float
) -> tuple[np.ndarray, float]:
    """Halve the step until the likelihood does not fall; stay where no step of any length helps.

    A step shorter than 1e-3 is taken whole: that near the maximum Newton's method converges, and the
    gain is lost in the rounding of the sum.
    """
    near = np.abs(step).max() < 1e-3
    for halvings in range(40):
        trial = point + 0.5**halvings * step
        reached = prior_log_likelihood(q, d, basis @ trial[:-1], np.exp(trial[-1]))
        if near or reached >= value:
            return trial, reached
    return point, value


def _finite_or_not(
    basis: np.ndarray, q: np.ndarray, d: float | np.ndarray, gamma: np.ndarray, d0: float, value: float
) -> tuple[np.ndarray, float]:
    """Compare with the limit of an infinite d0, a gamma regression of q on the basis."""
    if d0 < 1e3:
        return gamma, d0
    limit = gamma.copy()
    weight = d / np.mean(d)
    for _ in range(MAX_ITERATIONS):
        x = q * np.exp(-(basis @ limit))
        step = np.linalg.solve(basis.T @ ((weight * x)[:, None] * basis), basis.T @ (weight * (x - 1.0)))
        limit = limit + step
        if np.abs(step).max() < 1e-12:
            break
    if prior_log_likelihood(q, d, basis @ limit, np.inf) >= value - 1e-6:
        return limit, np.inf
    return gamma, d0


def _ascent(basis: np.ndarray, gradient: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Newton step, with the eigenvalues of the Hessian made negative, at most 2 long in log(scale) and log(d0)."""
    eigenvalues, vectors = np.linalg.eigh(-hessian)
    floor = 1e-8 * np.abs(eigenvalues).max()
    step = vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(eigenvalues), floor))
    return step * min(1.0, 2.0 / max(np.abs(basis @ step[:-1]).max(), abs(step[-1]), 1e-300))


def _derivatives(
    basis: np.ndarray, q: np.ndarray, d: float | np.ndarray, gamma: np.ndarray, d0: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian of `prior_log_likelihood` in (spline coefficients, log d0)."""
    dx = d * q * np.exp(-(basis @ gamma))
    total = d0 + dx
    share = dx / total
    in_scale = -0.5 * d + 0.5 * (d + d0) * share
    scale_twice = -0.5 * (d + d0) * share * (d0 / total)
    scale_d0 = 0.5 * d0 * share * (dx - d) / total
    in_d0 = 0.5 * (-np.log1p(dx / d0) + (dx - d) / total - digamma(0.5 * d0) + digamma(0.5 * (d + d0)))
    d0_twice = (
        0.5 / d0
        - 0.5 / total
        - 0.5 * (dx - d) / total**2
        - 0.25 * (polygamma(1, 0.5 * d0) - polygamma(1, 0.5 * (d + d0)))
    )
    slope = np.sum(in_d0)
    gradient = np.append(basis.T @ in_scale, d0 * slope)
    hessian = np.empty((gradient.size, gradient.size))
    hessian[:-1, :-1] = basis.T @ (scale_twice[:, None] * basis)
    hessian[:-1, -1] = hessian[-1, :-1] = basis.T @ scale_d0
    hessian[-1, -1] = d0 * slope + d0 * d0 * np.sum(d0_twice)
    return gradient, hessian
