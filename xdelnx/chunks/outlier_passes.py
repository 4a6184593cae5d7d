"""Passes that find counts to be replaced, before those of the fit itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import getitem
from typing import Any

import dask
from dask.delayed import Delayed

from xdelnx.chunks import passes
from xdelnx.chunks.blocks import Blocks
from xdelnx.steps.blockwise import FitPlan
from xdelnx.steps.gathered import AcrossGenes


def with_replaced(
    blocks: Blocks,
    plan: FitPlan,
    scale: Any,
    factors: Any,
    sample_offset: Any,
    dispersion: passes.Dispersion,
    options: AcrossGenes,
    settle: Callable[..., Any],
    call: Callable[..., Any],
) -> tuple[Blocks, FitPlan, Any, Any]:
    """Fit once, without contrasts, and replace the outliers among the counts of the blocks.

    Size factors that a fit centres are those of this one, so that counts are replaced on their scale.

    Parameters
    ----------
    blocks, plan, scale, dispersion, options, settle, call
        As for `xdelnx.chunks.passes.fit`.
    factors
        (sample,) size factors, lazy or not.
    sample_offset
        (sample,) natural log of a further scale, or None.

    Returns
    -------
    tuple
        Blocks, plan, scale and size factors for the fit to come.
    """
    alone = replace(plan, reduced=(), directions=None, cooks="mask")
    found = passes.fit(blocks, alone, scale, dispersion, options, [], settle, call)
    if plan.centred is not None:
        factors = _pick(found, "size_factor")
        scale = call(passes.rescaled, scale, factors, sample_offset, plan.layout)
    by_sample = dask.delayed(passes.by_sample_scale)(factors, sample_offset)
    changed = replace(blocks, replaced=_pick(found, "replaced"), scale=by_sample)
    return changed, replace(plan, centred=None), scale, factors


def _pick(found: Any, name: str) -> Any:
    return dask.delayed(getitem)(found, name) if isinstance(found, Delayed) else found[name]
