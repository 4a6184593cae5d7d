"""Which columns of the samples a report shows by colours and markers: those that the design uses."""

from __future__ import annotations

import pandas as pd

from xdelnx.designs.formulas import read
from xdelnx.plot.columns import MARKERS, PALETTE, is_numeric, levels_of


def design_columns(formula: str | None, samples: pd.DataFrame) -> list[str]:
    """Columns that a formula names and colours can show, in the order of the formula, the tested one last.

    >>> samples = pd.DataFrame({"drug": ["A", "B"], "batch": ["x", "y"], "dr": [1, 2]})
    >>> design_columns("~ batch + drug", samples)
    ['batch', 'drug']
    """
    if formula is None:
        return []
    named = read(formula, samples.columns).columns
    shown = [
        name
        for name in named
        if is_numeric(samples[name]) or _number_of_levels(samples[name]) <= len(PALETTE)
    ]
    return sorted(shown, key=formula.rfind)


def marked_column(columns: list[str], samples: pd.DataFrame) -> str | None:
    """Return the column for the markers, where the last one has the colours: the one before with few levels."""
    fit = [
        c
        for c in columns[:-1]
        if not is_numeric(samples[c]) and _number_of_levels(samples[c]) <= len(MARKERS)
    ]
    return fit[-1] if fit else None


def _number_of_levels(column: pd.Series) -> int:
    return len(levels_of(column)[0])
