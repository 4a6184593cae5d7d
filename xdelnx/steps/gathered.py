"""The steps that see every gene at once: small vectors in, small vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xdelnx.algorithms.sandwich import wald_statistic
from xdelnx.algorithms.shrinkage import shrink
from xdelnx.algorithms.significance import (
    confidence_interval,
    likelihood_ratio_test,
    log2_fold_change,
    quasi_likelihood_test,
    threshold_test,
)
from xdelnx.steps.bias_adjusted import abundant_dispersion
from xdelnx.steps.blockwise import Arrays

GLOBAL_GRID = np.linspace(np.log(1e-8), np.log(1e4), 28)  # coarse points in log theta for one theta for all
UNKNOWN_ERROR = 100.0  # standard error (natural log) of an effect at infinity
UNKNOWN_STATISTIC = 1e-6  # of a contrast that makes no difference to the fit
GLOBAL_NODES = 12  # Chebyshev points between two of them: the root is good to 1e-9


@dataclass(frozen=True)
class AcrossGenes:
    """Options of the step across genes.

    Parameters
    ----------
    residual_df
        Samples less coefficients, one number or (gene,).
    shrinkage
        Whether dispersions are shrunken to their trend and prior.
    single
        Whether the overdispersion is one number, which then is its own trend.
    robust
        Whether the prior has degrees of freedom (gene,), fewer for hypervariable genes.
    method
        ``"glmgampoi"``, or ``"edger"``: one overdispersion, and quasi-likelihood dispersions from deviances.
    own_df
        Whether each gene has residual degrees of freedom of its own, known after a pass over the counts.
    """

    residual_df: float | np.ndarray
    shrinkage: bool
    single: bool
    robust: bool = False
    method: str = "glmgampoi"
    own_df: bool = False

    @property
    def by_gene(self) -> bool:
        """Whether genes differ in the degrees of freedom of their tests."""
        return self.shrinkage and (self.robust or self.own_df or np.ndim(self.residual_df) > 0)


def joined(parts: Sequence[Arrays]) -> Arrays:
    """Concatenate the blocks' arrays along the genes."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def across_genes(options: AcrossGenes, mean: np.ndarray, theta: np.ndarray) -> Arrays:
    """Final overdispersion of each gene and, under shrinkage, what it came from.

    Parameters
    ----------
    options
        How.
    mean, theta
        (gene,) fitted mean and overdispersion; NaN for genes without a count.

    Returns
    -------
    dict
        ``dispersion``, ``theta`` (the final one); with shrinkage also ``dispersion_trend``,
        ``ql_dispersion``, ``ql_prior``, ``ql_dispersion_shrunken`` (gene,) and ``prior_df``, () or (gene,); the
        last four come after the second pass in the edger method.
    """
    if not options.shrinkage:
        return {"dispersion": theta, "theta": theta}
    if options.method == "edger":
        one = np.where(np.isnan(theta), np.nan, abundant_dispersion(mean, theta))
        return {"dispersion": theta, "theta": one, "dispersion_trend": one}
    trend = theta if options.single else None
    result = shrink(mean, theta, options.residual_df, trend, robust=options.robust)
    return {
        "dispersion": theta,
        "theta": result.trend,
        "dispersion_trend": result.trend,
        "ql_dispersion": result.ql_dispersion,
        "ql_prior": result.ql_prior,
        "ql_dispersion_shrunken": result.ql_dispersion_shrunken,
        "prior_df": np.array(result.prior_df),
    }


def denominator_df(residual_df: float | np.ndarray, prior_df: np.ndarray | None) -> np.ndarray:
    """Degrees of freedom of the residual and the prior together, () or (gene,); infinite without shrinkage."""
    return np.array(np.inf if prior_df is None else residual_df + prior_df)


def contrast_statistics(
    contrasts: Sequence[np.ndarray],
    beta: np.ndarray,
    deviance: np.ndarray,
    reduced_deviance: np.ndarray,
    contrast_variance: np.ndarray,
    ql_dispersion_shrunken: np.ndarray | None,
    df2: np.ndarray,
    doubtful: np.ndarray,
    threshold: float = 0.0,
) -> Arrays:
    """Test every contrast.

    Parameters
    ----------
    contrasts
        Weights (restriction, coefficient) of each.
    beta, deviance, reduced_deviance
        (gene, coefficient), (gene,) and (gene, contrast); with a threshold, (gene, 2 contrast): each
        contrast at plus and at minus the threshold.
    contrast_variance
        (gene, contrast) unscaled variance; NaN for a joint test.
    ql_dispersion_shrunken
        (gene,); None without shrinkage, where the test is a chi-squared one.
    df2
        () or (gene,) degrees of freedom of the denominator.
    doubtful
        (gene,) whether coefficients may be at infinity; errors of others are large where a covariate has small units.
    threshold
        Natural log: test for effects above it, if above 0.

    Returns
    -------
    dict
        ``log2fc``, ``coef``, ``lfc_se``, ``ci_low``, ``ci_high``, ``stat``, ``pval``, each
        (contrast, gene). A fold change that the counts do not determine at all is NaN.
    """
    scale = 1.0 if ql_dispersion_shrunken is None else ql_dispersion_shrunken
    shape = (len(contrasts), deviance.size)
    coef, stat, pval = np.full(shape, np.nan), np.empty(shape), np.empty(shape)
    for i, weights in enumerate(contrasts):
        if weights.shape[0] == 1:
            coef[i] = beta @ weights[0]
        if threshold:
            drops = reduced_deviance[:, 2 * i] - deviance, reduced_deviance[:, 2 * i + 1] - deviance
            stat[i], pval[i] = threshold_test(coef[i], threshold, drops, scale, df2)
            continue
        drop = reduced_deviance[:, i] - deviance
        if ql_dispersion_shrunken is None:
            stat[i], pval[i] = likelihood_ratio_test(drop, weights.shape[0])
        else:
            stat[i], pval[i] = quasi_likelihood_test(drop, weights.shape[0], ql_dispersion_shrunken, df2)
    standard_error = np.sqrt(scale * contrast_variance.T)
    # The difference of two groups that are both without a count is infinity less infinity.
    coef[doubtful & (standard_error > UNKNOWN_ERROR) & (stat < UNKNOWN_STATISTIC)] = np.nan
    low, high = confidence_interval(coef, standard_error, df2)
    return {
        "log2fc": log2_fold_change(coef),
        "coef": coef,
        "lfc_se": standard_error / np.log(2.0),
        "ci_low": low / np.log(2.0),
        "ci_high": high / np.log(2.0),
        "stat": stat,
        "pval": pval,
    }


def cluster_statistics(
    contrasts: Sequence[np.ndarray], beta: np.ndarray, clustered: Arrays, threshold: float
) -> Arrays:
    """Wald tests of every contrast with variances that are robust to clusters.

    Parameters
    ----------
    contrasts, beta, threshold
        As of `contrast_statistics`.
    clustered
        Of all genes, what `xdelnx.algorithms.sandwich.clustered` gives.

    Returns
    -------
    dict
        As of `contrast_statistics`, and ``df2`` (contrast, gene). Effects at infinity are not tested.
    """
    shape = len(contrasts), beta.shape[0]
    coef, error, stat, pval = (np.full(shape, np.nan) for _ in range(4))
    df2 = clustered["wald_df"].T.copy()
    for i, weights in enumerate(contrasts):
        q = weights.shape[0]
        variance, effect = clustered["wald_variance"][:, i, :q, :q], beta @ weights.T
        if q == 1:
            coef[i], error[i] = effect[:, 0], np.sqrt(variance[:, 0, 0])
        if threshold:
            drops = tuple(((coef[i] - at) / error[i]) ** 2 for at in (threshold, -threshold))
            stat[i], pval[i] = threshold_test(coef[i], threshold, drops, 1.0, df2[i])
        else:
            wald = wald_statistic(effect, variance, df2[i])
            stat[i], pval[i] = quasi_likelihood_test(q * wald, q, np.ones(1), df2[i])
    low, high = confidence_interval(coef, error, df2)
    return {
        "log2fc": log2_fold_change(coef),
        "coef": coef,
        "lfc_se": error / np.log(2.0),
        "ci_low": low / np.log(2.0),
        "ci_high": high / np.log(2.0),
        "stat": stat,
        "pval": pval,
        "df2": df2,
    }


def with_cluster_statistics(middle: Arrays, refit: Arrays, contrasts: Sequence[np.ndarray]) -> Arrays:
    """Result of a fit whose errors are robust to clusters, of the step across genes and the second pass."""
    left_out = ("theta", "variance", "wald_variance", "wald_df")
    found = {name: values for name, values in (refit | middle).items() if name not in left_out}
    statistics = cluster_statistics(contrasts, refit["beta"], refit, 0.0)
    return found | statistics | {"standard_error": np.sqrt(refit["variance"])}


# ---- one overdispersion for all genes --------------------------------------------------------------------


def bracket_of_root(points: np.ndarray, slopes: np.ndarray) -> tuple[float, float] | None:
    """Neighbouring points around the highest maximum of the function whose slopes are given; None at an end."""
    gain = np.concatenate([[0.0], np.cumsum(0.5 * np.diff(points) * (slopes[1:] + slopes[:-1]))])
    falling = np.flatnonzero((slopes[:-1] > 0.0) & (slopes[1:] <= 0.0))
    if falling.size == 0 or gain[falling].max() <= 0.0:
        return None
    best = falling[np.argmax(gain[falling])]
    return float(points[best]), float(points[best + 1])


def chebyshev_points(low: float, high: float) -> np.ndarray:
    """Points between low and high for `root_of`."""
    angles = (np.arange(GLOBAL_NODES) + 0.5) * np.pi / GLOBAL_NODES
    return 0.5 * (low + high) - 0.5 * (high - low) * np.cos(angles)


def root_of(points: np.ndarray, slopes: np.ndarray) -> float:
    """Root of the polynomial through the slopes at Chebyshev points, nearest the sign change."""
    fitted = np.polynomial.Chebyshev.fit(points, slopes, GLOBAL_NODES - 1)
    roots = fitted.roots()
    roots = roots[np.abs(roots.imag) < 1e-9].real
    change = np.flatnonzero((slopes[:-1] > 0.0) & (slopes[1:] <= 0.0))
    middle = (
        0.5 * (points[change[0]] + points[change[0] + 1])
        if change.size
        else points[np.argmin(np.abs(slopes))]
    )
    return float(roots[np.argmin(np.abs(roots - middle))]) if roots.size else float(middle)


def _summed(slopes: Sequence[np.ndarray]) -> np.ndarray:
    """Sum over all genes of blocks of slopes (gene, point): in one, so that the blocks change no digit."""
    return np.sum(np.concatenate(slopes), axis=0)


def nodes_for(slopes: Sequence[np.ndarray]) -> np.ndarray | None:
    """Second round of points, from the blocks' slopes on the grid; None: theta is at an end of it."""
    bracket = bracket_of_root(GLOBAL_GRID, _summed(slopes))
    return None if bracket is None else chebyshev_points(*bracket)


def global_theta(nodes: np.ndarray | None, coarse: Sequence[np.ndarray], fine: Sequence[np.ndarray]) -> float:
    """One overdispersion for all genes: zero or the bound where the likelihood has no maximum inside."""
    if nodes is None:
        return 0.0 if _summed(coarse)[0] <= 0.0 else float(np.exp(GLOBAL_GRID[-1]))
    return float(np.exp(root_of(nodes, _summed(fine))))
