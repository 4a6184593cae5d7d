"""Passes over the counts for size factors, as a Dask graph."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
from dask.delayed import Delayed

from xdelnx.algorithms.scaling import (
    log_ratios,
    median_factors,
    root_sums,
    scale_to_unit_geometric_mean,
    tmm_factors,
    tmm_reference,
    upper_quartiles,
    with_warning,
)
from xdelnx.algorithms.survey import Survey
from xdelnx.chunks import tasks
from xdelnx.chunks.blocks import BLOCK_ENTRIES, Blocks, dense
from xdelnx.messages import fail


def size_factors(blocks: Blocks, seen: Survey | Delayed, method: str) -> Delayed | np.ndarray:
    """Size factors (sample,) by a method, scaled to geometric mean 1; not lazily where totals are there."""
    if method == "normed_sum" and isinstance(seen, Survey):
        return scale_to_unit_geometric_mean(seen.totals)
    if method == "normed_sum":
        raw = dask.delayed(library_size)(seen)
    elif method == "tmm":
        raw = _tmm(blocks.counts, seen)
    else:
        raw = _median(blocks.counts, method)
    return tasks.once(blocks, "factors", scale_to_unit_geometric_mean, raw)


def factors_with_warning(factors: np.ndarray, seen: Survey, samples: np.ndarray) -> np.ndarray:
    """Warn of samples without a usable size factor."""
    return with_warning(factors, seen.totals, samples)


def library_size(seen: Survey) -> np.ndarray:
    """Sum of the counts of each sample: (sample,)."""
    return seen.totals


def _by_sample(array: da.Array) -> da.Array:
    """All genes of some samples in one chunk."""
    return array.rechunk((max(BLOCK_ENTRIES // array.shape[1], 1), -1), method="tasks")


def _median(counts: da.Array, method: str) -> Delayed:
    ratios = da.map_blocks(log_ratios, dense(counts), method=method, dtype=np.float64, meta=np.empty((0, 0)))
    parts = _by_sample(ratios).to_delayed().ravel()
    return dask.delayed(_usable_medians)([dask.delayed(median_factors)(part) for part in parts], method)


def _usable_medians(parts: list[np.ndarray], method: str) -> np.ndarray:
    factors = np.concatenate(parts)
    if np.isnan(factors).all():
        fail(
            f"size_factors={method!r} has no gene to work with (no gene has a count in every sample); "
            "use 'poscounts', 'normed_sum' or 'tmm'"
        )
    return factors


def _tmm(counts: da.Array, seen: Survey | Delayed) -> Delayed:
    parts = list(_by_sample(dense(counts)).to_delayed().ravel())
    quartiles = [dask.delayed(_quartiles)(part, seen) for part in parts]
    roots = [dask.delayed(root_sums)(part) for part in parts]
    at = dask.delayed(_tmm_reference)(quartiles, roots)
    reference = dask.delayed(_pick_sample)(parts, at)
    return dask.delayed(np.concatenate)([dask.delayed(tmm_factors)(part, reference) for part in parts])


def _quartiles(counts: np.ndarray, seen: Survey) -> np.ndarray:
    return upper_quartiles(counts, seen.expressed)


def _tmm_reference(quartiles: list[np.ndarray], roots: list[np.ndarray]) -> int:
    return tmm_reference(np.concatenate(quartiles), np.concatenate(roots))


def _pick_sample(parts: list[np.ndarray], at: int) -> np.ndarray:
    for part in parts:
        if at < part.shape[0]:
            return np.asarray(part[at], dtype=np.float64)
        at -= part.shape[0]
    raise IndexError(at)
