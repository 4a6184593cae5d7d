"""Counts that come piece by piece: what every reader of a file gives, and what is learnt of them on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csc_array, csr_array

from xdelnx.algorithms.matrices import as_matrix
from xdelnx.algorithms.survey import Survey, look

ENTRY_BYTES = 48
"""Memory that one non-zero count takes at most while its piece is read, sorted by gene, looked at and written."""

_WIDE = {"b": np.uint64, "u": np.uint64, "i": np.int64, "f": np.float64}


@dataclass(frozen=True)
class Piece:
    """Some of the counts of a matrix: all samples, a run of genes, and only what this piece brings is not zero."""

    first: int  # gene of the first column
    columns: csc_array  # (sample, gene), no entry twice, none zero
    done: float  # share of the matrix that has come with it


class Matrix(Protocol):
    """Counts (sample, gene) in a file or in memory, that come as pieces which add up to them."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of samples and genes."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers, in the order of bytes of this machine."""

    @property
    def overlapping(self) -> bool:
        """Whether parts of one count may come in several pieces, to be added up."""

    def pieces(self, entries: int) -> Iterator[Piece]:
        """Give pieces of about so many non-zero counts at most, or of one sample or gene if that has more."""


def columns_of_rows(rows: csr_array, first: int, n_samples: int) -> csc_array:
    """Sort a run of samples (some samples, gene) by gene: (all samples, gene), equal indices added up."""
    columns = tidy(rows.tocsc())
    samples = columns.indices.astype(index_type(n_samples), copy=False)
    if first:
        samples += first
    return csc_array((columns.data, samples, columns.indptr), shape=(n_samples, rows.shape[1]))


def tidy(columns: csc_array) -> csc_array:
    """Indices in order, entries that stand twice added up as SciPy and AnnData do, without zeros, in a small type."""
    if not columns.has_canonical_format:
        wide = _WIDE.get(columns.dtype.kind, columns.dtype)  # where the sum of small integers fits
        parts = (
            columns.data.astype(wide),
            columns.indices.copy(),
            columns.indptr.copy(),
        )  # they may be the user's
        columns = csc_array(parts, shape=columns.shape)
        columns.sum_duplicates()
    if not columns.data.all():
        columns = as_matrix(columns)
    columns.data = compact(columns.data)
    return columns


def compact(values: np.ndarray) -> np.ndarray:
    """Give whole numbers in the smallest unsigned type that holds them, and any others as they are."""
    if values.size == 0 or values.dtype.kind == "b":
        return values.astype(np.uint8)
    low, high = values.min(), values.max()
    kind = count_type(values.dtype, float(high), other=not (low >= 0 and np.isfinite(high)))
    if kind == values.dtype or kind.kind != "u":
        return values
    whole = values.astype(kind)
    return whole if values.dtype.kind in "iu" or np.array_equal(whole, values) else values


def count_type(dtype: np.dtype, largest: float, *, other: bool) -> np.dtype:
    """Smallest of uint8, uint16, uint32 and uint64 for whole numbers up to the largest.

    Parameters
    ----------
    dtype
        The type they have, which is kept where no integer holds them.
    largest
        Largest number.
    other
        Whether some are fractions, negative, or not finite.
    """
    kinds = [np.dtype(name) for name in ("uint8", "uint16", "uint32", "uint64")]
    fits = (kind for kind in kinds if not other and largest <= float(np.iinfo(kind).max))
    return next((kind for kind in fits if largest < 2.0**64), dtype)


def index_type(size: int) -> np.dtype:
    """Type of positions among so many."""
    return np.dtype(np.int32 if size <= np.iinfo(np.int32).max else np.int64)


@dataclass
class Tally:
    """What the pieces so far tell of a matrix; `survey` gives it in the form of a look at all of it."""

    n_samples: int
    n_genes: int
    scalars: dict[str, float] = field(default_factory=lambda: {"non_zero": 0, "fractions": 0, "largest": 0.0})
    by_gene: dict[str, np.ndarray] = field(default_factory=dict)
    totals: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.totals = np.zeros(self.n_samples)
        for name in ("negative", "not_finite", "expressed"):
            self.by_gene[name] = np.zeros(self.n_genes, dtype=np.int64)

    def add(self, piece: Piece) -> None:
        """Look at one more piece."""
        seen = look(piece.columns)
        self.totals += seen.totals
        genes = slice(piece.first, piece.first + piece.columns.shape[1])
        for name, numbers in self.by_gene.items():
            numbers[genes] += getattr(seen, name)
        self.scalars["non_zero"] += seen.non_zero
        self.scalars["fractions"] += seen.fractions
        self.scalars["largest"] = max(self.scalars["largest"], seen.largest)

    def survey(self) -> Survey:
        """Put together what was seen."""
        none = np.zeros(self.n_genes, dtype=np.int64)
        found: dict[str, Any] = self.by_gene | {"expressed": self.by_gene["expressed"] > 0}
        return Survey(
            totals=self.totals,
            non_zero=int(self.scalars["non_zero"]),
            fractions=int(self.scalars["fractions"]),
            largest=self.scalars["largest"],
            offset_scale=np.zeros(self.n_samples),
            bad_offset=none,
            large_offset=none,
            bad_weight=none,
            **found,
        )
