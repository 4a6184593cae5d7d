"""Tables of a page: their first rows as HTML, and all rows as data that the page's script sorts and searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdelnx.plot.markup import DIGITS, Html, data_block, element, joined, plain_value

FIRST_ROWS = 20


def data_table(
    name: str, caption: str, columns: Sequence[dict[str, str]], values: Sequence[Sequence[Any]], file: str
) -> Html:
    """Table that the page's script makes sortable and searchable, with a download.

    Parameters
    ----------
    name
        Id of its data block, which clouds may use, too.
    caption
        What it holds.
    columns, values
        As for `xdelnx.plot.markup.data_block`.
    file
        Name of the CSV file to download.
    """
    first = [column[:FIRST_ROWS] for column in values]
    rows = list(zip(*first, strict=True))
    total = len(values[0]) if values else 0
    more = f" (the first {len(rows)} of {total:,} rows)" if total > len(rows) else ""
    table = plain_table([column["title"] for column in columns], rows, caption + more)
    return joined(
        [
            element("div", table, class_="table", data_table=name, data_file=file, data_caption=caption),
            data_block(name, columns, values),
        ]
    )


def plain_table(titles: Sequence[Any], rows: Sequence[Sequence[Any]], caption: str) -> Html:
    """Table that is what it is; numbers are aligned at the right."""
    right = [
        bool(rows) and not isinstance(plain_value(entry), str) for entry in (rows[0] if rows else titles)
    ]
    heads = [
        element("th", title, scope="col", class_="number" if number else None)
        for title, number in zip(titles, right, strict=True)
    ]
    head = element("thead", element("tr", *heads))
    body = element("tbody", *(element("tr", *map(_cell, row)) for row in rows))
    return element(
        "div", element("table", element("caption", caption), head, body), class_="scroll", tabindex="0"
    )


def _cell(value: Any) -> Html:
    if isinstance(value, Html):
        return element("td", value)
    shown = plain_value(value)
    if isinstance(shown, str):
        return element("td", shown)
    return element("td", _number(shown), class_="number")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if size >= 1e6 or 0.0 < size < 1e-3:
        return f"{value:.2e}"
    digits = f"{value:,.{DIGITS}g}"
    return f"{value:,.0f}" if "e" in digits else digits
