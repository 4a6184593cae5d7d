"""What looks off in a fit, in plain words: each function looks at one thing and returns a finding about it.

They take arrays and know nothing of Datasets; `xdelnx.reporting.checkup` takes the arrays out of a fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from scipy.special import fdtrc

from xdelnx.algorithms.centring import imbalance
from xdelnx.messages import counted, listing
from xdelnx.status import ADVICE, Status


class Severity(IntEnum):
    """How much a finding matters."""

    FINE = 0
    NOTE = 1
    WARNING = 2


@dataclass(frozen=True)
class Finding:
    """What was found about one topic, and what to do about it.

    Parameters
    ----------
    topic
        What was looked at.
    severity
        How much it matters.
    text
        What was found, a sentence.
    advice
        What to do, a sentence; empty where all is fine.
    """

    topic: str
    severity: Severity
    text: str
    advice: str = ""


FAR_FACTOR, VERY_FAR_FACTOR = 3.0, 10.0  # of a size factor from the geometric mean
OUTLIER_DEVIATIONS = 5.0  # median absolute deviations
OUTLIER_RATIO = 1.5  # of a sample's distance to that of most
FEW_DF = 3.0
TINY_PRIOR_DF = 1.0
INFLATED, MUCH_INFLATED = 2.0, 4.0  # variance of a contrast by the other terms of the design
SHIFTED = 0.1  # log2
MANY = 0.5  # of the genes
LARGE_OVERDISPERSION = 1.0


def size_factor_range(factors: np.ndarray, names: Sequence[object]) -> Finding:
    """Whether some samples are sequenced much more or less deeply: size factors (sample,)."""
    topic = "Size factors"
    fold = np.exp(np.abs(np.log(factors) - np.log(factors).mean()))
    spread = f"between {factors.min():.3g} and {factors.max():.3g}"
    far = np.flatnonzero(fold > FAR_FACTOR)
    if not far.size:
        return Finding(topic, Severity.FINE, f"The size factors are {spread}.")
    worst = far[np.argsort(-fold[far])]
    named = listing([f"{names[k]} ({factors[k]:.3g})" for k in worst], 5)
    severity = Severity.WARNING if fold.max() > VERY_FAR_FACTOR else Severity.NOTE
    return Finding(
        topic,
        severity,
        f"The size factors are {spread}; more than {FAR_FACTOR:g}-fold from the middle: {named}.",
        "Look whether these samples failed; of shallow ones leave out those whose counts are mostly zero.",
    )


def depth_by_design(factors: np.ndarray, design: np.ndarray) -> Finding | None:
    """Whether size factors (sample,) go with the design (sample, coefficient); None where that cannot be told."""
    topic = "Depth and design"
    n = len(factors)
    values = np.log(factors) - np.log(factors).mean()
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    df1, df2 = np.linalg.matrix_rank(design) - 1, n - np.linalg.matrix_rank(design)
    total, rest = np.square(values).sum(), np.square(values - fitted).sum()
    if df1 < 1 or df2 < FEW_DF or total < 1e-20:
        return None
    share = 1.0 - rest / total
    statistic = (total - rest) / df1 / max(rest / df2, 1e-300)
    if fdtrc(df1, df2, statistic) >= 0.01 or np.ptp(fitted) < np.log(1.5):
        return Finding(topic, Severity.FINE, "The samples' depths do not go with the design.")
    return Finding(
        topic,
        Severity.NOTE,
        f"The design explains {share:.0%} of the differences in depth between samples, "
        f"up to {np.exp(np.ptp(fitted)):.2g}-fold.",
        "Fold changes rest on the size factors here: compare with size_factors='invariant' or 'tmm'.",
    )


def outlier_samples(values: np.ndarray, design: np.ndarray, names: Sequence[object]) -> Finding | None:
    """Whether a sample is far from what the design makes of it.

    Parameters
    ----------
    values
        (sample, gene) normalised counts on a log scale.
    design
        (sample, coefficient).
    names
        (sample,).

    Returns
    -------
    Finding or None
        None where fewer than 6 samples can be compared. Distances are root mean squares of standardised
        residuals of least squares over the genes.
    """
    basis = np.linalg.svd(design, full_matrices=False)
    left = basis[0][:, basis[1] > 1e-10 * basis[1].max(initial=0.0)]
    free = 1.0 - np.square(left).sum(axis=1)
    known = np.flatnonzero(free > 0.05)
    if known.size < 6:
        return None
    rest = (values - left @ (left.T @ values))[known]
    distance = np.sqrt(np.square(rest).mean(axis=1) / free[known])
    middle = np.median(distance)
    spread = 1.4826 * np.median(np.abs(distance - middle))
    far = np.flatnonzero(
        (distance > middle + OUTLIER_DEVIATIONS * spread) & (distance > OUTLIER_RATIO * middle)
    )
    if not far.size:
        return Finding("Outlying samples", Severity.FINE, "No sample is far from others like it.")
    named = listing([f"{names[known[k]]} ({distance[k] / middle:.1f} times)" for k in far], 5)
    return Finding(
        "Outlying samples",
        Severity.WARNING,
        f"Farther from what the design expects than most samples: {named}.",
        "Look at these samples in the PCA: they may be swapped, contaminated or of poor quality; fit without them, "
        "with weights, or with cooks='flag' to see what hangs on them.",
    )


def residual_freedom(residual_df: np.ndarray) -> Finding:
    """Whether there are samples enough to tell noise from effects: residual df, a number or (gene,)."""
    topic = "Residual degrees of freedom"
    df = float(np.nanmedian(residual_df)) if np.isfinite(residual_df).any() else 0.0
    if df >= FEW_DF:
        return Finding(topic, Severity.FINE, f"There are {df:.3g} residual degrees of freedom.")
    return Finding(
        topic,
        Severity.WARNING,
        f"There are {df:.3g} residual degrees of freedom: hardly any sample more than coefficients.",
        "Variances rest on what other genes are like; add replicates, or leave out terms of the design that "
        "are not needed.",
    )


def replication(design: np.ndarray) -> Finding | None:
    """Whether groups of samples have replicates; None for designs (sample, coefficient) without groups."""
    _, counts = np.unique(np.round(design, 10), axis=0, return_counts=True)
    if len(counts) > 2 * len(design) / 3:
        return None  # a covariate, or blocks whose samples are each other's replicates
    if counts.min() > 1:
        return Finding(
            "Replicates", Severity.FINE, f"Each group of the design has {counts.min()} samples or more."
        )
    alone = int((counts == 1).sum())
    return Finding(
        "Replicates",
        Severity.NOTE,
        f"{counted(alone, 'group')} of samples with the same design consist{'s' if alone == 1 else ''} of one sample.",
        "What is found in such a group rests on one sample: look at its counts.",
    )


def prior_strength(prior_df: np.ndarray) -> Finding | None:
    """Whether genes share their variance as they usually do: prior df, a number or (gene,); None for none."""
    topic = "Prior of the dispersions"
    known = np.asarray(prior_df, dtype=float)
    known = known[~np.isnan(known)]
    if not known.size:
        return None
    df = float(np.median(known))
    if np.isinf(df):
        return Finding(
            topic,
            Severity.NOTE,
            "The prior degrees of freedom are infinite: the genes' dispersions differ no more than by chance, and "
            "every gene gets that of the trend.",
            "That is sound for simulated or technical replicates; of biological samples look at the quasi-likelihood "
            "dispersions for genes far above their prior, and compare with robust=True.",
        )
    if df < TINY_PRIOR_DF:
        return Finding(
            topic,
            Severity.WARNING,
            f"The prior degrees of freedom are {df:.2g}: genes differ so much in their dispersion that they hardly "
            "support each other.",
            "Look for outlying samples, a missing batch, or genes of very small counts (filter_by_expression); "
            "compare with robust=True.",
        )
    return Finding(
        topic, Severity.FINE, f"The prior counts as {df:.3g} further degrees of freedom of each gene."
    )


def overdispersion_level(dispersion: np.ndarray) -> Finding | None:
    """Whether the overdispersions (gene,), where they are estimated, are of a usual size."""
    known = dispersion[np.isfinite(dispersion)]
    if not known.size:
        return None
    middle = float(np.median(known))
    topic, text = "Overdispersion", f"The overdispersion of the median gene is {middle:.3g}"
    if middle > LARGE_OVERDISPERSION:
        advice = (
            "Samples that should be alike are not: look at the PCA for a batch, for mixed conditions or for "
            "outlying samples that the design leaves out."
        )
        return Finding(topic, Severity.NOTE, f"{text}, more than replicates usually have.", advice)
    if (known < 1e-4).mean() > 0.8:
        advice = (
            "Replicates of the same library, or simulated ones? Biological replicates differ more than that."
        )
        return Finding(
            topic, Severity.NOTE, "Most genes have no overdispersion: counts are as in a Poisson.", advice
        )
    return Finding(topic, Severity.FINE, f"{text}.")


_STATUS_TEXTS: Mapping[Status, tuple[str, float, float]] = {
    # status: what it is called, and the shares of the genes above which it is a note, and a warning
    Status.ALL_ZERO: ("without any count", 0.3, 1.0),
    Status.SEPARATED: ("with a group of samples without any count", 0.1, 1.0),
    Status.COEFFICIENTS_NOT_CONVERGED: ("whose coefficients did not converge", 0.0, 0.01),
    Status.DISPERSION_NOT_CONVERGED: ("whose dispersion did not converge", 0.0, 0.05),
    Status.REDUCED_NOT_CONVERGED: ("whose reduced fit did not converge", 0.0, 0.01),
    Status.OUTLIER_COUNT: ("with a count that is out of line", 0.0, 0.05),
    Status.NOT_ESTIMABLE: ("whose weights leave nothing to estimate", 0.1, 1.0),
    Status.UNREADABLE: ("whose chunks are damaged or gone", 0.0, 0.0),
}


def gene_statuses(status: np.ndarray) -> list[Finding]:
    """Genes (gene,) whose fit did not end as it should, one finding for each kind."""
    found = []
    for kind, (text, noted, warned) in _STATUS_TEXTS.items():
        number = int((status == kind).sum())
        if not number:
            continue
        share = number / len(status)
        severity = Severity(int(share > noted) + int(share > warned))
        words = f"{counted(number, 'gene')} {text} ({share:.1%})."
        found.append(Finding("Fits of genes", severity, words, ADVICE[kind] if severity else ""))
    if found:
        return found
    return [Finding("Fits of genes", Severity.FINE, f"The fits of all {len(status):,} genes converged.")]


def confounding(
    design: np.ndarray, weights: np.ndarray, terms: Mapping[str, Sequence[int]], name: str
) -> Finding | None:
    """Whether the other terms of the design leave little of a contrast, as batches that go with conditions.

    Parameters
    ----------
    design
        (sample, coefficient).
    weights
        (coefficient,) of the contrast.
    terms
        Columns of each term.
    name
        Label of the contrast.

    Returns
    -------
    Finding or None
        By how much the other terms increase the variance of the contrast, of least squares; None for interactions.
    """
    tested = [
        term for term, columns in terms.items() if np.any(weights[list(columns)]) and term != "Intercept"
    ]
    factors = {part for term in tested for part in term.split(":")}
    joint = [term for term in terms if ":" in term and factors & set(term.split(":"))]
    others = [term for term in terms if term not in tested and term != "Intercept"]
    if not tested or joint or not others:
        return None
    kept = sorted(column for term in tested for column in terms[term])
    alone = np.column_stack([np.ones(len(design)), design[:, kept]])
    inflation = _variance(design, weights) / _variance(alone, np.r_[0.0, weights[kept]])
    if not np.isfinite(inflation) or inflation < INFLATED:
        return Finding("Balance", Severity.FINE, f"{name}: the other terms of the design go well with it.")
    severity = Severity.WARNING if inflation >= MUCH_INFLATED else Severity.NOTE
    return Finding(
        "Balance",
        severity,
        f"{name}: {listing(others)} and what is tested go together, which makes the variance of its fold changes "
        f"{inflation:.2g} times as large.",
        "Little is left to tell them apart: few genes will be found, and an imperfect model of the one shows as an "
        "effect of the other. Only samples that have them in other combinations help.",
    )


def _variance(design: np.ndarray, weights: np.ndarray) -> float:
    """Variance of a contrast by least squares, of noise of variance 1."""
    return float(weights @ np.linalg.pinv(design.T @ design) @ weights)


def hits(padj: np.ndarray, fdr: float, name: str) -> Finding:
    """How many genes a contrast finds: adjusted p-values (gene,)."""
    tested = np.isfinite(padj)
    found = int((padj[tested] <= fdr).sum())
    n = int(tested.sum())
    if not n:
        return Finding(
            "Genes found",
            Severity.WARNING,
            f"{name}: no gene has a p-value.",
            "Look at the genes' status, and whether the contrast can be estimated from these samples.",
        )
    text = f"{name}: {found:,} of {n:,} tested genes at a false discovery rate of {fdr:.3g}."
    if not found:
        advice = (
            "No difference stands out from the noise: that there is none does not follow. Look at the largest "
            "fold changes with their intervals, and at the p-value histogram."
        )
        return Finding("Genes found", Severity.NOTE, text, advice)
    if found > MANY * n and n >= 100:
        advice = (
            "Size factors suppose that most genes do not change: compare with size_factors='invariant', and test "
            "against a threshold (lfc_threshold=) for changes that matter."
        )
        return Finding("Genes found", Severity.NOTE, text, advice)
    return Finding("Genes found", Severity.FINE, text)


def fold_change_shift(log2fc: np.ndarray, mean: np.ndarray, name: str) -> Finding | None:
    """Whether most genes go one way: log2 fold changes (gene,), of genes of some size; None for joint tests."""
    known = np.isfinite(log2fc) & (mean >= 10.0)
    if known.sum() < 100:
        return None
    shift = float(np.median(log2fc[known]))
    topic = "Centre of the fold changes"
    if abs(shift) < SHIFTED:
        return Finding(topic, Severity.FINE, f"{name}: the median log2 fold change is {shift:.3f}.")
    return Finding(
        topic,
        Severity.NOTE,
        f"{name}: the median log2 fold change of genes with a mean count of 10 or more is {shift:.2f}, not 0.",
        "Most genes seem to change one way, which size factors usually explain better: compare with "
        "size_factors='invariant'.",
    )


def misleading_factors(coef: np.ndarray, error: np.ndarray, pval: np.ndarray, name: str) -> Finding | None:
    """Whether size factors make genes significant that do not change: (gene,), natural log; None for joint tests."""
    if not np.isfinite(error).any():
        return None
    topic, found = "Size factors between groups", imbalance(coef, error, pval)
    if found is None:
        return Finding(topic, Severity.FINE, f"{name}: the size factors leave most genes where they are.")
    return Finding(
        topic,
        Severity.WARNING,
        f"{name}: the size factors shift most genes by {found.shift / np.log(2.0):+.3f} log2, so that of the "
        f"{found.found:,} genes at a false discovery rate of 5 % about {found.false:.0%} are false.",
        "Fit again with size_factors='invariant', which leaves genes that do not change unshifted.",
    )
