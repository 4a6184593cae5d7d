"""The cells of the study: one way of making counts each, and the design they are fitted with."""

from __future__ import annotations

from dataclasses import dataclass, replace

REPLICATES = (3, 5, 14)


@dataclass(frozen=True)
class Cell:
    """How the data sets of a cell are made.

    Parameters
    ----------
    name
        Unique, and the folder of its results.
    group
        Samples a group, or cells in all where ``kind`` is "cells".
    kind
        "bulk" or "cells": how deep, and how dispersed.
    depth
        "shallow", "middle", "deep" or "small": the genes' median count is 5, 60, 400 or 1 (bulk).
    dispersion
        "trend" (0.05 + 2 / mean), "flat" (0.1) or "heavy" (a tenth of the genes five to twenty times as much).
    design
        "two groups", "paired", "batch", "continuous", "interaction" or "donors".
    signal
        "none", "symmetric" (a tenth of the genes), "one-sided" (30 % go up) or "boundary" (a third each of no change
        and of exactly 1 up and 1 down, log2).
    model
        "nb", "lognormal" (Poisson of a log-normal rate), "zero-inflated", or "real" (real counts, thinned).
    composition
        Whether some of the most abundant genes go up, so that library totals mislead.
    outliers
        Whether one count in two hundred is ten times and more what it was.
    """

    name: str
    group: int
    kind: str = "bulk"
    depth: str = "middle"
    dispersion: str = "trend"
    design: str = "two groups"
    signal: str = "symmetric"
    model: str = "nb"
    composition: bool = False
    outliers: bool = False

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return 2_000

    @property
    def n_samples(self) -> int:
        """Number of samples, or cells."""
        groups = 1 if self.kind == "cells" else 4 if self.design == "interaction" else 2
        return groups * self.group

    @property
    def shifts_totals(self) -> bool:
        """Whether the changes move the samples' totals: by a few high genes, or by many to one side."""
        return self.composition or self.signal in {"one-sided", "boundary"}

    @property
    def calibrated(self) -> bool:
        """Whether error rates have to be kept here: as many replicates as that takes, and nothing odd."""
        return self.group >= 5 and self.model == "nb" and not self.outliers and self.design != "donors"


def _varied(base: Cell) -> list[Cell]:
    """The base and cells that differ from it in one respect."""
    changes: dict[str, dict[str, object]] = {
        "": {},
        "no signal": {"signal": "none"},
        "one-sided": {"signal": "one-sided"},
        "shallow": {"depth": "shallow"},
        "deep": {"depth": "deep"},
        "small counts": {"depth": "small"},
        "flat dispersion": {"dispersion": "flat"},
        "heavy-tailed": {"dispersion": "heavy"},
        "paired": {"design": "paired"},
        "batch": {"design": "batch"},
        "continuous": {"design": "continuous"},
        "interaction": {"design": "interaction"},
        "composition": {"composition": True},
        "outliers": {"outliers": True},
        "boundary": {"signal": "boundary"},
        "log-normal": {"model": "lognormal"},
        "zero-inflated": {"model": "zero-inflated"},
    }
    return [
        replace(base, name=f"{base.name} {words}".strip(), **change)  # type: ignore[arg-type]
        for words, change in changes.items()
    ]


def _cells(n: int) -> list[Cell]:
    base = Cell(f"{n:,} cells", n, kind="cells")
    return [
        base,
        replace(base, name=f"{base.name} no signal", signal="none"),
        replace(base, name=f"{base.name} one-sided", signal="one-sided"),
        replace(base, name=f"{base.name} donors", design="donors"),
        replace(base, name=f"{base.name} donors no signal", design="donors", signal="none"),
    ]


GRID = [
    *(cell for n in REPLICATES for cell in _varied(Cell(f"{n} a group", n))),
    *_cells(500),
    *_cells(5_000),
    Cell("real, 4 a group", 4, design="paired", model="real"),
    Cell("real, 4 a group no signal", 4, design="paired", model="real", signal="none"),
]
SMALL = [
    cell
    for cell in GRID
    if cell.name in {"5 a group", "5 a group no signal", "5 a group composition", "500 cells"}
]
FORMS = {"small": (SMALL, 3), "full": (GRID, 20)}
"""Cells, and data sets of each, of the study's two forms."""
