"""The warning class of the package, so that one filter silences or raises all of them."""

from __future__ import annotations

import sys
import warnings


class XdelnxWarning(UserWarning):
    """Something in the data deserves a look; the result is still what was asked for."""


def warn(message: str) -> None:
    """Warn of something at the line that called the package, however deep inside the package it is found."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "xdelnx":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, XdelnxWarning, stacklevel=level)
