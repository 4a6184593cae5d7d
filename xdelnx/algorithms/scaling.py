"""Size factors of samples: library totals, median ratios, and trimmed means of M-values.

Functions of arrays; `xdelnx.chunks.blocks` brings the counts by gene or by sample as each needs them.
Sources: Anders & Huber 2010 (ratio), Robinson & Oshlack 2010 (TMM).
"""

from __future__ import annotations

import numpy as np

from xdelnx.errors import warn
from xdelnx.messages import fail, listing

METHODS = ("normed_sum", "ratio", "poscounts", "tmm")
UNUSABLE = 0.001  # the factor of a sample that has none

LOG_RATIO_TRIM = 0.3  # of the M-values, each side
SUM_TRIM = 0.05  # of the A-values, each side


def scale_to_unit_geometric_mean(raw: np.ndarray) -> np.ndarray:
    """Scale factors (sample,) to geometric mean 1; samples without a usable one get `UNUSABLE`."""
    usable = np.isfinite(raw) & (raw > 0.0)
    if not usable.any():
        fail("no sample has a usable size factor: is every count zero?")
    factors = np.full(raw.shape, UNUSABLE)
    factors[usable] = raw[usable] / np.exp(np.mean(np.log(raw[usable])))
    return factors


def with_warning(factors: np.ndarray, totals: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Warn of samples without a count (totals zero), and of those with counts but no usable factor."""
    for marked, what in (
        (totals == 0.0, "not a single count; consider removing them"),
        ((factors == UNUSABLE) & (totals > 0.0), "no usable size factor by this method; choose another"),
    ):
        if marked.any():
            warn(
                f"{marked.sum()} of {factors.size} samples have {what} (a computed factor is {UNUSABLE} for them): "
                f"{listing(samples[marked], limit=5)}"
            )
    return factors


def log_ratios(counts: np.ndarray, method: str) -> np.ndarray:
    """Log ratio of each count to its gene's geometric mean (sample, gene); NaN where it takes no part.

    ``ratio`` uses the genes without a zero; ``poscounts`` the positive counts of every gene,
    against the mean of log(count + 0.5).
    """
    # Gene after gene: the order of NumPy's sums depends on the layout, and in C's on the genes beside.
    y = np.asarray(counts, dtype=np.float64, order="F")
    logs = np.log(y, out=np.full(y.shape, np.nan, order="F"), where=y > 0)
    if method == "ratio":
        return logs - np.mean(logs, axis=0)
    return logs - np.mean(np.log(y + 0.5), axis=0)


def median_factors(ratios: np.ndarray) -> np.ndarray:
    """Exponential of each sample's median over the genes that take part: (sample,), NaN without any."""
    some = np.isfinite(ratios).any(axis=1)
    factors = np.full(ratios.shape[0], np.nan)
    if some.any():
        factors[some] = np.exp(np.nanmedian(ratios[some], axis=1))
    return factors


def upper_quartiles(counts: np.ndarray, expressed: np.ndarray) -> np.ndarray:
    """Upper quartile of each sample's counts over the expressed genes, as a share of its total: (sample,)."""
    y = np.asarray(counts[:, expressed], dtype=np.float64)
    total = y.sum(axis=1)
    return np.quantile(y, 0.75, axis=1) / np.where(total > 0.0, total, np.nan)


def root_sums(counts: np.ndarray) -> np.ndarray:
    """Sum of the square roots of each sample's counts: (sample,)."""
    return np.sqrt(np.asarray(counts, dtype=np.float64)).sum(axis=1)


def tmm_reference(quartiles: np.ndarray, roots: np.ndarray) -> int:
    """Return the sample whose upper quartile (sample,) is closest to the mean of all.

    Where half of the quartiles are zero and say nothing, the sample with the largest sum of roots.
    """
    if np.nanmedian(quartiles) == 0.0:
        return int(np.argmax(roots))
    return int(np.nanargmin(np.abs(quartiles - np.nanmean(quartiles))))


def tmm_factors(counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Trimmed mean of M-values of each sample against the reference (gene,), times its total: (sample,)."""
    samples = (np.asarray(sample, dtype=np.float64) for sample in counts)
    return np.array([_tmm(sample, reference) * sample.sum() for sample in samples])


def _tmm(y: np.ndarray, reference: np.ndarray) -> float:
    """Trimmed mean of M-values, weighted by inverse asymptotic variance (Robinson & Oshlack 2010)."""
    total, reference_total = y.sum(), reference.sum()
    both = (y > 0.0) & (reference > 0.0)
    if not both.any():
        return 1.0 if total > 0.0 else np.nan
    share, reference_share = y[both] / total, reference[both] / reference_total
    m, a = np.log2(share / reference_share), 0.5 * np.log2(share * reference_share)
    if np.abs(m).max() < 1e-6:
        return 1.0
    variance = (1.0 - share) / y[both] + (1.0 - reference_share) / reference[both]
    kept = _within(m, LOG_RATIO_TRIM) & _within(a, SUM_TRIM)
    if not kept.any():
        return 1.0
    return float(2.0 ** (np.sum(m[kept] / variance[kept]) / np.sum(1.0 / variance[kept])))


def _within(x: np.ndarray, trim: float) -> np.ndarray:
    """Whether each value's rank (ties share theirs) lies inside the trimmed range."""
    _, group, size = np.unique(x, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - 0.5 * (size - 1.0))[group]
    low = np.floor(x.size * trim) + 1.0
    return (rank >= low) & (rank <= x.size + 1.0 - low)
