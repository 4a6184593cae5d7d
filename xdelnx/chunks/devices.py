"""Where blocks are computed: which devices the workers have, how large a block may be there, whose turn it is.

On a card one thread of a process computes at a time, so that a tile may take the memory that it
needs, while the process' other threads read and decode the blocks to come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

from xdelnx.algorithms.compressed import Block
from xdelnx.chunks import blocks
from xdelnx.chunks.schedulers import client_in_force
from xdelnx.kernels import devices
from xdelnx.kernels.backend import CPU
from xdelnx.kernels.devices import AUTO, DEVICES
from xdelnx.messages import fail, listing
from xdelnx.steps.blockwise import FitPlan

ENTRY_SHARE = 32  # bytes of a card's free memory for an entry of a block: itself, and what is made of it
HERE = ""  # the name of this process among those of workers
LARGEST_BLOCK = 2**29  # entries: 2 GB of 32-bit counts, of which every reading thread holds one


def resolve_device(device: str) -> str:
    """Name of the device that the workers compute on.

    ``auto`` is the card where all workers have one, the processor where none has, and stays ``auto``, for each
    block to be computed with what there is where it runs, if some have.

    Raises
    ------
    ValueError
        The device is unknown or not there.
    """
    if device not in DEVICES:
        fail(f"device={device!r} is not available; choose one of {', '.join(map(repr, DEVICES))}")
    if device == CPU.name:
        return device
    reasons = everywhere(devices.missing)
    without = {name: why for name, why in reasons.items() if why}
    if device == devices.NAME and without:
        _refuse(without)
    some = AUTO if len(without) < len(reasons) else CPU.name
    return some if without else devices.NAME


def _refuse(without: dict[str, str]) -> NoReturn:
    where = "here" if set(without) == {HERE} else f"on {listing(without, 3)}"
    fail(
        f"device={devices.NAME!r} is not there {where}: {next(iter(without.values()))}; or take device='cpu'"
    )


def everywhere(function: Callable[[], Any]) -> dict[str, Any]:
    """Call a function on every worker, or here where there are none: worker -> result."""
    client = client_in_force()
    return (client.run(function) if client is not None else {}) or {HERE: function()}


def block_entries(device: str) -> int:
    """Counts of a block at most: on cards by the free memory of the one that has least."""
    if device != devices.NAME:
        return blocks.BLOCK_ENTRIES
    return max(min(*everywhere(devices.free_memory).values(), LARGEST_BLOCK * ENTRY_SHARE) // ENTRY_SHARE, 1)


def at_nodes(device: str) -> bool:
    """Whether nodes along a covariate may stand for samples somewhere: not where all blocks are computed on cards."""
    return device != devices.NAME


def computed(step: Callable[..., Any], plan: FitPlan, block: Block, *arguments: Any, **options: Any) -> Any:
    """Take a step on a block in this thread's turn; where memory runs out, once more with smaller tiles.

    Raises
    ------
    MemoryError
        Tiles are as small as they can be.
    """
    backend = plan.backend
    block = replace(block, counts=backend.staged(block.counts))
    with backend.turn():
        while True:
            try:
                return step(plan, block, *arguments, **options)
            except backend.out_of_memory:
                pass  # what the attempt held is free outside of the handler only
            backend.shrink()
