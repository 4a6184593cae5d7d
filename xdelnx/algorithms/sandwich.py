"""Cluster-robust ("sandwich") variances: samples of one cluster, such as a donor's cells, need not be independent.

With scores ``U_c`` and expected information ``K_c`` of each cluster and ``I`` their sum, all in the
parameters of the basis, a coefficient's error is ``I^-1 sum_c A_c U_c``. ``A_c = (1 - K_c I^-1)^(-1/2)``
undoes what fitting takes away from a cluster's residuals (CR2, Bell & McCaffrey 2002): if the clusters'
samples were independent, the variance would be unbiased. Degrees of freedom are those of the Wishart distribution
whose moments the variance has under that model (Pustejovsky & Tipton 2018): for one degree of freedom
Satterthwaite's.

Everything is written in coordinates where ``I`` is 1, with one small matrix a gene and cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

DETERMINED = 1e-8  # a direction in which all other clusters have no more than this share of the information
SINGULAR = 1e-10  # a variance of several restrictions whose smallest part is below this share of the largest
UNKNOWN_ERROR = (
    100.0  # natural log: where a kind has no information, an effect at infinity, of which a sandwich says
)
NO_INFORMATION = 1e-7  # nothing. Without that kind, it is the error of a covariate in small units.
BATCH = 2_000_000  # numbers of the largest intermediate array


@dataclass(frozen=True)
class Clusters:
    """How kinds of samples fall into clusters, and what is asked of them.

    Parameters
    ----------
    codes
        (kind,) cluster of each kind, from 0; no kind has samples of two.
    weights
        Weights (restriction, coefficient) of each contrast.
    """

    codes: Array
    weights: tuple[Array, ...] = ()


@dataclass(frozen=True)
class _Whitened:
    """Scores and shares of the information of each cluster, where the information of all is 1."""

    root: Array  # (gene, parameter, parameter) R with R R' = I^-1
    scores: Array  # (gene, cluster, parameter), adjusted
    inverse_roots: list[Array]  # of each cluster: (gene, parameter, parameter), (1 - share)^(-1/2)
    shares: list[Array]  # of each cluster: (gene, parameter, parameter)


def clustered(
    clusters: Clusters, rows: Array, to_coefficients: Array, score: Array, weight: Array
) -> dict[str, Array]:
    """Variances and Wald tests of a tile of genes.

    Parameters
    ----------
    clusters
        The clusters and the contrasts.
    rows, to_coefficients
        (kind, parameter) and (coefficient, parameter) of the basis.
    score, weight
        (gene, kind): score and expected information in the linear predictor, summed over the samples of a kind.

    Returns
    -------
    dict
        ``variance`` (gene, coefficient); ``wald_variance`` (gene, contrast, q, q) for the contrast with
        the most restrictions q, others fill its upper left; ``wald_df`` (gene, contrast), the
        degrees of freedom of the denominator of `wald_statistic`. NaN where an effect is at infinity.
    """
    n_genes = score.shape[0]
    out = {"variance": np.full((n_genes, to_coefficients.shape[0]), np.nan)}
    out |= empty_tests(clusters, n_genes)
    for part, whitened in _batches(clusters, rows, score, weight):
        to = to_coefficients @ whitened.root  # (gene, coefficient, parameter)
        influence = np.einsum("gjp,gcp->gcj", to, whitened.scores)
        certain = np.all(weight[part] >= NO_INFORMATION, axis=1)
        known = (np.sum(to**2, axis=2) < UNKNOWN_ERROR**2) | certain[:, None]
        out["variance"][part] = np.where(known, np.sum(influence**2, axis=1), np.nan)
        for i, weights in enumerate(clusters.weights):
            q = weights.shape[0]
            found = _contrast(whitened, weights @ to, certain)
            out["wald_variance"][part, i, :q, :q], out["wald_df"][part, i] = found
    return out


def empty_tests(clusters: Clusters, n_genes: int) -> dict[str, Array]:
    """Results of tests (gene, contrast, ...) before there are any."""
    most = max((weights.shape[0] for weights in clusters.weights), default=0)
    shape = n_genes, len(clusters.weights)
    return {"wald_variance": np.full((*shape, most, most), np.nan), "wald_df": np.full(shape, np.nan)}


def covariance(clusters: Clusters, rows: Array, to_coefficients: Array, score: Array, weight: Array) -> Array:
    """Covariance of the coefficients, (gene, coefficient, coefficient); arguments as of `clustered`."""
    p = to_coefficients.shape[0]
    out = np.full((score.shape[0], p, p), np.nan)
    for part, whitened in _batches(clusters, rows, score, weight):
        influence = np.einsum("gjp,gcp->gcj", to_coefficients @ whitened.root, whitened.scores)
        out[part] = np.einsum("gcj,gck->gjk", influence, influence)
    return out


def _batches(
    clusters: Clusters, rows: Array, score: Array, weight: Array
) -> Iterator[tuple[Array, _Whitened]]:
    """Genes at a time that can be computed, and their whitened scores."""
    information = np.einsum("gk,kp,kq->gpq", weight, rows, rows, optimize=True)
    usable = np.isfinite(score).all(axis=1) & np.isfinite(information).all(axis=(1, 2))
    genes = np.flatnonzero(usable & (np.einsum("gpp->g", information) > 0.0))
    n_clusters, size = int(clusters.codes.max()) + 1, rows.shape[1]
    step = max(BATCH // (n_clusters * size**2), 1)
    for first in range(0, genes.size, step):
        part = genes[first : first + step]
        yield part, _whiten(clusters.codes, rows, score[part], weight[part], information[part])


def _whiten(codes: Array, rows: Array, score: Array, weight: Array, information: Array) -> _Whitened:
    values, vectors = np.linalg.eigh(information)
    smallest = np.maximum(values[:, -1:] * 1e-300, 1e-300)
    root = vectors / np.sqrt(np.maximum(values, smallest))[:, None, :]
    scores, roots, shares = [], [], []
    for c in range(int(codes.max()) + 1):
        kinds = codes == c
        own = np.einsum("gk,kp,kq->gpq", weight[:, kinds], rows[kinds], rows[kinds], optimize=True)
        share = np.swapaxes(root, 1, 2) @ own @ root
        adjust = _inverse_root(share)
        raw = np.einsum("gqp,gq->gp", root, score[:, kinds] @ rows[kinds])
        scores.append(np.einsum("gpq,gq->gp", adjust, raw))
        roots.append(adjust)
        shares.append(share)
    return _Whitened(root, np.stack(scores, axis=1), roots, shares)


def _inverse_root(share: Array) -> Array:
    """``(1 - share)^(-1/2)``, without the directions that the cluster alone determines."""
    values, vectors = np.linalg.eigh(share)
    left = 1.0 - values
    scale = np.where(left > DETERMINED, 1.0 / np.sqrt(np.maximum(left, DETERMINED)), 0.0)
    return (vectors * scale[:, None, :]) @ np.swapaxes(vectors, 1, 2)


def _contrast(whitened: _Whitened, directions: Array, certain: Array) -> tuple[Array, Array]:
    """Variance (gene, q, q) of a contrast with whitened weights (gene, q, parameter), and its degrees of freedom."""
    q = directions.shape[1]
    values, vectors = np.linalg.eigh(directions @ np.swapaxes(directions, 1, 2))
    known = (certain | (values[:, -1] < UNKNOWN_ERROR**2)) & (values[:, 0] > 0.0)
    standard = np.einsum("gab,gb->gab", vectors, 1.0 / np.sqrt(np.maximum(values, 1e-300)))
    weights = np.swapaxes(
        np.swapaxes(standard, 1, 2) @ directions, 1, 2
    )  # (gene, parameter, q), of unit variance
    influence = np.einsum("gqp,gcp->gcq", directions, whitened.scores)
    variance = np.einsum("gcs,gct->gst", influence, influence)
    df = q * (q + 1.0) / _moments(whitened, weights)
    variance[~known], df[~known] = np.nan, np.nan
    return variance, df - q + 1.0


def _moments(whitened: _Whitened, weights: Array) -> Array:
    """Sum of the variances of the entries of the standardised variance, clusters' samples independent: (gene,).

    The covariance of two clusters' influences is ``delta_cd D_c - F_c' F_d``; sums over pairs of
    clusters are those of products of sums over one.
    """
    total: Array = np.zeros(weights.shape[0])
    outer = 0.0
    for adjust, share in zip(whitened.inverse_roots, whitened.shares, strict=True):
        adjusted = adjust @ weights
        fitted = share @ adjusted
        d = np.swapaxes(adjusted, 1, 2) @ fitted
        n = np.swapaxes(fitted, 1, 2) @ fitted
        diagonal, lost = np.einsum("gss->gs", d), np.einsum("gss->gs", n)
        total += diagonal.sum(axis=1) ** 2 - 2.0 * diagonal.sum(axis=1) * lost.sum(axis=1)
        total += np.sum(d * d - 2.0 * d * n, axis=(1, 2))
        outer = outer + np.einsum("gis,gjt->gsitj", fitted, fitted)
    return total + np.sum(outer**2, axis=(1, 2, 3, 4)) + np.einsum("gsitj,gsjti->g", outer, outer)


def wald_statistic(effect: Array, variance: Array, df: Array) -> Array:
    """F statistic (gene,) of effects (gene, q) with a variance (gene, q, q) of ``df`` = eta - q + 1 degrees of freedom.

    Hotelling's: ``(eta - q + 1) / (eta q)`` of the Wald statistic. NaN where the variance is singular, as
    of fewer clusters than restrictions, or no degree of freedom is left.
    """
    q = effect.shape[1]
    statistic = np.full(effect.shape[0], np.nan)
    finite = np.isfinite(variance).all(axis=(1, 2)) & np.isfinite(effect).all(axis=1) & (df > 0.0)
    values, vectors = np.linalg.eigh(variance[finite])
    along = np.einsum("gab,ga->gb", vectors, effect[finite])
    fine = values[:, 0] > SINGULAR * values[:, -1]
    wald = np.sum(along**2 / np.where(fine[:, None], values, 1.0), axis=1)
    statistic[finite] = np.where(fine, wald * df[finite] / ((df[finite] + q - 1.0) * q), np.nan)
    return statistic
