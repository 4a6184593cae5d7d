"""Matrix Market: a folder as Cell Ranger writes it, or one `.mtx` file with its names beside it or given."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from scipy.sparse import coo_array

from xdelnx.messages import fail
from xdelnx.schema import GENE, SAMPLE
from xdelnx.storage.delimited import MISSING, read_table
from xdelnx.storage.pieces import Matrix, Piece, tidy
from xdelnx.storage.readers.source import COUNTS, OF_XARRAY, Choice, Source, with_metadata
from xdelnx.storage.readers.tables import described, reading_text
from xdelnx.storage.readers.ten_x import FEATURE_TYPE, check_types
from xdelnx.storage.unreadable import check_there

SUFFIXES = (".mtx", ".mtx.gz")
_NONE = "names a layer of an AnnData; a Matrix Market file has one matrix, so leave it out"
REFUSED = {"layer": _NONE, "layers": _NONE, "raw": "is for an AnnData; a Matrix Market file has one matrix"}
LINE_ENTRIES = 5  # what a line of text takes while it is read, in entries of a sparse matrix
_FEATURES = ("features.tsv", "genes.tsv")
_COLUMNS = ("id", "name", FEATURE_TYPE)


def matrix_in(folder: Path) -> Path | None:
    """Give the matrix of a folder of Cell Ranger, if it is one."""
    return _first(folder, ("matrix.mtx",))


def is_matrix_market(path: Path) -> bool:
    """Whether the name is that of such a file."""
    return path.name.endswith(SUFFIXES)


def from_path(path: Path, choice: Choice) -> Source:
    """Read the names beside a matrix, or take those that are given, and its first lines.

    Raises
    ------
    ValueError
        If there are no names, or they are not as many as its rows and columns.
    """
    choice.refuse(REFUSED | OF_XARRAY)
    with reading_text(path):
        matrix = MatrixMarket.open(path)
    before = path.name.removesuffix(".gz").removesuffix(".mtx").removesuffix("matrix")
    beside = (
        _first(path.parent, (f"{before}barcodes.tsv",)),
        _first(path.parent, tuple(before + name for name in _FEATURES)),
    )
    samples = _named(beside[0], choice.samples, SAMPLE, path)
    genes = _named(beside[1], choice.genes, GENE, path)
    matrix.turn(len(samples), len(genes))
    samples = _about(samples, beside[0], choice.samples, SAMPLE, genes.index)
    genes = _about(genes, beside[1], choice.genes, GENE, samples.index)
    check_types(genes)
    found: Matrix = matrix
    return with_metadata(samples, genes, {COUNTS: found})


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    found = (folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz"))
    return next((path for path in found if path.is_file()), None)


def _named(beside: Path | None, given: Any, dim: str, matrix: Path) -> pd.DataFrame:
    """Names of an axis in the order of the matrix, from the file beside it or else the table that is given."""
    if beside is not None:
        with reading_text(beside):
            frame = pd.read_csv(beside, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3)
        names = _COLUMNS[: frame.shape[1]] + tuple(f"column{i}" for i in range(3, frame.shape[1]))
        return frame.set_axis(names, axis=1).set_index("id").rename_axis(index=None)
    if given is None:
        wanted = "barcodes.tsv" if dim == SAMPLE else "features.tsv or genes.tsv"
        fail(
            f"there are no names of {dim}s beside {matrix}: it needs {wanted} (also .gz) in its folder, or "
            f"{dim}s=, a table with a row for each {dim} in the order of the matrix"
        )
    with reading_text(given):
        return read_table(given, MISSING)


def _about(named: pd.DataFrame, beside: Path | None, given: Any, dim: str, other: pd.Index) -> pd.DataFrame:
    """Add a table of metadata to the names that lie beside the matrix."""
    if beside is None or given is None:
        return named
    table = described(given, named.index, dim, "matrix", other)
    return named.join(table.rename(columns={name: f"{name}_given" for name in named.columns}))


@dataclass
class MatrixMarket:
    """Counts in lines of row, column and count, in any order.

    Parameters
    ----------
    path
        The file, plain or gzipped.
    size
        Rows, columns and lines of counts that its header announces.
    fields
        Numbers in a line.
    header
        Lines before the first count.
    """

    path: Path
    size: tuple[int, int, int]
    fields: int
    header: int
    genes_in_rows: bool = True
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float64))
    overlapping = True

    @classmethod
    def open(cls, path: Path) -> MatrixMarket:
        """Read the header."""
        check_there(path)
        with _text(path) as file:
            kind = file.readline().lower().split()
            lines, line = 2, file.readline()
            while line.startswith("%") or (line and not line.strip()):
                lines, line = lines + 1, file.readline()
        if len(kind) != 5 or kind[:2] != ["%%matrixmarket", "matrix"]:
            fail(f"{path} does not begin with the line %%MatrixMarket matrix coordinate integer general")
        if kind[2] != "coordinate" or kind[4] != "general" or kind[3] not in ("integer", "real", "pattern"):
            fail(f"{path} holds a matrix that is {' '.join(kind[2:])}; counts are coordinate integer general")
        words = line.split()
        if len(words) != 3 or not all(word.isdigit() for word in words):
            fail(
                f"{path}, line {lines}: expected numbers of rows, columns and counts, received {line.strip()!r}"
            )
        rows, columns, entries = map(int, words)
        return cls(path, (rows, columns, entries), 2 if kind[3] == "pattern" else 3, lines)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of samples and genes."""
        rows, columns, _ = self.size
        return (columns, rows) if self.genes_in_rows else (rows, columns)

    def turn(self, n_samples: int, n_genes: int) -> None:
        """Find out what is in rows by the numbers of names; genes, where it might be either.

        Raises
        ------
        ValueError
            If neither fits.
        """
        if self.shape != (n_samples, n_genes):
            self.genes_in_rows = False
        if self.shape != (n_samples, n_genes):
            rows, columns, _ = self.size
            fail(
                f"{self.path} has {rows:,} rows and {columns:,} columns, and there are names of {n_genes:,} genes "
                f"and {n_samples:,} samples"
            )

    def pieces(self, entries: int) -> Iterator[Piece]:
        """Give the counts of a run of lines."""
        before = 0
        with reading_text(self.path):
            for frame in self._runs(max(entries // LINE_ENTRIES, 1)):
                rows, columns, counts = self._numbers(frame, before)
                before += len(frame)
                where = (columns, rows) if self.genes_in_rows else (rows, columns)
                matrix = coo_array((counts, where), shape=self.shape).tocsc()
                yield Piece(0, tidy(matrix), before / max(self.size[2], 1))
        if before != self.size[2]:
            fail(
                f"{self.path} has {before:,} counts, and its header announces {self.size[2]:,}; it is not complete: "
                "copy it again"
            )

    def _runs(self, entries: int) -> Iterator[pd.DataFrame]:
        how: dict[str, Any] = {"sep": r"\s+", "header": None, "names": range(4), "index_col": False}
        with _text(self.path) as file:
            for _ in range(self.header):
                file.readline()
            try:
                with pd.read_csv(file, chunksize=entries, low_memory=False, **how) as reader:
                    yield from (frame for frame in reader if len(frame))
            except pd.errors.EmptyDataError:
                return

    def _numbers(self, frame: pd.DataFrame, before: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and columns, from 0, and counts; raises at the first line that is not of these."""
        numbers = frame.apply(pd.to_numeric, errors="coerce")
        fits = numbers.notna().to_numpy()
        wrong = ~fits[:, : self.fields].all(axis=1) | frame.iloc[:, self.fields :].notna().to_numpy().any(
            axis=1
        )
        parts = [numbers[0], numbers[1], numbers[2] if self.fields == 3 else pd.Series(1, numbers.index)]
        for place, largest in zip(parts[:2], self.size, strict=False):
            wrong |= ~((place >= 1) & (place <= largest) & (place == np.floor(place))).to_numpy()
        if wrong.any():
            at = int(np.argmax(wrong))
            words = " ".join(_as_written(value) for value in frame.iloc[at].dropna())
            rows, columns, _ = self.size
            fail(
                f"{self.path}, line {self.header + before + at + 1}: expected a row from 1 to {rows:,}, a column from "
                f"1 to {columns:,}{' and a count' if self.fields == 3 else ''}, received {words!r}"
            )
        rows, columns = (place.to_numpy().astype(np.int64) - 1 for place in parts[:2])
        return rows, columns, parts[2].to_numpy()  # wide, as equal places are added up


def _as_written(value: Any) -> str:
    """Give a number without the point that its column gave it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(path: Path) -> TextIO:
    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
