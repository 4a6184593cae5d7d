"""One call for each block of genes, as tasks: under names that say which genes, and through the journal, if any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import uuid4

import dask
from dask.delayed import Delayed

from xdelnx.chunks import journal
from xdelnx.chunks.blocks import Blocks, as_it_is
from xdelnx.chunks.watching import JOINING

JOINED_AT_ONCE = 8  # parts that may be numbers by sample


def of_blocks(
    blocks: Blocks, name: str, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]
) -> list[Delayed]:
    """Calls of a function with the arguments of each block; what the journal has of them is not called again."""
    return of_parts(blocks, name, blocks.bounds, function, arguments)


def of_parts(
    blocks: Blocks,
    name: str,
    parts: Sequence[slice],
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
) -> list[Delayed]:
    """The same for other parts of the genes."""
    return [
        once(blocks, f"{name}-{genes.start}:{genes.stop}", function, *given)
        for genes, given in zip(parts, arguments, strict=True)
    ]


def joined(parts: Sequence[Delayed], function: Callable[[list[Any]], Any]) -> Delayed:
    """What a function makes of all parts, a few at a time as they come: they need not all wait for the last.

    The function takes a list of parts, and what it made of others counts as a part.
    """
    parts = list(parts)
    while len(parts) > JOINED_AT_ONCE:
        few = [parts[i : i + JOINED_AT_ONCE] for i in range(0, len(parts), JOINED_AT_ONCE)]
        parts = [joining(function, some) for some in few]
    return joining(function, parts)


def joining(function: Callable[..., Any], *arguments: Any) -> Delayed:
    """Call of a function that works on what is joined: progress counts what is below it."""
    return dask.delayed(function)(*arguments, dask_key_name=f"{JOINING}{uuid4().hex}")


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
