"""Clusters of samples, such as the cells of each donor: which they are, and whether they can answer a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.designs.contrasts import Contrast
from xdelnx.designs.design import Design
from xdelnx.messages import counted, fail, listing
from xdelnx.verbs.aggregation import group_samples
from xdelnx.verbs.inputs import Counts

FEWEST = 3  # clusters: two have no scatter that is not taken by two conditions
ALONE = 1e-8  # share of a contrast's length along what a single cluster determines


def clusters_of(
    table: Counts,
    cluster: Any,
    model: Design,
    questions: Sequence[Contrast],
    *,
    ridge: Any = 0.0,
    cooks: str | None = None,
) -> np.ndarray | None:
    """Cluster (sample,) of each sample, from 0; None if there are to be none.

    Raises
    ------
    ValueError, TypeError
        No such column, missing values in it, too few clusters, or a contrast for which a single cluster
        stands: its variance between clusters cannot be known.
    """
    if cluster is None:
        return None
    if np.any(ridge):
        fail(
            "cluster= needs coefficients without a penalty, at which scores add up to 0; leave out ridge or cluster"
        )
    if cooks:
        fail(
            "cooks= looks for outliers among independent samples, which those of a cluster are not; leave out one"
        )
    groups = group_samples(table, cluster, "cluster")
    if len(groups.names) < FEWEST:
        fail(
            f"cluster={cluster!r} has {counted(len(groups.names), 'cluster')} ({listing(groups.names)}); a variance "
            f"between clusters needs at least {FEWEST}, and some ten of them to be reliable"
        )
    if len(groups.names) == len(table.samples):
        fail(
            f"cluster={cluster!r} has a cluster for every sample, so that none shares anything; leave it out, and the "
            "dispersion says how much samples differ"
        )
    _check_replicated(cluster, groups.codes, groups.names, model, questions)
    return groups.codes


def _check_replicated(
    cluster: Any, codes: np.ndarray, names: np.ndarray, model: Design, questions: Sequence[Contrast]
) -> None:
    """Raise ValueError if a contrast cannot be estimated without one of the clusters."""
    scale = np.linalg.norm(model.matrix, axis=0)
    basis, triangle = np.linalg.qr(model.matrix / scale)
    weights = [np.linalg.solve(triangle.T, (question.weights / scale).T) for question in questions]
    for code, name in enumerate(names):
        own = basis[codes == code]
        shares, directions = np.linalg.eigh(own.T @ own)
        alone = directions[:, shares > 1.0 - ALONE]
        for question, columns in zip(questions, weights, strict=True):
            if np.linalg.norm(alone.T @ columns) > np.sqrt(ALONE) * np.linalg.norm(columns):
                fail(
                    f"{question.name!r} rests on the {cluster} {str(name)!r} alone, so that nothing tells its "
                    f"effect from what that {cluster} is like; each level that is compared needs at least two clusters"
                )


def commented(dataset: xr.Dataset, cluster: Any) -> xr.Dataset:
    """Say which variables of a result are robust to clusters, if any are."""
    if cluster is None:
        return dataset
    within = cluster if isinstance(cluster, str) else listing(cluster)
    error = f"robust to what the samples of a {within} share (CR2 sandwich), and to no dispersion scaled"
    comments = dict.fromkeys(("standard_error", "lfc_se", "ci_low", "ci_high"), error)
    comments["stat"] = f"Wald statistic as an F, its variance {error}"
    comments["df2"] = f"of the variance between clusters ({within}), by Satterthwaite's rule or Hotelling's"
    for name, comment in comments.items():
        if name in dataset:
            dataset[name].attrs["comment"] = comment
    return dataset
