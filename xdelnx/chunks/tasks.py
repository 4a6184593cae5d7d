"""One call for each block of genes, as tasks: under names that say which genes, and through the journal, if any."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import dask
from dask.delayed import Delayed

from xdelnx.chunks import journal
from xdelnx.chunks.blocks import Blocks, as_it_is


def of_blocks(
    blocks: Blocks, name: str, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]
) -> list[Delayed]:
    """Calls of a function with the arguments of each block; what the journal has of them is not called again."""
    return [
        once(blocks, f"{name}-{genes.start}:{genes.stop}", function, *given)
        for genes, given in zip(blocks.bounds, arguments, strict=True)
    ]


def once(blocks: Blocks, name: str, function: Callable[..., Any], *arguments: Any) -> Delayed:
    """Call of a function, or what the journal has under that name."""
    key = f"{name}-{uuid4().hex}"
    if blocks.journal is None:
        return dask.delayed(function)(*arguments, dask_key_name=key)
    found = blocks.journal.kept(name)
    if found is not None:
        return as_it_is(found)
    path = str(blocks.journal.path(name))
    return dask.delayed(journal.computed)(path, function, *arguments, dask_key_name=key)
