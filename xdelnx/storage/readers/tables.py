"""Tables of counts as text, genes in rows: read some genes at a time."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csc_array

from xdelnx.checks import check_names
from xdelnx.errors import warn
from xdelnx.messages import counted, fail, listing
from xdelnx.schema import GENE, SAMPLE
from xdelnx.storage.delimited import MISSING, MISSING_COUNTS, read_table, table_layout
from xdelnx.storage.labels import names_of
from xdelnx.storage.pieces import Piece, compact, tidy
from xdelnx.storage.readers.source import COUNTS, OF_XARRAY, Choice, Source, with_metadata

_NONE = "names a layer of an AnnData; a table of counts has none, so leave {} out"
REFUSED = {name: _NONE.format(name) for name in ("layer", "layers")} | {
    "raw": "is for an AnnData; a table of counts has one matrix"
}
UNREADABLE = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, UnicodeDecodeError)
_LEAST_ROWS = 16  # genes read at a time, however many samples there are


@contextmanager
def reading_text(path: Any) -> Iterator[None]:
    """Say which file it is, if it cannot be unpacked or is no text."""
    try:
        yield
    except UNREADABLE as error:
        msg = f"{path} cannot be read, so it is damaged or not complete; copy it again ({error})"
        raise OSError(msg) from error
    except pd.errors.ParserError as error:
        fail(f"{path} is no table, or is damaged: {error}")


def from_table(table: Any, choice: Choice) -> Source:
    """Take a table of counts: its names now, its counts when they are asked for.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If names are not unique, or do not fit those of the table of samples or genes.
    """
    choice.refuse(REFUSED | OF_XARRAY)
    rows = _Frame(table) if isinstance(table, pd.DataFrame) else _Text(Path(table))
    about = []
    for dim, names, given in ((SAMPLE, rows.samples, choice.samples), (GENE, rows.genes, choice.genes)):
        check_names(names, dim)
        other = rows.genes if dim == SAMPLE else rows.samples
        about.append(described(given, names, dim, "table of counts", other))
    return with_metadata(about[0], about[1], {COUNTS: _Table(rows)})


class _Frame:
    """A table in memory."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame.set_axis(frame.columns.astype(str), axis=1)
        self.samples, self.genes = self.frame.columns, frame.index
        kinds = {kind for kind in frame.dtypes if getattr(kind, "kind", "O") == "f"}
        self.dtype = np.dtype(np.result_type(*kinds) if len(kinds) == 1 else np.float64)

    def runs(self, size: int) -> Iterator[pd.DataFrame]:
        for start in range(0, len(self.frame), size):
            yield self.frame.iloc[start : start + size]


class _Text:
    """A table in a file."""

    dtype = np.dtype(np.float64)

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading_text(path):
            names, self.how = table_layout(path, MISSING_COUNTS)
            if len(names) < 2:
                fail(
                    f"{path} has one column; a table of counts has the genes' names in it, and one for each sample"
                )
            genes = pd.read_csv(path, **self.how, usecols=[0])[0]
        self.samples, self.genes = pd.Index(names[1:]), pd.Index(genes)

    def runs(self, size: int) -> Iterator[pd.DataFrame]:
        with reading_text(self.path), pd.read_csv(self.path, **self.how, chunksize=size) as reader:
            for frame in reader:
                yield frame.set_index(0).set_axis(self.samples, axis=1)


@dataclass
class _Table:
    """Counts of a table, which come in runs of genes."""

    rows: _Frame | _Text
    overlapping = False

    @property
    def dtype(self) -> np.dtype:
        return self.rows.dtype

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows.samples), len(self.rows.genes)

    def pieces(self, entries: int) -> Iterator[Piece]:
        n_samples, n_genes = self.shape
        first = 0
        for frame in self.rows.runs(max(entries // (2 * n_samples), _LEAST_ROWS)):
            _check_numbers(frame)
            values = frame.to_numpy()
            if values.dtype.kind == "O":  # pandas' own types, which know missing numbers
                values = frame.to_numpy(dtype=np.float64, na_value=np.nan)
            first, start = first + len(frame), first
            yield Piece(start, tidy(csc_array(compact(values.T))), first / n_genes)


def _check_numbers(frame: pd.DataFrame) -> None:
    columns = [k for k, kind in enumerate(frame.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    if columns:
        words = [f"{frame.columns[k]}{_first_word(frame.iloc[:, k])}" for k in columns[:6]]
        words += list(frame.columns[columns[6:]])
        fail(
            f"columns of the table of counts are not numbers: {listing(words, 5)}; leave the genes' names in the "
            "first column and one column of counts for each sample"
        )


def _first_word(column: pd.Series[Any]) -> str:
    """First entry of a column that is no number, and its gene, in brackets."""
    known = column[column.notna()].astype(str)
    words = known[pd.to_numeric(known, errors="coerce").isna()]
    return f" ({words.iloc[0]!r} of {words.index[0]})" if len(words) else ""


def described(given: Any, names: pd.Index, dim: str, what: str, other: pd.Index) -> pd.DataFrame:
    """Metadata of an axis, in the order of the counts: the rows of a table of that axis, if one is given.

    Parameters
    ----------
    given
        Table of metadata (a path, or a DataFrame) or None.
    names
        Names along the axis.
    dim
        Which axis it is.
    what
        What the messages call the counts.
    other
        Names along the other axis, to know a table that is turned the wrong way.

    Raises
    ------
    ValueError
        If it has several rows or columns of a name, or lacks a name.
    """
    if given is None:
        return pd.DataFrame(index=names)
    with reading_text(given):
        table = read_table(given, MISSING)
    table = table.set_axis(names_of(table.index, dim))
    repeated = table.columns[table.columns.duplicated()].unique()
    if repeated.size:
        fail(f"the table of {dim}s has several columns of one name: {listing(repeated, 5)}; rename them")
    names = names.astype(str)
    absent = names.difference(table.index, sort=False)
    if len(absent) and table.index.isin(other.astype(str)).all():
        fail(f"the {what} has its samples in rows; transpose it, so that genes are in rows")
    if len(absent):
        fail(
            f"{len(absent)} of the {counted(len(names), dim)} in the {what} are not in the table of "
            f"{dim}s: {listing(absent, 5)}; it has {listing(table.index, 5)}"
        )
    unused = table.index.difference(names, sort=False)
    if len(unused):
        warn(f"left out, having no counts: {counted(len(unused), dim)} ({listing(unused, 5)})")
    return table.loc[names]
