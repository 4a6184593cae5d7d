"""Counts in arrays, sparse or dense, of a file or in memory: read run by run, and never as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csc_array, csr_array

from xdelnx.algorithms.matrices import as_matrix, native
from xdelnx.messages import fail
from xdelnx.storage.pieces import Piece, columns_of_rows, compact, index_type, tidy
from xdelnx.storage.unreadable import read


def check_kind(dtype: np.dtype, where: str) -> np.dtype:
    """Return the type of number as this machine has it; raises if these are no real numbers."""
    if dtype.kind not in "biuf":
        msg = f"{where} holds values of the type {dtype}, and counts are real numbers"
        raise TypeError(msg)
    return native(dtype)


@dataclass
class Compressed:
    """Sparse counts: CSR, the counts of a sample after each other (`by_sample`), or CSC, those of a gene.

    Parameters
    ----------
    data, indices
        Counts, and the genes (or samples) that they are of: anything that is sliced, such as datasets of a file.
    indptr
        Where each sample (or gene) begins in them, and the end.
    shape
        Numbers of samples and genes.
    by_sample
        Whether it is CSR.
    where
        What the messages call it.
    """

    data: Any
    indices: Any
    indptr: np.ndarray
    shape: tuple[int, int]
    by_sample: bool
    where: str
    dtype: np.dtype = field(init=False)
    overlapping = False

    def __post_init__(self) -> None:
        self.dtype = check_kind(self.data.dtype, self.where)
        n_major = self.shape[0 if self.by_sample else 1]
        if self.indptr.shape != (n_major + 1,):
            self._damaged(
                f"it has {n_major:,} {self._major}s and {self.indptr.size:,} places where they begin"
            )
        ends = int(self.indptr[0]), int(self.indptr[-1])
        if ends[0] != 0 or (np.diff(self.indptr) < 0).any():
            self._damaged(f"the places where its {self._major}s begin do not rise from 0")
        stored = self.data.shape[0], self.indices.shape[0]
        if stored[0] < ends[1] or stored[1] < ends[1]:
            self._damaged(f"it should have {ends[1]:,} entries and has {min(stored):,}")

    @property
    def _major(self) -> str:
        return "sample" if self.by_sample else "gene"

    def _damaged(self, why: str) -> None:
        fail(f"{self.where} is damaged or not complete: {why}")

    def pieces(self, entries: int) -> Iterator[Piece]:
        """Give runs of samples, or of genes."""
        n_major, total = self.indptr.size - 1, max(int(self.indptr[-1]), 1)
        start = 0
        while start < n_major:
            stop = int(np.searchsorted(self.indptr, self.indptr[start] + entries, side="right")) - 1
            stop = min(max(stop, start + 1), n_major)
            yield self._piece(start, stop, int(self.indptr[stop]) / total)
            start = stop

    def _piece(self, start: int, stop: int, done: float) -> Piece:
        parts = self._run(start, stop)
        n_samples, n_genes = self.shape
        if self.by_sample:
            rows = csr_array(parts, shape=(stop - start, n_genes))
            return Piece(0, columns_of_rows(rows, start, n_samples), done)
        return Piece(start, tidy(csc_array(parts, shape=(n_samples, stop - start))), done)

    def _run(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Counts, indices and where each sample (or gene) of a run begins."""
        begins = self.indptr[start : stop + 1]
        part = slice(int(begins[0]), int(begins[-1]))
        where = f"{self.where}, {self._major}s {start:,} to {stop - 1:,},"
        indices, data = read(where, lambda: (self.indices[part], self.data[part]))
        self._check_indices(indices, start, begins)
        data = compact(data)
        n_minor = self.shape[1 if self.by_sample else 0]
        return (
            data.astype(native(data.dtype), copy=False),
            indices.astype(index_type(n_minor), copy=False),
            (begins - begins[0]).astype(index_type(indices.size)),
        )

    def _check_indices(self, indices: np.ndarray, start: int, begins: np.ndarray) -> None:
        n_minor = self.shape[1 if self.by_sample else 0]
        if indices.size == 0 or (indices.min() >= 0 and indices.max() < n_minor):
            return
        first = int(np.argmax((indices < 0) | (indices >= n_minor)))
        at = start + int(np.searchsorted(begins - begins[0], first, side="right")) - 1
        minor = "gene" if self.by_sample else "sample"
        self._damaged(
            f"{self._major} {at:,} (from 0) has a count of {minor} {indices[first]:,}, and there are {n_minor:,}"
        )


@dataclass
class Dense:
    """Counts in a dense array, or one of sparse blocks, of a file or in memory.

    Parameters
    ----------
    read
        Function of two slices, of samples and genes, that reads that part as a NumPy or SciPy array.
    shape
        Numbers of samples and genes.
    dtype
        Type of the numbers.
    chunks
        Shape of the parts that are stored, and best read, as a whole.
    where
        What the messages call it.
    """

    read: Callable[[slice, slice], Any]
    shape: tuple[int, int]
    dtype: np.dtype
    chunks: tuple[int, int]
    where: str
    overlapping = False

    def __post_init__(self) -> None:
        self.dtype = check_kind(self.dtype, self.where)

    def pieces(self, entries: int) -> Iterator[Piece]:
        """Give tiles of whole chunks, as far as they are not larger than so many counts."""
        n_samples, n_genes = self.shape
        height, width = tile(self.shape, self.chunks, entries)
        n_tiles, done = -(-n_samples // height) * -(-n_genes // width), 0
        for gene in range(0, n_genes, width):
            for sample in range(0, n_samples, height):
                done += 1
                samples, genes = slice(sample, sample + height), slice(gene, gene + width)
                where = f"{self.where}, samples from {sample:,}, genes from {gene:,},"
                part = read(where, self.read, samples, genes)
                yield Piece(gene, self._columns(part, sample), done / n_tiles)

    def _columns(self, part: Any, first: int) -> csc_array:
        if isinstance(part, np.ndarray):
            part = compact(part)
        return columns_of_rows(csr_array(as_matrix(part)), first, self.shape[0])


def tile(shape: tuple[int, int], chunks: tuple[int, int], entries: int) -> tuple[int, int]:
    """Samples and genes that are read at a time: whole chunks, all genes of them if that is not too much.

    >>> tile((1000, 300), (10, 300), 9000), tile((1000, 300), (1000, 7), 30000), tile((1000, 300), (100, 30), 6000)
    ((30, 300), (1000, 28), (100, 60))
    >>> tile((1000, 300), (1000, 300), 6000)
    (20, 300)
    """
    n_samples, n_genes = shape
    rows, columns = (max(min(chunk, size), 1) for chunk, size in zip(chunks, shape, strict=True))
    width = _whole(entries // rows, columns, n_genes)
    if rows * width > entries:  # not even one chunk
        return max(min(rows, entries // width), 1), width
    return _whole(entries // width, rows, n_samples), width


def _whole(wanted: int, chunk: int, size: int) -> int:
    """Chunks as a whole, one at least, as many as are wanted and there are."""
    return size if wanted >= size else max(wanted // chunk, 1) * chunk
