"""What the histogram of the p-values of a contrast looks like, and what that says about the model."""

from __future__ import annotations

import numpy as np

from xdelnx.reporting.diagnostics import Finding, Severity

TOPIC = "Histogram of p-values"
FEWEST = 200  # p-values below which a histogram says nothing
SURE = 4.0  # standard errors between two parts of the histogram
APART = 1.25  # and their ratio, at least
TIED = 0.05  # of the p-values that are one and the same number


def pvalue_shape(pval: np.ndarray, name: str) -> Finding:
    """Describe the histogram of the p-values (gene,) of a contrast.

    After the common ways to read one (Robinson 2014; Breheny et al. 2018, doi:10.3390/ht7030023): flat with a
    peak at 0 is a sound model; a slope towards 1, a hill, peaks at both ends and spikes are not.
    """
    pval = pval[np.isfinite(pval)]
    if pval.size < FEWEST:
        return Finding(TOPIC, Severity.FINE, f"{name}: {pval.size} p-values are too few to read a histogram.")
    for shape in (_spikes, _two_peaks, _rising, _hill, _peak):
        found = shape(pval, name)
        if found is not None:
            return found
    return Finding(TOPIC, Severity.FINE, f"{name}: flat, as where no gene or hardly any changes.")


def _higher(pval: np.ndarray, one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether p-values are denser in one interval than in the other, surely and by some margin."""
    a, b = (int(((pval > low) & (pval <= high)).sum()) for low, high in (one, other))
    widths = (one[1] - one[0]) / (other[1] - other[0])
    difference, error = a - widths * b, np.sqrt(a + widths**2 * b)
    return difference > SURE * error and a > APART * widths * b


def _spikes(pval: np.ndarray, name: str) -> Finding | None:
    values, counts = np.unique(np.round(pval[pval > 1e-12], 9), return_counts=True)
    tied = counts.max(initial=0) / pval.size
    bins = np.histogram(pval, 50, (0.0, 1.0))[0].astype(float)
    beside = (bins[1:-3] + bins[3:-1]) / 2  # of the bins 2 to 47
    inner = bins[2:-2]
    high = (inner - beside > 1.5 * SURE * np.sqrt(inner + beside + 1)) & (inner > 2 * beside)
    if tied <= TIED and not high.any():
        return None
    where = values[counts.argmax()] if tied > TIED else (2 + int(np.flatnonzero(high)[0]) + 0.5) / 50
    return Finding(
        TOPIC,
        Severity.NOTE,
        f"{name}: spikes, the largest at {where:.2g}, as of genes with a handful of counts, whose p-values are few "
        "numbers.",
        "Leave out genes of very small counts (filter_by_expression), or adjust with independent filtering: they "
        "cannot be found and cost the others.",
    )


def _two_peaks(pval: np.ndarray, name: str) -> Finding | None:
    if not (_higher(pval, (0.95, 1.0), (0.4, 0.8)) and _higher(pval, (-1e-9, 0.05), (0.2, 0.6))):
        return None
    return Finding(
        TOPIC,
        Severity.WARNING,
        f"{name}: peaks at 0 and at 1.",
        "The peak at 1 is of tests that cannot reject, mostly of small counts or one-sided thresholds: filter genes "
        "(filter_by_expression); false discovery rates are on the safe side.",
    )


def _rising(pval: np.ndarray, name: str) -> Finding | None:
    if not (_higher(pval, (0.7, 1.0), (0.35, 0.65)) and _higher(pval, (0.35, 0.65), (0.05, 0.35))):
        return _only_at_one(pval, name)
    return Finding(
        TOPIC,
        Severity.WARNING,
        f"{name}: rising towards 1, the test is too timid (conservative).",
        "The variance is estimated too large: a batch or another cause of differences is missing from the design, or "
        "a few outlying samples; look at the PCA.",
    )


def _only_at_one(pval: np.ndarray, name: str) -> Finding | None:
    if not _higher(pval, (0.9, 1.0), (0.3, 0.8)) or _higher(pval, (-1e-9, 0.05), (0.2, 0.6)):
        return None
    return Finding(
        TOPIC,
        Severity.NOTE,
        f"{name}: a peak at 1 and none at 0.",
        "Tests that cannot reject, as of genes of small counts or with a threshold of the fold change: filter genes "
        "(filter_by_expression).",
    )


def _hill(pval: np.ndarray, name: str) -> Finding | None:
    if not (_higher(pval, (0.3, 0.6), (0.8, 1.0)) and _higher(pval, (0.3, 0.6), (0.03, 0.2))):
        return None
    return Finding(
        TOPIC,
        Severity.WARNING,
        f"{name}: a hill in the middle, which no sound test has.",
        "The variance or the null hypothesis is wrong for many genes: look for a missing batch, samples that depend "
        "on each other, or size factors that do not fit.",
    )


def _peak(pval: np.ndarray, name: str) -> Finding | None:
    if not _higher(pval, (-1e-9, 0.05), (0.5, 1.0)):
        return None
    return Finding(TOPIC, Severity.FINE, f"{name}: a peak near 0 over a flat part, as it should be.")
