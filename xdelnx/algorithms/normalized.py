"""Normalised values of a block of counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from xdelnx.algorithms.matrices import as_dense, as_matrix


def log_cpm(counts: Any, *, library: np.ndarray, prior_count: float) -> np.ndarray:
    """log2 counts per million (sample, gene) of effective library sizes (sample,), with a prior count.

    The prior is in proportion to the library, and twice it is added to the library, so that samples without a
    count of a gene have the same value where their libraries are equal.
    """
    prior = prior_count * library / np.mean(library)
    shares = (as_dense(as_matrix(counts)) + prior[:, None]) / (library + 2.0 * prior)[:, None]
    with np.errstate(divide="ignore"):  # without a prior a count of zero is minus infinity
        return np.log2(shares * 1e6)


def acosh_transform(counts: Any, overdispersion: np.ndarray, *, factors: np.ndarray) -> np.ndarray:
    """``acosh(2 theta y / s + 1) / sqrt(theta)`` (sample, gene); its limit ``2 sqrt(y / s)`` at theta = 0."""
    scaled = as_dense(as_matrix(counts)) / factors[:, None]
    root = np.sqrt(overdispersion)
    # asinh(sqrt(x)) = acosh(2 x + 1) / 2, which keeps its digits where x is small
    inner = np.arcsinh(root * np.sqrt(scaled)) / np.where(root > 0.0, root, 1.0)
    return 2.0 * np.where(root > 0.0, inner, np.sqrt(scaled))


def relative_lengths(lengths: np.ndarray) -> np.ndarray:
    """Lengths (sample, gene) divided by each gene's geometric mean over the samples."""
    return lengths / np.exp(np.mean(np.log(lengths), axis=0))
