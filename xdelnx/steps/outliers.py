"""Counts that a gene's fit hangs on too much: finding them, and putting in what the other samples say.

Love, Huber & Anders 2014, doi:10.1186/s13059-014-0550-8: Cook's distance above the 99 % quantile of F(p, n - p)
in a sample with at least 3 replicates; with at least 7, the count may be replaced.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import fdtri

from xdelnx.algorithms.basis import Layout
from xdelnx.algorithms.compressed import Block
from xdelnx.algorithms.glm import Model
from xdelnx.algorithms.influence import REPLICATES, cooks_distance, trimmed_mean
from xdelnx.algorithms.matrices import as_dense, as_matrix, is_sparse
from xdelnx.algorithms.tiles import dense_tiles
from xdelnx.errors import warn
from xdelnx.kernels.backend import CPU
from xdelnx.status import Status
from xdelnx.steps.blockwise import Arrays, FitPlan

REPLICATES_TO_REPLACE = 7
CUTOFF_QUANTILE = 0.99
TRIM = 0.2  # at either end, of the counts whose mean replaces one


def cutoff(layout: Layout) -> float:
    """Cook's distance above which a count is an outlier; infinite where the design leaves no degree of freedom."""
    n, p = layout.order.size, layout.design.shape[1]
    return float(fdtri(p, n - p, CUTOFF_QUANTILE)) if n > p else np.inf


def with_replicates(layout: Layout, least: int = REPLICATES) -> np.ndarray:
    """Which samples, in their own order, have that many replicates, themselves included: (sample,)."""
    out = np.empty(layout.order.size, dtype=bool)
    out[layout.order] = np.repeat(layout.sizes >= least, layout.sizes)
    return out


def warn_without_replicates(layout: Layout, cooks: str | None) -> None:
    """Warn where the design leaves nothing to flag, or nothing to replace."""
    if cooks is not None and not with_replicates(layout).any():
        warn(
            f"cooks={cooks!r} finds no outliers here: it compares a count with its replicates, and no {REPLICATES} "
            "samples share a row of the design"
        )
    elif cooks == "replace" and not with_replicates(layout, REPLICATES_TO_REPLACE).any():
        warn(
            f"cooks='replace' replaces no count here, outliers are flagged: no {REPLICATES_TO_REPLACE} samples share "
            "a row of the design"
        )


def cooks_step(plan: FitPlan, block: Block, theta: np.ndarray, beta: np.ndarray) -> Arrays:
    """Largest Cook's distance of each gene over samples with replicates, at a fit.

    Returns
    -------
    dict
        ``max_cooks`` (gene,), NaN for genes without a count and where no sample has replicates;
        ``outlier`` (gene,); where the plan asks for it ``replaced`` (gene, sample), which counts are to be.
    """
    limit, compared = cutoff(plan.layout), with_replicates(plan.layout)
    replaceable = with_replicates(plan.layout, REPLICATES_TO_REPLACE)
    largest = np.full(block.n_genes, np.nan)
    masks = np.zeros((block.n_genes, compared.size if plan.cooks == "mask" else 0), dtype=bool)
    for genes, distance in cooks_tiles(plan, block, theta, beta):
        if compared.any():
            largest[genes] = np.fmax.reduce(distance[:, compared], axis=1)
        if plan.cooks == "mask":
            masks[genes] = (distance > limit) & replaceable
    found = {"max_cooks": largest, "outlier": largest > limit}
    return found | ({"replaced": masks} if plan.cooks == "mask" else {})


def cooks_tiles(plan: FitPlan, block: Block, theta: np.ndarray, beta: np.ndarray) -> Any:
    """Positions of some genes with their Cook's distances (gene, sample), samples in their own order."""
    backend, model = plan.backend, Model(plan.backend, plan.basis, plan.penalty)
    design = backend.asarray(plan.layout.design)
    for tile in dense_tiles(backend, plan.layout, block):
        m = backend.xp.exp(backend.kernel("combine")(backend.asarray(beta[tile.genes]), design))
        distance = cooks_distance(model, tile.observations, m, backend.asarray(theta[tile.genes]))
        by_sample = np.empty(distance.shape)
        by_sample[:, plan.layout.order] = backend.to_numpy(distance)
        yield tile.genes, by_sample


def flagged(status: np.ndarray, outlier: np.ndarray) -> np.ndarray:
    """Status (gene,) with outliers flagged where nothing graver is known."""
    return np.where((status == Status.OK) & outlier, np.int8(Status.OUTLIER_COUNT), status).astype(np.int8)


def replace_counts(counts: Any, offset: np.ndarray | None, replaced: np.ndarray, scale: np.ndarray) -> Any:
    """Put the trimmed mean of all samples, on each one's scale, rounded down, where counts are to be replaced.

    Parameters
    ----------
    counts, offset
        (sample, gene) of a block, and the natural log of a further scale of each entry, or None.
    replaced
        (gene, sample).
    scale
        (sample,) size factor times the exponential of a per-sample offset.
    """
    genes = np.flatnonzero(replaced.any(axis=1))
    if genes.size == 0:
        return counts
    matrix = as_matrix(counts)
    columns = np.array(as_dense(matrix[:, genes]))
    entries = np.broadcast_to(scale[:, None], columns.shape)
    if offset is not None:
        entries = entries * np.exp(offset[:, genes])
    instead = np.floor(trimmed_mean(CPU.xp, (columns / entries).T, TRIM) * entries)
    columns = np.where(replaced[genes].T, instead, columns).astype(matrix.dtype)
    if not is_sparse(matrix):
        out = matrix.copy()
        out[:, genes] = columns
        return out
    return _with_columns(matrix, genes, columns)


def _with_columns(matrix: Any, genes: np.ndarray, columns: np.ndarray) -> Any:
    """Sparse matrix with other columns in these places."""
    from scipy.sparse import csc_array, hstack

    others = np.setdiff1d(np.arange(matrix.shape[1]), genes)
    place = np.empty(matrix.shape[1], dtype=np.int64)
    place[np.concatenate([others, genes])] = np.arange(place.size)
    return csc_array(hstack([matrix[:, others], csc_array(columns)], format="csc")[:, place])
