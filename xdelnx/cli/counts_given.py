"""The counts a command is given: opened, whatever their dimensions are called, and how large they are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from xdelnx.messages import counted

if TYPE_CHECKING:
    import xarray as xr


def opened(args: argparse.Namespace, fitted: xr.Dataset | None = None) -> xr.Dataset:
    """COUNTS of a command, with our dimensions; as a fit has them, where there is one.

    The names that --sample and --gene say, or that the fit has, are those of whatever is made of them.
    """
    from xdelnx.storage.counts_at import open_data
    from xdelnx.storage.dimensions import names_of
    from xdelnx.verbs.fitted import options_of

    counts = args.counts if fitted is None else options_of(fitted)["counts"]
    names: dict[str, Any] = {} if fitted is None else dict(names_of(fitted.attrs))
    names |= {dim: vars(args)[dim] for dim in ("sample", "gene") if vars(args).get(dim) is not None}
    return open_data(args.data, counts=counts, **names)


def size(counts: xr.DataArray) -> str:
    """Samples, genes and chunks in words."""
    chunks = f" in {counted(counts.data.numblocks[1], 'chunk')} of genes" if counts.chunks else ""
    return f"{sizes(counts)}{chunks}"


def sizes(values: Any) -> str:
    """Samples and genes in words, whatever these dimensions are called."""
    return f"{number(values, 'sample'):,} samples x {number(values, 'gene'):,} genes"


def number(values: Any, dim: str) -> int:
    """Length of a dimension that is ours, whatever it is called."""
    from xdelnx.storage.dimensions import names_of

    return int(values.sizes[names_of(values.attrs).get(dim, dim)])
