"""From the words of the command line to the values they stand for."""

from __future__ import annotations

import argparse
import re
from typing import Any

from xdelnx.cli.cards import CUDA

_ADDRESS = re.compile(r"(tcp|tls|ucx)://.+:\d+|(?!tcp:|tls:|ucx:)\w+://.+")
LOCAL_SCHEDULERS = ("threads", "processes", "synchronous")


def as_levels(text: str) -> list[Any]:
    """Split at commas; booleans where all are."""
    levels = [level.strip() for level in text.split(",")]
    booleans = {"true": True, "false": False}
    return (
        [booleans[level.lower()] for level in levels] if {*map(str.lower, levels)} <= {*booleans} else levels
    )


def as_pair(text: str) -> tuple[str, str]:
    """Split a column and its level at the equals sign."""
    column, sign, level = text.partition("=")
    if not (column and sign and level):
        msg = f"expected COLUMN=LEVEL, received {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return column, level


def as_overdispersion(text: str) -> bool | str | float:
    """Turn a word into a switch, or a number."""
    words: dict[str, bool | str] = {"true": True, "false": False, "none": False, "global": "global"}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(text)
    except ValueError:
        msg = f"expected true, false, global or a number, received {text!r}"
        raise argparse.ArgumentTypeError(msg) from None


def as_size_factors(text: str) -> str | None:
    """Return the name of a method or a column, or None for none."""
    return None if text == "none" else text


def as_amount(text: str) -> float | tuple[str, float]:
    """Return a number, or a name and its number around the last equals sign."""
    name, sign, number = text.rpartition("=")
    try:
        return (name, float(number)) if sign and name else float(text)
    except ValueError:
        msg = f"expected X or NAME=X with a number X, received {text!r}"
        raise argparse.ArgumentTypeError(msg) from None


def as_named_amount(text: str) -> tuple[str, float]:
    """Return a name and its number around the last equals sign."""
    found = as_amount(text)
    if isinstance(found, float):
        msg = f"expected NAME=X with a number X, received {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return found


class Amounts(argparse.Action):
    """One number, or a mapping of names to numbers from an option that is given several times."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Put the number, or the name with its number, to those that are there."""
        before = getattr(namespace, self.dest)
        given = before if isinstance(before, dict) else {}
        if before != self.default and not (given and isinstance(values, tuple)):
            parser.error(f"argument {option_string}: give one number, or NAME=X several times")
        setattr(namespace, self.dest, given | dict([values]) if isinstance(values, tuple) else values)


def as_scheduler(text: str) -> str:
    """Check that it is a kind of scheduler, or the address of one."""
    if text in (*LOCAL_SCHEDULERS, CUDA) or _ADDRESS.fullmatch(text):
        return text
    msg = f"expected {', '.join(LOCAL_SCHEDULERS)}, {CUDA} or an address such as tcp://host:8786, received {text!r}"
    raise argparse.ArgumentTypeError(msg)
