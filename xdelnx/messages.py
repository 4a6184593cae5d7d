"""Words for error messages: what was received, and what would have been allowed."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable
from typing import NoReturn


def listing(entries: Iterable[object], limit: int = 20) -> str:
    """Join entries with commas, cut after `limit` of them; each is cut where it is very long."""
    texts = [cut(str(entry)) for entry in entries]
    more = f", ... ({len(texts)} in all)" if len(texts) > limit else ""
    return (", ".join(texts[:limit]) or "none") + more


def counted(number: int, noun: str) -> str:
    """Number and noun, the noun in the plural where it has to be.

    >>> counted(1, "sample"), counted(1200, "gene")
    ('1 sample', '1,200 genes')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def megabytes(number: float) -> str:
    """Write a number of bytes.

    >>> megabytes(16_000_000), megabytes(2.5e12), megabytes(300)
    ('16 MB', '2,500,000 MB', '0.0003 MB')
    """
    value = number / 1e6
    return f"{value:,.0f} MB" if value >= 10 else f"{value:.3g} MB" if value >= 0.01 else f"{value:.1g} MB"


def shown(value: object) -> str:
    """Write a value as Python would, cut where it is long."""
    return textwrap.shorten(repr(value), 80, placeholder=" ...")


def cut(text: str, limit: int = 200) -> str:
    """Cut a text where it is very long."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def brief(text: str, limit: int = 200) -> str:
    """Quote a text a user wrote, cut where it is very long."""
    return repr(cut(text, limit))


def closest(name: str, allowed: Iterable[object], what: str) -> str:
    """Near misses of a name among those allowed, upper and lower case alike, and the list of them all.

    >>> closest("Condition", ["batch", "condition"], "columns")
    "did you mean 'condition'? columns: batch, condition"
    """
    texts = [str(entry) for entry in allowed]
    folded = {text.casefold(): text for text in texts}
    near = [folded[hit] for hit in difflib.get_close_matches(cut(name.casefold()), folded, n=3)]
    guess = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{guess}{what}: {listing(texts)}"


def fail(message: str) -> NoReturn:
    """Raise ValueError: the arguments or the data cannot be used as they are."""
    raise ValueError(message)
