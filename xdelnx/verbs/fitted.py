"""From a design and its contrasts to the plan of a fit, and from a fit back to what more passes need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xdelnx.algorithms.basis import Layout, basis_of, layout_of
from xdelnx.algorithms.centring import Directions
from xdelnx.algorithms.penalties import make_penalty
from xdelnx.algorithms.sandwich import Clusters
from xdelnx.algorithms.subsampling import draw
from xdelnx.checks import json_object
from xdelnx.chunks import blocks, passes
from xdelnx.chunks.devices import at_nodes, block_entries
from xdelnx.chunks.faults import named_by
from xdelnx.chunks.skipping import left_out
from xdelnx.designs.contrasts import Contrast
from xdelnx.designs.design import Design, design_from_result
from xdelnx.messages import counted, fail, listing, shown
from xdelnx.schema import GENE, SAMPLE, VARIABLES
from xdelnx.steps.blockwise import FitPlan, constrained, direction
from xdelnx.verbs import inputs
from xdelnx.verbs.inputs import GIVEN, Counts
from xdelnx.verbs.ridge_given import ridge_of
from xdelnx.verbs.skipped import unreadable

# Options of a fit that more passes look at, and what each may be: a store can have been edited.
REMEMBERED: dict[str, Any] = {
    "counts": str,
    **dict.fromkeys(("shrinkage", "cox_reid"), bool),
    **dict.fromkeys(("offset", "weights", "cooks", "adjust"), str | None),
    "ridge": int | float | list,
    "ridge_target": list | None,
    "cluster": str | list | None,
}
GENE_ARRAYS = ("theta", "beta", "deviance", "ql_dispersion_shrunken", "status", "df2")  # or numbers


def make_plan(
    model: Design,
    questions: Sequence[Contrast],
    *,
    ridge: Any,
    cox_reid: bool,
    device: str,
    threshold: float = 0.0,
    centred: Directions | None = None,
    cooks: str | None = None,
    clusters: np.ndarray | None = None,
    adjusted: bool = False,
    weights: Any = None,
    ridge_target: Any = None,
    subsample: int | None = None,
) -> FitPlan:
    """Plan a fit of the design that also answers the questions.

    With a threshold (natural log, above 0) each question has two reduced fits, with the contrast
    at plus and at minus the threshold; otherwise one, with the contrast at 0. With clusters
    (sample,), which are part of the kinds then, it has none. Weights (sample,) say how many samples a
    ridge penalty is in proportion to.
    """
    layout = layout_of(model.matrix, clusters)
    amounts = ridge_of(ridge, ridge_target, model)
    n_samples: float | None = model.matrix.shape[0]
    if weights is not None:
        n_samples = float(np.sum(weights)) if np.ndim(weights) == 1 else None
    basis = basis_of(layout, dense=amounts is not None)
    values = (threshold, -threshold) if threshold else (0.0,)
    return FitPlan(
        layout=layout,
        basis=basis,
        mean_scale=np.nan,
        cox_reid=cox_reid,
        penalty=make_penalty(basis, amounts, n_samples),
        reduced=tuple(
            constrained(layout, question.weights, value, amounts, n_samples)
            for question in questions
            for value in values
            if clusters is None
        ),
        directions=np.array([direction(basis, question.weights) for question in questions]).reshape(
            len(questions), basis.size
        ),
        centred=centred,
        clusters=None if clusters is None else _clusters(layout, clusters, questions),
        device=device,
        cooks="flag" if cooks else "",
        adjusted=adjusted,
        subsample=None if subsample is None else draw(layout, subsample, weights),
    )


def _clusters(layout: Layout, clusters: np.ndarray, questions: Sequence[Contrast]) -> Clusters:
    of_kinds = clusters[layout.order[layout.starts[:-1]]]
    return Clusters(of_kinds, tuple(question.weights for question in questions))


# ---- from a fit back to what more passes need ------------------------------------------------------------


@dataclass(frozen=True)
class Reopened:
    """A fit with the data it was made from, to be visited again.

    Parameters
    ----------
    table
        The counts.
    model
        The design.
    options
        Options of the fit, by name.
    offset
        Per sample and per entry, one of them or both None.
    arrays
        Results of the fit by name, lazy or not; ``theta`` is the overdispersion of its final pass,
        ``whole`` whether all genes of the fit are there.
    replaced
        (sample, gene): which counts the fit replaced; None for none.
    weights
        (sample,) or (sample, gene), or None.
    """

    table: Counts
    model: Design
    options: dict[str, Any]
    offset: tuple[np.ndarray | None, Any]
    arrays: dict[str, Any]
    replaced: Any = None
    weights: Any = None

    def plan(
        self,
        questions: Sequence[Contrast],
        device: str,
        threshold: float = 0.0,
        clusters: np.ndarray | None = None,
    ) -> FitPlan:
        """Plan of a pass that answers the questions."""
        options: dict[str, Any] = {
            name: self.options.get(name) for name in ("ridge", "ridge_target", "cox_reid")
        }
        return make_plan(
            self.model,
            questions,
            **options,
            device=device,
            threshold=threshold,
            clusters=clusters,
            weights=self.weights,
        )

    def scale(self, plan: FitPlan) -> Any:
        """Scale of the samples, when it is needed."""
        given = self.arrays["size_factor"], self.offset[0], plan.layout, at_nodes(plan.device)
        return blocks.lazily(passes.fitted_scale, *given)

    def blocks(self, device: str = "cpu") -> blocks.Blocks:
        """Counts in blocks of genes for that device, with those replaced that the fit did."""
        entries = block_entries(device)
        found = blocks.gene_blocks(self.table.array, self.offset[1], self.weights, entries=entries)
        if self.replaced is None:
            return found
        scale = blocks.lazily(passes.by_sample_scale, self.arrays["size_factor"], self.offset[0])
        return replace(found, replaced=self.replaced.T, scale=scale)

    def settled(self, result: Any, what: str) -> Any:
        """Compute what a visit gives, and say by name at which genes something went wrong."""
        with named_by(self.table.genes):
            return blocks.settled(result, what)

    def take(self, genes: np.ndarray) -> Reopened:
        """Only the genes at these positions."""
        by_sample, by_entry = self.offset
        table = replace(self.table, array=self.table.array[:, genes], genes=self.table.genes[genes])
        arrays = {
            name: values[genes] if name in GENE_ARRAYS and np.ndim(values) else values
            for name, values in self.arrays.items()
        }
        times = np.unique(genes, return_counts=True)[1]
        arrays["whole"] = bool(arrays["whole"]) and times.size == self.table.genes.size == genes.size
        arrays["library_size"] = arrays["library_size"] * times.max()  # genes named twice add up to more
        offset = by_sample, None if by_entry is None else by_entry[:, genes]
        replaced = None if self.replaced is None else self.replaced[:, genes]
        weights = self.weights[:, genes] if np.ndim(self.weights) == 2 else self.weights
        return replace(self, table=table, arrays=arrays, offset=offset, replaced=replaced, weights=weights)


def reopen(data: Any, fit: Any) -> Reopened:
    """Put a fit and its data together again.

    Raises
    ------
    ValueError, TypeError
        The one is no fit, or the other is not what it was made from.
    """
    _check_fit(fit)
    options = options_of(fit)
    _check_whole(fit, options)
    table = inputs.as_counts(data, options["counts"])
    _check_same(table, fit)
    offset = fit["offset"] if options["offset"] == GIVEN else options["offset"]
    by_sample, by_entry, _ = inputs.as_offset(offset, table)
    weights = fit["weights"] if options.get("weights") == GIVEN else options.get("weights")
    sources = _sources(options).items()
    arrays = {name: fit[source].transpose(*_dims(fit, source)).data for name, source in sources}
    arrays["whole"] = table.genes.size == fit.attrs.get("n_genes", table.genes.size)
    replaced = fit["replaced"].transpose(SAMPLE, GENE).data if options.get("cooks") == "replace" else None
    weights, _ = inputs.as_weights(weights, table)
    counts, by_entry, weights = left_out(unreadable(fit), table.array, by_entry, weights)
    table, offsets = replace(table, array=counts), (by_sample, by_entry)
    return Reopened(table, design_from_result(fit), options, offsets, arrays, replaced, weights)


def options_of(fit: xr.Dataset) -> dict[str, Any]:
    """Options of a fit, by name.

    Raises
    ------
    ValueError
        If the attribute is gone, or is not what a fit writes.
    """
    if "options" not in fit.attrs:
        fail(
            "the fit has lost its attribute 'options', as in arithmetic on Datasets; pass it as xdelnx.fit returned it"
        )
    options = json_object(fit.attrs, "options")
    for name, kinds in REMEMBERED.items():
        if not isinstance(options.get(name), kinds):
            fail(f"the attribute 'options' of the fit is damaged: {name!r} is {shown(options.get(name))}")
    return options


def _check_fit(fit: Any) -> None:
    if not isinstance(fit, xr.Dataset):
        path = repr(fit) if isinstance(fit, str) else "path"
        msg = (
            f"fit is the Dataset that xdelnx.fit returned, received {type(fit).__name__}; one that is stored opens "
            f"with xarray.open_zarr({path})"
        )
        raise TypeError(msg)
    if "beta" not in fit and "deviance" not in fit and "pval" in fit:
        fail("this is what xdelnx.test returned; pass the fit that it was made from")
    if "beta" not in fit and "counts" in fit:
        fail("this Dataset holds counts, not a fit; the order is test(data, fit)")


def _check_whole(fit: xr.Dataset, options: dict[str, Any]) -> None:
    needed = [*_sources(options).values(), "design"]
    needed += [name for name in ("offset", "weights") if options.get(name) == GIVEN]
    needed += ["replaced"] if options.get("cooks") == "replace" else []
    missing = [name for name in needed if name not in fit]
    if "by" in options:
        fail(
            f"the fit was made with by={options['by']!r}, whose groups have designs of their own; ask for the "
            "contrasts in fit(..., by=, contrasts=), or fit one group's samples"
        )
    if missing:
        fail(f"the Dataset is not a whole fit, it lacks {listing(missing)}; pass what xdelnx.fit returned")
    words = [name for name in needed if fit[name].dtype.kind not in "biuf"]
    if words:
        fail(f"the fit is damaged: {listing(words)} does not hold numbers; pass what xdelnx.fit returned")


def _check_same(table: Counts, fit: xr.Dataset) -> None:
    for dim, names in ((SAMPLE, table.samples.index), (GENE, table.genes)):
        fitted, given = fit.get_index(dim).astype(object), _as_results_have_them(pd.Index(names))
        if fitted.equals(given):
            continue
        if fitted.size == given.size and fitted.isin(given).all():
            fail(
                f"the {dim}s of the data are in another order than those of the fit; use data.sel({dim}=fit.{dim})"
            )
        fail(
            f"the data has {counted(given.size, dim)} ({listing(given, 2)}) and the fit {counted(fitted.size, dim)} "
            f"({listing(fitted, 2)}); pass the counts the fit was made from"
        )


def _as_results_have_them(names: pd.Index) -> pd.Index:
    """Names as objects; those of several levels, which are tuples, as text."""
    return (names.map(str) if isinstance(names[0], tuple) else names).astype(object)


def _dims(fit: xr.Dataset, name: str) -> tuple[Any, ...]:
    """Dimensions of a variable by the schema; of one that may be by gene or a number, as they are."""
    return fit[name].dims if VARIABLES[name].by_gene else VARIABLES[name].dims


def _sources(options: dict[str, Any]) -> dict[str, str]:
    """Arrays that more passes need, and the variable of the fit that each of them is."""
    shrinkage = options["shrinkage"]
    names = ["beta", "deviance", "df2", "status", "library_size", "size_factor"]
    if options.get("cluster"):  # each contrast has degrees of freedom of its own
        names.remove("df2")
    names += ["ql_dispersion_shrunken"] if shrinkage else []
    return {name: name for name in names} | {"theta": "dispersion_trend" if shrinkage else "dispersion"}
