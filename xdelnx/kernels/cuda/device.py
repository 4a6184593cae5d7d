"""The backend of a card: arrays of its namespace, its kernels launched by name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from threading import RLock
from types import SimpleNamespace
from typing import Any

import numpy as np

from xdelnx.kernels.backend import Backend
from xdelnx.kernels.cuda import flat
from xdelnx.kernels.cuda.catalogue import KERNELS, Kernel

Array = Any
Launch = Callable[[str, tuple[int, int, int], tuple[int, int, int], list[Any]], None]

# Bytes on the card, of a tile's arrays and of what an evaluation makes of them.
ENTRY_BYTES = 160  # of an entry, where every sample is a kind of its own
NONZERO_BYTES = 96  # of a non-zero count
LARGEST_TILE = 2**25  # entries: more do not make a card any busier
SMALLEST_BUDGET = 2**24  # bytes, below which memory does not run out for the size of a tile
WARP, LARGEST_TEAM, BLOCK = 32, 256, 128  # threads
OWN_THREADS = 2**15  # at most so many, where each has arrays of its own
A_THREADS_SAMPLES = 4  # about so many a thread, before the threads add up


class DeviceBackend(Backend):
    """A namespace and a way to launch kernels, with the memory that they may take.

    Parameters
    ----------
    xp
        The namespace.
    name
        Of the device, for the result.
    launch
        Called with a kernel's name, blocks, threads of a block, and arguments: arrays, and numbers of NumPy's types.
    budget
        Bytes that the arrays of a tile may take.
    out_of_memory
        What is raised where memory runs out.
    """

    at_nodes = False
    keeps = False  # no array of a device leaves its task

    def __init__(
        self,
        xp: Any,
        name: str,
        launch: Launch,
        budget: int,
        out_of_memory: tuple[type[BaseException], ...] = (),
    ) -> None:
        super().__init__(xp, name)
        self._launch = launch
        self.budget = budget
        self.out_of_memory = out_of_memory
        self._lock = RLock()

    @property
    def tile(self) -> int:  # type: ignore[override]
        """Entries of a tile."""
        return min(self.budget // ENTRY_BYTES, LARGEST_TILE)

    @property
    def nonzero_tile(self) -> int:  # type: ignore[override]
        """Non-zero counts of a tile."""
        return min(self.budget // NONZERO_BYTES, LARGEST_TILE)

    def turn(self) -> AbstractContextManager[Any]:
        """One thread of a process computes at a time; the others read ahead."""
        return self._lock

    def shrink(self) -> None:
        """Take tiles of half the size from now on, since memory ran out.

        Raises
        ------
        MemoryError
            They are as small as they can be.
        """
        if self.budget < 2 * SMALLEST_BUDGET:
            msg = (
                f"the {self.name}'s memory is too small for a block of these counts: take smaller chunks of genes "
                "(counts.chunk(gene=...)), free memory that other programs hold, or device='cpu'"
            )
            raise MemoryError(msg)
        self.budget //= 2

    def kernel(self, name: str) -> Callable[..., Any]:
        """Return the kernel of that name for arrays of this backend; those on the host are moved."""
        if name in KERNELS:
            return partial(self._run, name, KERNELS[name])
        return partial(getattr(flat, name), self)

    def _run(self, name: str, kernel: Kernel, *arguments: Any) -> Any:
        types, inputs = kernel.all_types, kernel.inputs
        given = {
            argument: self._argument(value, types[argument])
            for argument, value in zip(inputs, arguments, strict=True)
        }
        sizes = SimpleNamespace(**given)
        results = {
            result: self.xp.empty(tuple(map(int, shape(sizes))), dtype=self.xp.float64)
            for result, shape in kernel.results.items()
        }
        genes = int(kernel.genes(sizes))
        if genes:
            blocks, threads = shape_of_launch(kernel, sizes, genes)
            own = [
                self.xp.zeros((blocks[0] * threads[0] * int(np.prod(shape(sizes))),), dtype=self.xp.float64)
                for shape in kernel.own.values()
            ]
            own_shapes = [tuple(map(int, shape(sizes))) for shape in kernel.own.values()]
            flat_arguments = [
                part for value in (*given.values(), *results.values()) for part in _parts(value)
            ]
            flat_arguments += [
                part
                for array, shape in zip(own, own_shapes, strict=True)
                for part in (array, *map(np.int64, shape))
            ]
            self._launch(name, blocks, threads, flat_arguments)
        found = tuple(results.values())
        return found if len(found) > 1 else found[0]

    def _argument(self, value: Any, kind: str) -> Any:
        if kind == "i0":
            return np.int64(value)
        return self.xp.ascontiguousarray(self.asarray(value) if kind[0] == "d" else self.indices(value))


def _parts(value: Any) -> tuple[Any, ...]:
    """A number, or an array with the lengths of its axes."""
    return (value,) if isinstance(value, np.int64) else (value, *map(np.int64, value.shape))


def shape_of_launch(
    kernel: Kernel, sizes: SimpleNamespace, genes: int
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Blocks, and threads of a block, for so many genes.

    A team of threads takes a gene, or a thread does. As many threads of a team share a kind's samples as
    have a few each; teams that fit into a warp share a block.
    """
    if kernel.team is None:
        threads = min(genes, OWN_THREADS)
        return (-(-threads // BLOCK), 1, 1), (BLOCK, 1, 1)
    samples, kinds = kernel.team(sizes)
    x = min(_power_of_two(samples / A_THREADS_SAMPLES), LARGEST_TEAM)
    y = 1 if x > WARP else min(_power_of_two(kinds), LARGEST_TEAM // x)
    z = max(BLOCK // (x * y), 1) if x * y <= WARP else 1
    return (-(-genes // z), 1, 1), (x, y, z)


def _power_of_two(least: float) -> int:
    """Return the smallest that is at least so much, and 1 for what is less."""
    return 1 << max(int(np.ceil(np.log2(max(least, 1.0)))), 0)
