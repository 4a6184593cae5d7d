"""Passes over the counts as a Dask graph that fit nothing: sums by group, ranks, and which genes have counts enough."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np

from xdelnx.algorithms.expression import enough
from xdelnx.algorithms.grouping import sum_by_group, sum_type
from xdelnx.algorithms.ranks import Comparison, rank_block
from xdelnx.chunks.blocks import Blocks, as_it_is


def group_sums(counts: Any, codes: np.ndarray, n_groups: int) -> Any:
    """Sum counts (cell, gene) over the cells of each group: (group, gene).

    Of a Dask array of any chunking a Dask array with the same chunks of genes, from one read of each
    chunk; of any other array a NumPy array, at once.
    """
    if not isinstance(counts, da.Array):
        return sum_by_group(counts, codes, n_groups)
    dtype = sum_type(counts.dtype)
    membership = da.from_array(codes[:, None], chunks=(counts.chunks[0], 1), name=False)
    parts = da.map_blocks(
        _block_sums,
        counts,
        membership,
        n_groups=n_groups,
        chunks=((n_groups,) * counts.numblocks[0], counts.chunks[1]),
        dtype=dtype,
        meta=np.empty((0, 0), dtype=dtype),
    )
    if parts.numblocks[0] == 1:
        return parts
    return da.stack([parts.blocks[i] for i in range(parts.numblocks[0])]).sum(axis=0)


def _block_sums(counts: Any, membership: np.ndarray, n_groups: int) -> np.ndarray:
    return sum_by_group(counts, membership[:, 0], n_groups)


def genes_with_enough(blocks: Blocks, least: np.ndarray, needed: float, total: float) -> Any:
    """Whether each gene passes `enough`: (gene,) when computed, from one read of each block."""
    shared = as_it_is(least)
    parts = [dask.delayed(enough)(counts, shared, needed, total) for counts, _ in blocks.read()]
    return dask.delayed(np.concatenate)(parts)


def compared_ranks(blocks: Blocks, factors: Any, comparison: Comparison) -> Any:
    """Join `xdelnx.algorithms.ranks.rank_block` of all blocks when computed, from one read of each."""
    shared = as_it_is(factors), as_it_is(comparison)
    parts = [dask.delayed(rank_block)(counts, *shared) for counts, _ in blocks.read(after=factors)]
    return dask.delayed(_joined_along_genes)(parts)


def _joined_along_genes(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
