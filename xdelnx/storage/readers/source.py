"""What a reader gives: names and metadata of both axes in memory, and matrices that are read piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr

from xdelnx.messages import fail
from xdelnx.schema import GENE, SAMPLE
from xdelnx.storage.labels import labelled
from xdelnx.storage.pieces import Matrix

COUNTS = "counts"
OF_XARRAY = dict.fromkeys((SAMPLE, GENE), "is for a Zarr store of xarray, whose dimensions have names")


@dataclass(frozen=True)
class Source:
    """An opened input.

    Parameters
    ----------
    labels
        Dataset of names and metadata, without a matrix.
    matrices
        The counts under `COUNTS`, and any further layers under their names.
    """

    labels: xr.Dataset
    matrices: dict[str, Matrix]


@dataclass(frozen=True)
class Choice:
    """What of an input is wanted: arguments of `convert` that only some kinds of input know.

    Parameters
    ----------
    layer
        Layer with the counts; None for the main matrix.
    layers
        Further layers to carry along.
    raw
        Whether the counts are those of `.raw`.
    samples, genes
        Tables of metadata.
    sample, gene
        Names of the dimensions.
    """

    layer: str | None = None
    layers: tuple[str, ...] = ()
    raw: bool = False
    samples: Any = None
    genes: Any = None
    sample: str | None = None
    gene: str | None = None

    def refuse(self, reasons: dict[str, str]) -> None:
        """Raise ValueError if something was asked for that this kind of input does not have."""
        for name, reason in reasons.items():
            value = getattr(self, name)
            if value is not None and value is not False and (not isinstance(value, tuple) or value):
                shown = f"{name}={value!r}" if isinstance(value, str | tuple | bool) else f"{name}="
                fail(f"{shown} {reason}")


def with_metadata(samples: pd.DataFrame, genes: pd.DataFrame, matrices: dict[str, Matrix]) -> Source:
    """Join matrices with tables of metadata.

    Raises
    ------
    ValueError
        If a matrix has another shape, or the names of an axis are not unique.
    """
    labels = labelled(samples, genes, taken=matrices)
    expected = len(samples), len(genes)
    for name, matrix in matrices.items():
        if tuple(matrix.shape) != expected:
            found = f"{matrix.shape[0]:,} {SAMPLE}s x {matrix.shape[1]:,} {GENE}s"
            fail(
                f"the file is damaged: {name} has {found}, and there are names of {expected[0]:,} and "
                f"{expected[1]:,}"
            )
    return Source(labels, matrices)
