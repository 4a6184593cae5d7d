"""Samples as points of few dimensions: principal components, and scaling of leading fold changes."""

from __future__ import annotations

import numpy as np


def principal_components(values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the samples on the first principal components, and the share of the variance of each.

    Parameters
    ----------
    values
        (sample, gene).
    n
        Number of components; missing ones are 0.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        (sample, n) and (n,). A component's largest gene weight is positive, which settles its sign.
    """
    centred = values - values.mean(axis=0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    largest = np.take_along_axis(right, np.abs(right).argmax(axis=1)[:, None], axis=1)[:, 0]
    scores = left * sizes * np.where(largest < 0.0, -1.0, 1.0)
    total = np.square(sizes).sum()
    shares = np.square(sizes) / total if total > 0.0 else np.zeros_like(sizes)
    return _widened(scores, n), _widened(shares[None], n)[0]


def leading_distances(values: np.ndarray, n_top: int) -> np.ndarray:
    """Distances (sample, sample): root mean square of the largest differences of each pair of samples.

    Those of log2 values are "leading fold changes" (Ritchie et al. 2015, doi:10.1093/nar/gkv007).

    Parameters
    ----------
    values
        (sample, gene).
    n_top
        Genes that count for a pair: the n with the largest differences.
    """
    n_samples, n_genes = values.shape
    first = max(n_genes - n_top, 0)
    distances = np.zeros((n_samples, n_samples))
    for i in range(n_samples):
        squares = np.square(values[i + 1 :] - values[i])
        top = np.partition(squares, first, axis=1)[:, first:] if first else squares
        distances[i, i + 1 :] = distances[i + 1 :, i] = np.sqrt(top.mean(axis=1))
    return distances


def classical_scaling(distances: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points whose distances are about those given (Torgerson 1952, doi:10.1007/BF02288916).

    Parameters
    ----------
    distances
        (sample, sample).
    n
        Number of dimensions.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        (sample, n) and the share (n,) of the positive eigenvalues. The largest coordinate of a dimension is
        positive, which settles its sign.
    """
    squares = np.square(distances)
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
    values, vectors = np.linalg.eigh(-0.5 * centred)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)[0]
    points = vectors * np.sqrt(values) * np.where(largest < 0.0, -1.0, 1.0)
    total = values.sum()
    shares = values / total if total > 0.0 else values
    return _widened(points, n), _widened(shares[None], n)[0]


def _widened(columns: np.ndarray, n: int) -> np.ndarray:
    """Take the first n columns, those that are missing being 0."""
    return np.pad(columns[:, :n], ((0, 0), (0, max(n - columns.shape[1], 0))))
