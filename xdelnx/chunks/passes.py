"""The passes over the data as a Dask graph: one task a block and pass, small results gathered.

A task gets its counts as NumPy and returns NumPy: whatever a device needs is moved inside the
task. Labels are put on elsewhere. With `xdelnx.chunks.blocks` the only module that knows Dask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

from xdelnx.algorithms.basis import Layout
from xdelnx.algorithms.centring import Directions, shift_of_kinds
from xdelnx.algorithms.compressed import Block, compress
from xdelnx.algorithms.covariate import CovariateNodes, covariate_nodes
from xdelnx.algorithms.matrices import as_matrix
from xdelnx.algorithms.scaling import UNUSABLE
from xdelnx.algorithms.survey import Survey, checked, join, look
from xdelnx.algorithms.weighting import Entries, parts
from xdelnx.algorithms.zeros import SampleScale, sample_scale
from xdelnx.chunks import tasks
from xdelnx.chunks.blocks import Blocks, as_it_is
from xdelnx.chunks.devices import computed
from xdelnx.progress import stage
from xdelnx.status import Status
from xdelnx.steps import blockwise as steps
from xdelnx.steps import gathered
from xdelnx.steps.bias_adjusted import adjust_step
from xdelnx.steps.bias_adjusted import shrunken as shrunken_deviances
from xdelnx.steps.outliers import cooks_step, flagged


def survey(blocks: Blocks, genes: np.ndarray) -> Delayed:
    """Look at every count once; raises on what cannot be counts, when computed."""
    looks = tasks.of_blocks(blocks, "survey", look, blocks.read())
    return dask.delayed(checked)(tasks.joined(looks, join), genes)


@dataclass(frozen=True)
class Scale:
    """The exponential of the offset: a size factor a sample, times a per-entry part that blocks bring.

    Parameters
    ----------
    samples
        Size factor times the exponential of a per-sample offset.
    mean
        Mean of the exponential of the whole offset over samples and genes; with weights over genes alone,
        (sample,) by kind.
    factors
        (sample,) size factors alone.
    nodes
        What may stand for the samples along a covariate, or None.
    """

    samples: SampleScale
    mean: float | np.ndarray
    factors: np.ndarray
    nodes: CovariateNodes | None = None

    def block(self, counts: Any, with_them: np.ndarray | Entries | None) -> Block:
        """Put the counts of a block (sample, gene), their own offset, and weights together with it."""
        offset, weights = parts(with_them)
        nodes = self.nodes if offset is None and weights is None else None
        return Block(as_matrix(counts), self.samples, offset, weights=weights, nodes=nodes)


def fitted_scale(
    factors: np.ndarray,
    sample_offset: np.ndarray | None,
    layout: Layout,
    at_nodes: bool = True,  # noqa: FBT001, FBT002 - Delayed passes it by position
) -> Scale:
    """Scale of a fit that is there already, whose mean is not needed again; ``at_nodes`` where these may be used."""
    by_kind = by_sample_scale(factors, sample_offset)[layout.order]
    nodes = covariate_nodes(layout, by_kind) if at_nodes else None
    return Scale(sample_scale(by_kind, layout.starts), np.nan, factors, nodes)


def make_scale(
    factors: np.ndarray,
    sample_offset: np.ndarray | None,
    layout: Layout,
    seen: Survey,
    per_entry: bool,  # noqa: FBT001 - Delayed passes it by position
    weighted: bool = False,  # noqa: FBT001, FBT002
    at_nodes: bool = True,  # noqa: FBT001, FBT002
) -> Scale:
    """Combine size factors (sample,), a per-sample offset (natural log) and the per-entry one's sums."""
    by_sample = by_sample_scale(factors, sample_offset)
    whole = by_sample * seen.offset_scale if per_entry else by_sample
    n_genes = seen.expressed.sum() if per_entry else 1
    mean = whole[layout.order] / n_genes if weighted else float(np.mean(whole) / n_genes)
    return replace(fitted_scale(factors, sample_offset, layout, at_nodes), mean=mean)


def rescaled(scale: Scale, factors: np.ndarray, sample_offset: np.ndarray | None, layout: Layout) -> Scale:
    """Scale with other size factors, whose mean is what it was."""
    return replace(fitted_scale(factors, sample_offset, layout), mean=scale.mean)


def by_sample_scale(factors: np.ndarray, sample_offset: np.ndarray | None) -> np.ndarray:
    """Size factor times the exponential of a per-sample offset: (sample,)."""
    return factors if sample_offset is None else factors * np.exp(sample_offset)


@dataclass(frozen=True)
class Dispersion:
    """Where the overdispersion comes from.

    Parameters
    ----------
    estimate
        Estimated for each gene.
    shared
        One for all genes, estimated.
    given
        (gene,) or one number, as given; None where it is estimated.
    """

    estimate: bool = True
    shared: bool = False
    given: np.ndarray | float | None = None


def fit(
    blocks: Blocks,
    plan: steps.FitPlan,
    scale: Scale | Delayed,
    dispersion: Dispersion,
    options: gathered.AcrossGenes,
    contrasts: Sequence[np.ndarray],
    settle: Callable[..., Any],
    call: Callable[..., Any],
) -> Any:
    """Both passes and the step between them: a dict of result arrays by gene.

    ``settle`` computes each pass as it is made, so that no block outlives it, and ``call`` what is between them;
    or they leave all of it in one graph.
    """
    scale, firsts, middle = _first_pass(blocks, plan, scale, dispersion, options, settle, call)
    theta = call(_theta, middle)
    reads, bounds = blocks.read(after=theta), blocks.bounds
    constants, at = (as_it_is(plan), as_it_is(scale)), as_it_is(theta)
    arguments = (
        (*constants, *read, at, (genes.start, genes.stop), as_it_is(first))
        for read, genes, first in zip(reads, bounds, firsts, strict=True)
    )
    refits = settle(tasks.of_blocks(blocks, "refit", _refit_block, arguments), "fit, pass 2 of 2")
    result = call(_finish, options, middle, refits, list(contrasts))
    return result if plan.centred is None else call(_with_factors, result, scale)


def _first_pass(
    blocks: Blocks,
    plan: steps.FitPlan,
    scale: Any,
    dispersion: Dispersion,
    options: gathered.AcrossGenes,
    settle: Callable[..., Any],
    call: Callable[..., Any],
) -> tuple[Any, list[Any], Any]:
    """First fit of every gene and the step across genes; scale and start of the second pass, centred if planned so."""
    constants = as_it_is(plan), as_it_is(scale)
    arguments = (
        (*constants, *read, _part(dispersion.given, genes), dispersion.estimate, blocks.kept)
        for read, genes in zip(blocks.read(after=scale), blocks.bounds, strict=True)
    )
    firsts = settle(tasks.of_blocks(blocks, "fit", _fit_block, arguments), "fit, pass 1 of 2")
    shared = _global_theta(blocks, constants, firsts, settle, call) if dispersion.shared else None
    middle = call(_across, options, firsts, shared)
    if plan.centred is not None:
        moved = call(_centre, plan.centred, plan, scale, firsts, middle)
        scale = call(_first, moved)
        firsts = [call(_moved_start, first, moved) for first in firsts]
    return scale, firsts, middle


def centred_scale(
    blocks: Blocks,
    plan: steps.FitPlan,
    scale: Scale,
    dispersion: Dispersion,
    options: gathered.AcrossGenes,
    settle: Callable[..., Any],
    call: Callable[..., Any],
) -> Any:
    """Scale with the size factors that a fit of this plan, which centres them, would use."""
    return _first_pass(blocks, plan, scale, dispersion, options, settle, call)[0]


@stage("size factors, of all genes")
def _centre(
    directions: Directions,
    plan: steps.FitPlan,
    scale: Scale,
    firsts: list[steps.Arrays],
    middle: steps.Arrays,
) -> tuple[Scale, np.ndarray]:
    """Scale by size factors on which the genes that do not change are centred, and what that does to parameters."""
    b, variance = (np.concatenate([first[name] for first in firsts]) for name in ("b", "direction_variance"))
    shift = shift_of_kinds(directions, plan.layout, plan.basis, b, variance, middle)
    change = np.repeat(shift, plan.layout.sizes)
    usable = scale.factors[plan.layout.order] != UNUSABLE
    level = np.mean(change[usable])
    change = np.where(usable, np.exp(change - level), 1.0)
    factors = scale.factors.copy()
    factors[plan.layout.order] *= change
    moved = Scale(sample_scale(scale.samples.by_kind * change, plan.layout.starts), scale.mean, factors)
    return moved, plan.basis.parameters_of(shift - level)


def _first(moved: tuple[Scale, np.ndarray]) -> Scale:
    return moved[0]


def _moved_start(first: dict[str, Any], moved: tuple[Scale, np.ndarray]) -> dict[str, Any]:
    return first | {"b": first["b"] - moved[1]}


def _with_factors(result: steps.Arrays, scale: Scale) -> steps.Arrays:
    return result | {"size_factor": scale.factors}


def _theta(middle: steps.Arrays) -> np.ndarray:
    return middle["theta"]


def _part(given: np.ndarray | float | None, genes: slice) -> np.ndarray | None:
    if given is None:
        return None
    values = np.asarray(given, dtype=np.float64)
    return np.full(genes.stop - genes.start, values) if values.ndim == 0 else values[genes]


def _fit_block(
    plan: steps.FitPlan,
    scale: Scale,
    counts: np.ndarray,
    offset: np.ndarray | None,
    theta: np.ndarray | None,
    estimate: bool,  # noqa: FBT001 - Delayed passes it by position
    keep: bool,  # noqa: FBT001
) -> dict[str, Any]:
    """First pass over a block; ``keep`` what it makes of the counts for the second, as they are in memory anyway."""
    plan, block = replace(plan, mean_scale=scale.mean), scale.block(counts, offset)
    if not (keep and plan.backend.keeps):
        return computed(steps.fit_step, plan, block, theta, estimate=estimate)
    nodes = block.nodes if plan.by_nodes else None
    block = replace(block, compressed=compress(plan.backend, plan.layout, block, nodes))
    first = computed(steps.fit_step, plan, block, theta, estimate=estimate)
    return first | {"compressed": block.compressed}


def _global_theta(
    blocks: Blocks,
    constants: tuple[Any, ...],
    firsts: list[Any],
    settle: Callable[..., Any],
    call: Callable[..., Any],
) -> Any:
    """Two more passes: slopes of the summed likelihood on a grid, then between two of its points."""

    def slopes(name: str, points: Any, after: Any) -> Any:
        arguments = (
            (*constants, *read, as_it_is(first), points)
            for read, first in zip(blocks.read(after=after), firsts, strict=True)
        )
        return settle(tasks.of_blocks(blocks, name, _global_slopes, arguments), "overdispersion of all genes")

    coarse = slopes("slopes", gathered.GLOBAL_GRID, constants[1])
    nodes = call(gathered.nodes_for, coarse)
    return call(gathered.global_theta, nodes, coarse, slopes("finer", nodes, nodes))


def _global_slopes(
    plan: steps.FitPlan,
    scale: Scale,
    counts: np.ndarray,
    offset: np.ndarray | None,
    first: dict[str, Any],
    points: np.ndarray | None,
) -> np.ndarray:
    if points is None:
        return np.zeros((0, 0))
    block = replace(scale.block(counts, offset), compressed=first.get("compressed"))
    return computed(steps.global_score_step, plan, block, first["b"], points)


@stage("trend and prior, of all genes")
def _across(
    options: gathered.AcrossGenes, firsts: list[dict[str, Any]], shared: float | None
) -> steps.Arrays:
    mean = np.concatenate([first["mean"] for first in firsts])
    theta = np.concatenate([first["theta"] for first in firsts])
    if shared is not None:
        theta = np.where(np.isnan(mean), np.nan, shared)
    if "residual_df" not in firsts[0] or options.method == "edger":  # which has its own after the second pass
        return gathered.across_genes(options, mean, theta) | {"mean": mean}
    residual_df = np.concatenate([first["residual_df"] for first in firsts])
    across = gathered.across_genes(replace(options, residual_df=residual_df), mean, theta)
    return across | {"mean": mean, "residual_df": residual_df}


def _refit_block(
    plan: steps.FitPlan,
    scale: Scale,
    counts: np.ndarray,
    offset: np.ndarray | None,
    theta: np.ndarray,
    genes: tuple[int, int],
    first: dict[str, Any],
) -> steps.Arrays:
    block = replace(scale.block(counts, offset), compressed=first.get("compressed"))
    return computed(_refit, plan, block, theta[slice(*genes)], first)


def _refit(plan: steps.FitPlan, block: Block, at: np.ndarray, first: dict[str, Any]) -> steps.Arrays:
    result = steps.refit_step(plan, block, at, first)
    if plan.adjusted:
        result |= adjust_step(plan, block, at, result["beta"])
    if plan.cooks:
        result |= cooks_step(plan, block, at, result["beta"])
        result["status"] = flagged(result["status"], result["outlier"])
    return result


@stage("tests of all genes")
def _finish(
    options: gathered.AcrossGenes,
    middle: steps.Arrays,
    refits: list[steps.Arrays],
    contrasts: list[np.ndarray],
) -> steps.Arrays:
    result = gathered.joined(refits)
    if options.method == "edger":
        middle = middle | shrunken_deviances(middle["mean"], result, robust=options.robust)
    if "wald_df" in result:
        return gathered.with_cluster_statistics(middle, result, contrasts)
    shrunken = middle.get("ql_dispersion_shrunken")
    variance = result.pop("variance") * (1.0 if shrunken is None else shrunken[:, None])
    residual_df = (middle | result).get("residual_df", options.residual_df)
    df2 = gathered.denominator_df(residual_df, middle.get("prior_df"))
    statistics = gathered.contrast_statistics(
        contrasts,
        result["beta"],
        result["deviance"],
        result.pop("reduced_deviance"),
        result.pop("contrast_variance"),
        shrunken,
        df2,
        result["status"] != Status.OK,
    )
    middle = {name: values for name, values in middle.items() if name != "theta"}
    return result | middle | statistics | {"standard_error": np.sqrt(variance), "df2": df2}
