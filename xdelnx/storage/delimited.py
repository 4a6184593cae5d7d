"""Tables as text, with commas or tabs: names stay as they are written, whatever they look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from xdelnx.messages import fail
from xdelnx.storage.unreadable import check_there

TABLES = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}
EXCEL = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # what workbooks begin with, .xlsx and .xls
MISSING = ("", "NA")  # in metadata; any other word may be a level
MISSING_COUNTS = (*MISSING, "NaN", "nan")


def table_suffix(path: Path) -> str:
    """Return the suffix that tells the kind of a table, below that of a compression."""
    return Path(path.stem).suffix if path.suffix in {".gz", ".bz2", ".xz", ".zst"} else path.suffix


def read_table(table: Any, missing: tuple[str, ...]) -> pd.DataFrame:
    """Read a table whose first column names the rows; a DataFrame is returned as it is.

    Parameters
    ----------
    table
        Path, or a DataFrame.
    missing
        Words that stand for a missing value, in every column but the first.

    Returns
    -------
    DataFrame
        Names of rows and columns are the text of the file, repeated ones too: 0.10, 001 and NA are names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is empty, no text, a pipe or device, or its rows are longer than its header.
    """
    if isinstance(table, pd.DataFrame):
        return table
    path = Path(table)
    names, how = table_layout(path, missing)
    return pd.read_csv(path, **how).set_index(0).set_axis(names[1:], axis=1).rename_axis(index=None)


def table_layout(path: Path, missing: tuple[str, ...]) -> tuple[list[str], dict[str, Any]]:
    """Name of every column of a table, and how pandas is to read it so that all names stay as they are.

    Raises as `read_table` does. The columns are numbered, and the first has the names of the rows.
    """
    check_there(path)
    _check_text(path)
    how: dict[str, Any] = {"sep": TABLES.get(table_suffix(path), ","), "keep_default_na": False}
    names = _header(path, how)
    how |= {
        "header": 0,
        "names": range(len(names)),  # pandas would rename what is repeated
        "dtype": {0: str},
        "na_values": dict.fromkeys(range(1, len(names)), missing),
    }
    if not isinstance(pd.read_csv(path, nrows=1, **how).index, pd.RangeIndex):
        fail(f"{path} has more fields in a row than names in its header; give each column a name")
    return names, how


def _check_text(path: Path) -> None:
    """Raise ValueError if a workbook has the name of a table."""
    with path.open("rb") as file:
        if path.suffix in TABLES and file.read(4) in EXCEL:
            fail(f"{path} is an Excel workbook, whatever its name says; save it in Excel as CSV")


def _header(path: Path, how: dict[str, Any]) -> list[str]:
    """Name of every column; R writes none above the names of the rows, which pandas then takes for an index."""
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, **how).iloc[0].tolist()
        first = pd.read_csv(path, nrows=1, dtype=str, **how)
    except pd.errors.EmptyDataError:
        fail(f"{path} is empty; a table has a header, and a row for each gene or sample")
    _check_separator(path, header, how["sep"])
    return header if isinstance(first.index, pd.RangeIndex) else ["", *header]


def _check_separator(path: Path, header: list[Any], expected: str) -> None:
    """Raise ValueError if a header is one name that other separators would make several of."""
    others = [word for word in SEPARATORS if word != expected and word in str(header[0])]
    if len(header) == 1 and others:
        fail(
            f"{path} has {SEPARATORS[others[0]]} between its columns, where a {table_suffix(path)} has "
            f"{SEPARATORS[expected]}; save it with these, or name it by what it has (.csv: commas, .tsv: tabs)"
        )
