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
    """

    name: str
    add: Callable[[Any], argparse.ArgumentParser]
    run: Callable[[argparse.Namespace], None]
