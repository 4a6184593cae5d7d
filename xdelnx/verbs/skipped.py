"""Genes that a fit left out because their chunks are damaged: marked in its result, and left out again later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.chunks.skipping import Damage, runs
from xdelnx.errors import warn
from xdelnx.messages import counted, fail, listing
from xdelnx.schema import GENE
from xdelnx.status import Status
from xdelnx.verbs.inputs import as_flag

NUMBER, REASON = "n_unreadable", "unreadable"
"""Attributes of a fit that was to leave such genes out: how many it did, and why."""

NAMED = 20  # blocks, each with its reason


def as_skipping(value: Any, *, compute: bool) -> bool:
    """Return whether to leave out genes whose chunks are damaged; raise ValueError where that cannot be known."""
    skip = as_flag(value, "skip_corrupt")
    if skip and not compute:
        fail(
            "skip_corrupt=True reads the counts to know which genes are left out, and compute=False reads none; leave "
            "out one of them"
        )
    return skip


def marked(dataset: xr.Dataset, skipped: Sequence[Damage]) -> xr.Dataset:
    """Give the genes that were left out their status, say so in the attributes, and warn."""
    genes = dataset[GENE].values
    for damage in skipped:
        dataset["status"].values[damage.genes] = Status.UNREADABLE
    number = sum(damage.stop - damage.start for damage in skipped)
    reasons = [
        f"{damage.reason} (genes {genes[damage.start]} to {genes[damage.stop - 1]})" for damage in skipped
    ]
    if number:
        warn(
            f"{counted(number, 'gene')} of {genes.size:,} cannot be read and were left out (status unreadable): "
            f"{listing(reasons, 3)}"
        )
    said = "; ".join([*reasons[:NAMED], *(["..."] if len(reasons) > NAMED else [])])
    return dataset.assign_attrs({NUMBER: number, REASON: said})


def of_groups(results: Iterable[xr.Dataset]) -> dict[str, Any]:
    """Attributes of fits of groups together: genes that any of them left out, and each reason once."""
    found = [result for result in results if NUMBER in result.attrs]
    if not found:
        return {}
    lost = np.any([result["status"].values == Status.UNREADABLE for result in found], axis=0)
    reasons = dict.fromkeys(result.attrs[REASON] for result in found if result.attrs[REASON])
    return {NUMBER: int(lost.sum()), REASON: "; ".join(reasons)}


def unreadable(fit: xr.Dataset) -> list[slice]:
    """Runs of genes that a fit left out; its status is looked at only where the attributes speak of some."""
    if not fit.attrs.get(NUMBER):
        return []
    return runs(np.asarray(fit["status"].values) == Status.UNREADABLE)
