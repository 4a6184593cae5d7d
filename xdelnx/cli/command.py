"""What a command is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple


class Command(NamedTuple):
    """One command.

    Parameters
    ----------
    name
        As it is typed.
    add
        Adds its parser, with its own options, to those of all commands.
    run
        Does what was asked for.
    writes
        Whether it works on counts and writes outputs, which may be there already.
    """

    name: str
    add: Callable[[Any], argparse.ArgumentParser]
    run: Callable[[argparse.Namespace], None]
    writes: bool = True
