"""From a fit back to the arguments that it was made with."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from xdelnx.messages import fail, listing
from xdelnx.verbs.fitted import options_of
from xdelnx.verbs.inputs import GIVEN


def arguments_of(result: xr.Dataset, name: str) -> dict[str, Any]:
    """Arguments of `xdelnx.fit`, but for the data, that made this result; ``name`` is what errors call it.

    Raises
    ------
    ValueError
        The fit was handed arrays, which its options do not hold, or a matrix for a design.
    """
    options = options_of(result)
    handed = [option for option, value in options.items() if value == GIVEN]
    formula = result.attrs.get("design_formula")
    if not formula:
        handed.insert(0, "design")
    if handed:
        fail(
            f"{name} was fitted in Python with arrays for {listing(handed)}, which are not among its options; repeat "
            "it there, or put them in the store of counts as variables and name these"
        )
    reference = json.loads(result.attrs.get("design_reference", "{}"))
    if options["size_factors"] == "none":
        options["size_factors"] = None
    return {"design": formula, "reference": reference or None, "device": "auto"} | {"by": None} | options
