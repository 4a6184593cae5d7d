"""One fit for each group of samples, such as each cell type, in one Dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.chunks import journal
from xdelnx.designs.contrasts import resolve_contrasts
from xdelnx.designs.design import build_design
from xdelnx.errors import warn
from xdelnx.messages import counted, fail, listing, shown
from xdelnx.progress import stage
from xdelnx.schema import COEFFICIENT, CONTRAST, COORDINATES, RESTRICTION, SAMPLE, VARIABLES, annotate
from xdelnx.status import Status
from xdelnx.storage.stores import zarr_safe
from xdelnx.verbs import inputs
from xdelnx.verbs.aggregation import group_samples
from xdelnx.verbs.clustering import clusters_of
from xdelnx.verbs.groups_compared import compared_otherwise
from xdelnx.verbs.inputs import Counts
from xdelnx.verbs.ridge_given import as_ridge
from xdelnx.verbs.skipped import of_groups
from xdelnx.verbs.weights_given import weights_of

GROUP_STATUS = {0: "fitted", 1: "not_fitted"}


def fit_by_group(
    fit: Callable[..., xr.Dataset],
    data: Any,
    design: Any,
    *,
    by: str,
    reference: Any,
    contrasts: Any,
    size_factors: Any,
    offset: Any,
    weights: Any,
    counts: str,
    **options: Any,
) -> xr.Dataset:
    """Fit the samples of each group on their own, and join the results along a dimension named as the column.

    Parameters
    ----------
    fit
        `xdelnx.fit`.
    by
        Column of the samples.
    data, design, reference, contrasts, size_factors, offset, weights, counts, options
        Arguments of `xdelnx.fit`.
    """
    table = inputs.as_counts(data, counts)
    _check(by, design)
    groups = group_samples(table, by)
    results: dict[str, xr.Dataset] = {}
    notes: dict[str, str] = {}
    rows_of = {name: np.flatnonzero(groups.codes == i) for i, name in enumerate(groups.names)}
    for name, rows in rows_of.items():
        part, of_group = table.dataset.isel({SAMPLE: rows}), _weights_of(weights, table, rows)
        notes[name] = _why_not(part, design, reference, contrasts, of_group, counts, options)
    fine = {name: rows for name, rows in rows_of.items() if not notes[name]}
    notes |= compared_otherwise(table.samples, fine, design, reference, contrasts)
    for i, (name, rows) in enumerate(rows_of.items()):
        if notes[name]:
            continue
        far = f"{name} ({i + 1} of {len(groups.names)})"
        with journal.part(f"group{i}"), stage(far, heading=True):
            results[name] = fit(
                table.dataset.isel({SAMPLE: rows}),
                design,
                reference=reference,
                contrasts=contrasts,
                size_factors=_factors_of(size_factors, table, rows),
                offset=_offset_of(offset, table, rows),
                weights=_weights_of(weights, table, rows),
                counts=counts,
                **options | {"subsample": _at_most(options["subsample"], rows.size)},
            )
    _report(by, notes)
    dataset = _joined(results, by, list(notes)).drop_attrs(deep=False)
    attributes = _attributes(next(iter(results.values())).attrs, by) | of_groups(results.values())
    return zarr_safe(
        dataset.merge(
            _about(by, notes, groups.sizes), compat="override", combine_attrs="override"
        ).assign_attrs(attributes)
    )


def _check(by: Any, design: Any) -> None:
    if not isinstance(by, str):
        msg = f"by is the name of a column of the samples, whose groups are fitted on their own; received {shown(by)}"
        raise TypeError(msg)
    if by in VARIABLES or by in COORDINATES or by == RESTRICTION:
        fail(f"by={by!r} is a name that a result uses itself; rename that column")
    if not isinstance(design, str):
        msg = f"with by= the design is a formula, which each group's samples fill in; received {type(design).__name__}"
        raise TypeError(msg)


def _why_not(
    part: xr.Dataset,
    design: str,
    reference: Any,
    contrasts: Any,
    weights: Any,
    counts: str,
    options: Mapping[str, Any],
) -> str:
    """Why the samples of a group cannot answer the question; an empty string if they can."""
    if part.sizes[SAMPLE] < 2:
        return "there is one sample: a fit needs at least two"
    table = inputs.as_counts(part, counts)
    try:
        inputs.check_columns(design, table)
        model = build_design(table.samples, design, reference=reference)
        asked = () if contrasts is None else resolve_contrasts(model, contrasts, samples=table.samples)
        clusters_of(table, options["cluster"], model, asked)
        weights_of(table, weights, model)
        as_ridge(options["ridge"], options["ridge_target"], model)
    except ValueError as reason:
        return str(reason)
    return ""


def _factors_of(size_factors: Any, table: Counts, rows: np.ndarray) -> Any:
    if size_factors is None or isinstance(size_factors, str):
        return size_factors
    return inputs.positive_per_sample(size_factors, table, "size_factors")[rows]


def _offset_of(offset: Any, table: Counts, rows: np.ndarray) -> Any:
    if offset is None or isinstance(offset, str):
        return offset
    by_sample, by_entry, _ = inputs.as_offset(offset, table)
    return by_entry[rows] if by_sample is None else by_sample[rows]


def _weights_of(weights: Any, table: Counts, rows: np.ndarray) -> Any:
    if weights is None or isinstance(weights, str):
        return weights
    return inputs.as_weights(weights, table)[0][rows]


def _at_most(subsample: Any, n_samples: int) -> Any:
    """Samples to draw of a group: all of them where it has no more."""
    fewer = (
        isinstance(subsample, int | np.integer) and not isinstance(subsample, bool) and subsample > n_samples
    )
    return None if fewer else subsample


def _report(by: str, notes: dict[str, str]) -> None:
    """Warn of groups that were not fitted; raise if none was."""
    failed = [f"{name} ({note})" for name, note in notes.items() if note]
    if len(failed) == len(notes):
        fail(f"no group of {by!r} can be fitted: {listing(failed, 3)}")
    if failed:
        warn(
            f"{len(failed)} of {counted(len(notes), 'group')} of {by!r} were not fitted and are NaN: "
            f"{listing(failed, 5)}"
        )


def _joined(results: dict[str, xr.Dataset], by: str, names: list[str]) -> xr.Dataset:
    """Put results side by side; what a group lacks (a coefficient, a contrast, the whole fit) is NaN."""
    parts = [result.drop_dims(SAMPLE) for result in results.values()]
    for dim in (COEFFICIENT, CONTRAST):
        if dim in parts[0].dims:
            labels = _union(part[dim].values for part in parts)
            parts = [
                part if part.get_index(dim).equals(labels) else part.reindex({dim: labels}) for part in parts
            ]
    if RESTRICTION in parts[0].dims:
        most = max(part.sizes[RESTRICTION] for part in parts)
        parts = [part.pad({RESTRICTION: (0, most - part.sizes[RESTRICTION])}) for part in parts]
    joined = xr.concat(
        parts,
        pd.Index(list(results), name=by, dtype=object),
        data_vars="all",
        coords="minimal",
        compat="override",
        join="exact",
        combine_attrs="override",
    )
    if len(results) == len(names):
        return joined
    missing = {"status": np.int8(Status.GROUP_NOT_FITTED), "iterations": 0}
    fill = {name: missing.get(str(name), np.nan) for name in joined.data_vars}
    return joined.reindex({by: pd.Index(names, dtype=object)}, fill_value=fill)


def _union(labels: Iterable[np.ndarray]) -> pd.Index:
    """Every label once, in the order of the group that has the most of them; what this lacks comes last."""
    most_first = sorted(labels, key=len, reverse=True)
    return pd.Index(list(dict.fromkeys(label for some in most_first for label in some)), dtype=object)


def _about(by: str, notes: dict[str, str], sizes: np.ndarray) -> xr.Dataset:
    """Say what became of each group."""
    about = xr.Dataset(
        {
            "group_status": (by, np.array([bool(note) for note in notes.values()], dtype=np.int8)),
            "group_note": (by, np.array(list(notes.values()), dtype=object)),
            "n_samples": (by, sizes),
        },
        {by: np.array(list(notes), dtype=object)},
    )
    about["group_status"].attrs |= {
        "flag_values": list(GROUP_STATUS),
        "flag_meanings": " ".join(GROUP_STATUS.values()),
    }
    about[by].attrs["long_name"] = "group of samples that was fitted on its own"
    return annotate(about)


def _attributes(of_one: dict[str, Any], by: str) -> dict[str, Any]:
    """Attributes of the whole, from those of one group's fit."""
    options = json.loads(of_one["options"]) | {"by": by}
    # groups may differ in the levels that they have
    kept = {key: value for key, value in of_one.items() if key != "design_terms"}
    return kept | {"options": json.dumps(options)}
