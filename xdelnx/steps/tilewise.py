"""A step over the tiles of a block, and over the genes again that the nodes of a covariate do not follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xdelnx.algorithms.compressed import Block
from xdelnx.algorithms.tiles import Tile, dense_tiles, tiles

Arrays = dict[str, np.ndarray]
Parts = list[tuple[np.ndarray, Arrays]]  # positions in the block, and arrays by gene

FOLLOWED = "followed"  # (gene,) among a function's arrays: whether they are of what the counts say


def by_tile(plan: Any, block: Block, function: Callable[[Any, Tile], Arrays]) -> Parts:
    """Arrays by gene that a function makes of each tile, under the plan that the tile's kinds need.

    Genes that are not `FOLLOWED` at the nodes of a covariate are done once more, from every sample.
    """
    nodes = block.nodes if plan.by_nodes else None
    at_nodes = plan if nodes is None else plan.at(nodes)
    parts: Parts = []
    others = [np.zeros(0, dtype=np.int64)]
    for tile in tiles(plan.backend, plan.layout, block, nodes):
        found = function(plan if tile.nodes is None else at_nodes, tile)
        followed = found.pop(FOLLOWED)
        parts.append((tile.genes[followed], {name: values[followed] for name, values in found.items()}))
        others.append(tile.genes[~followed])
    again = np.sort(np.concatenate(others))
    for dense in dense_tiles(plan.backend, plan.layout, block, again):
        found = function(plan, dense)
        del found[FOLLOWED]
        parts.append((dense.genes, found))
    return parts


def scatter(parts: Parts, n_genes: int) -> Arrays:
    """Put the tiles' results in the block's order; genes without a count get NaN, 0 or False."""
    result: Arrays = {}
    for genes, arrays in parts:
        for name, values in arrays.items():
            if name not in result:
                fill = np.nan if values.dtype.kind == "f" else 0
                result[name] = np.full((n_genes, *values.shape[1:]), fill, dtype=values.dtype)
            result[name][genes] = values
    return result
