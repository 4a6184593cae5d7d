"""HTML that is safe by construction: whatever is not made by `element` is text, and is escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

DIGITS = 4  # of numbers in a page
_NO_CONTENT = ("img", "meta", "link", "br", "input")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, /, *content: Any, **attributes: Any) -> Html:
    """Write an element; None and False leave an attribute out, and a trailing underscore is not part of its name.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _NO_CONTENT:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{joined(content)}</{tag}>")


def joined(content: Iterable[Any]) -> Html:
    """Write contents one after the other, text escaped."""
    return Html("".join(part if isinstance(part, Html) else html.escape(str(part)) for part in content))


def asset(package: str, name: str) -> str:
    """Text of a file that comes with a package."""
    return (files(package) / "assets" / name).read_text(encoding="utf-8")


def data_block(name: str, columns: Sequence[Mapping[str, str]], values: Sequence[Any]) -> Html:
    """Columns for the page's scripts, as JSON that cannot end its element.

    Parameters
    ----------
    name
        Id of the block.
    columns
        Of each column ``name`` and ``title``.
    values
        Of each column its values; numbers are rounded to 4 digits, and those not finite are null.
    """
    table = {
        "columns": list(columns),
        "values": [[plain_value(entry) for entry in column] for column in values],
    }
    text = json.dumps(table, separators=(",", ":"), allow_nan=False)
    for sign, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(sign, code)
    return element("script", Html(text), type="application/json", id=name)


def plain_value(value: Any) -> Any:
    """Return an entry as JSON has it: text, a number of 4 digits, or None."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return str(value)


def document(title: str, body: Html, styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Write a whole page that needs no other file, and may run no other script than these.

    Parameters
    ----------
    title
        For the window.
    body
        Content of the body.
    styles, scripts
        CSS and JavaScript, each whole.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}"
    head = joined(
        [
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=policy),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("link", rel="icon", href="data:,"),
            element("title", title),
            *(element("style", Html(style)) for style in styles),
        ]
    )
    code = joined(element("script", Html(script)) for script in scripts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}{code}</body></html>\n'
