"""The transpose out of core: pieces of counts, sorted by gene, wait in one file until all have come."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from xdelnx.storage.pieces import Piece


@dataclass(frozen=True)
class _Place:
    """Where an array lies in the file."""

    start: int
    dtype: np.dtype

    def read(self, file: int, first: int, last: int) -> np.ndarray:
        size = self.dtype.itemsize
        found = np.empty(last - first, dtype=self.dtype)
        view = found.view(np.uint8).data
        got = 0
        while got < len(view):  # the system reads at most 2 GB at a time
            step = os.preadv(file, [view[got:]], self.start + first * size + got)
            if step == 0:
                msg = "a temporary file of the conversion was cut short by something else"
                raise OSError(msg)
            got += step
        return found


@dataclass(frozen=True)
class _Slab:
    """One piece in the file, as CSC."""

    first: int
    last: int
    indptr: _Place
    indices: _Place
    data: _Place


@dataclass
class Spill:
    """Pieces of counts in a file beside the output, of which any run of genes can be read.

    Its size is that of the non-zero counts: 4 bytes (their sample) and 1, 2, 4 or 8 (the count) each.
    """

    path: Path
    n_samples: int
    slabs: list[_Slab] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """Append a piece."""
        columns = piece.columns
        if columns.nnz == 0:
            return
        with self.path.open("ab") as file:
            places = [
                _append(file, array)
                for array in (columns.indptr.astype(np.int64), columns.indices, columns.data)
            ]
        self.slabs.append(_Slab(piece.first, piece.first + columns.shape[1], *places))

    def block(self, first: int, last: int, dtype: np.dtype) -> np.ndarray:
        """Give a run of genes as a dense array (sample, gene); parts of one count are added up."""
        block = np.zeros((self.n_samples, last - first), dtype=dtype)
        if self.slabs:
            file = os.open(self.path, os.O_RDONLY)
            try:
                for slab in self.slabs:
                    _scatter(slab, file, first, last, block)
            finally:
                os.close(file)
        return block


def _append(file: BinaryIO, array: np.ndarray) -> _Place:
    place = _Place(file.tell(), array.dtype)
    file.write(np.ascontiguousarray(array).view(np.uint8).data)
    return place


def _scatter(slab: _Slab, file: int, first: int, last: int, block: np.ndarray) -> None:
    """Add what a slab has of a run of genes to their block."""
    low, high = max(first, slab.first), min(last, slab.last)
    if low >= high:
        return
    indptr = slab.indptr.read(file, low - slab.first, high - slab.first + 1)
    samples = slab.indices.read(file, indptr[0], indptr[-1])
    counts = slab.data.read(file, indptr[0], indptr[-1])
    genes = np.repeat(np.arange(low - first, high - first), np.diff(indptr))
    block[samples, genes] += counts.astype(block.dtype, copy=False)


@contextmanager
def spilling(path: Path, n_samples: int) -> Iterator[Spill]:
    """Give a spill that is gone afterwards, whatever happens."""
    try:
        yield Spill(path, n_samples)
    finally:
        path.unlink(missing_ok=True)
