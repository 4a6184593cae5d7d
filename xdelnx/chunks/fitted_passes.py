"""One more pass over the data of a fit that is there: tests of contrasts, covariances of coefficients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

from xdelnx.algorithms.outcomes import status_of_test
from xdelnx.algorithms.survey import Survey, checked, join, look
from xdelnx.chunks import tasks
from xdelnx.chunks.blocks import Blocks
from xdelnx.chunks.devices import computed
from xdelnx.chunks.passes import Scale, survey
from xdelnx.messages import fail
from xdelnx.status import Status
from xdelnx.steps import blockwise as steps
from xdelnx.steps import gathered
from xdelnx.steps.covariances import covariance_step


def test(
    blocks: Blocks,
    plan: steps.FitPlan,
    scale: Any,
    fitted: dict[str, Any],
    contrasts: Sequence[np.ndarray],
    genes: np.ndarray,
    threshold: float,
) -> Delayed:
    """One pass for contrasts of a fit; ``fitted`` holds its arrays, lazy or not, by name.

    With a threshold (natural log), for effects above it: the plan has two reduced fits a contrast.

    Computing it raises where the counts are no counts, or not those of the fit (by library size).
    """
    constants = dask.delayed(plan, traverse=False), scale
    arrays = _present(fitted)
    reduced = [
        dask.delayed(_test_block)(*constants, *read, arrays, (part.start, part.stop))
        for read, part in zip(blocks.read(after=arrays), blocks.bounds, strict=True)
    ]
    parts = tasks.joined(reduced, _joined_parts)
    return dask.delayed(_test_finish)(arrays, parts, list(contrasts), genes, threshold)


test.__test__ = False  # type: ignore[attr-defined]  # its name is not meant for pytest


def _test_block(
    plan: steps.FitPlan,
    scale: Scale,
    counts: np.ndarray,
    offset: np.ndarray | None,
    fitted: steps.Arrays,
    genes: tuple[int, int],
) -> tuple[Survey, steps.Arrays]:
    part, block = slice(*genes), scale.block(counts, offset)
    seen = look(block.counts, offset)
    if seen.usable:
        return seen, computed(steps.test_step, plan, block, fitted["theta"][part], fitted["beta"][part])
    return seen, {}


def _joined_parts(parts: list[tuple[Survey, steps.Arrays]]) -> tuple[Survey, steps.Arrays]:
    seen = join([look_at for look_at, _ in parts])
    return seen, gathered.joined([arrays for _, arrays in parts]) if seen.usable else {}


def _test_finish(
    fitted: steps.Arrays,
    parts: tuple[Survey, steps.Arrays],
    contrasts: list[np.ndarray],
    genes: np.ndarray,
    threshold: float,
) -> steps.Arrays:
    reduced = parts[1]
    _check_totals(checked(parts[0], genes), fitted)
    if "wald_df" in reduced:
        status = status_of_test(fitted["status"], reduced["reduced_converged"])
        return gathered.cluster_statistics(contrasts, fitted["beta"], reduced, threshold) | {"status": status}
    shrunken, df2 = fitted.get("ql_dispersion_shrunken"), np.asarray(fitted["df2"])
    statistics = gathered.contrast_statistics(
        contrasts,
        fitted["beta"],
        fitted["deviance"],
        reduced["reduced_deviance"],
        reduced["contrast_variance"],
        shrunken,
        df2,
        fitted["status"] != Status.OK,
        threshold,
    )
    return statistics | {"status": status_of_test(fitted["status"], reduced["reduced_converged"])}


def same_counts(blocks: Blocks, fitted: dict[str, Any], genes: np.ndarray) -> Delayed:
    """One pass that raises, when it is computed, where the counts are no counts, or not those of the fit."""
    return dask.delayed(_check_totals)(survey(blocks, genes), _present(fitted))


def _check_totals(seen: Survey, fitted: steps.Arrays) -> None:
    if not _same_totals(seen.totals, fitted["library_size"], whole=bool(fitted["whole"])):
        fail("these are not the counts the fit was made from: the samples have other totals; pass those")


def _same_totals(totals: np.ndarray, library_size: np.ndarray, *, whole: bool) -> bool:
    """Whether the samples add up to what the fit saw, or to no more than that if only some genes are here."""
    if whole:
        return np.allclose(totals, library_size, rtol=1e-9, atol=0.0)
    return bool(np.all(totals <= library_size * (1.0 + 1e-9)))


def covariance(blocks: Blocks, plan: steps.FitPlan, scale: Any, fitted: dict[str, Any]) -> Delayed:
    """One pass for the ``covariance`` (gene, coefficient, coefficient) of a fit, quasi-likelihood scaled."""
    constants = dask.delayed(plan, traverse=False), scale
    arrays = _present(fitted)
    parts = [
        dask.delayed(_covariance_block)(*constants, *read, arrays, (part.start, part.stop))
        for read, part in zip(blocks.read(after=arrays), blocks.bounds, strict=True)
    ]
    return dask.delayed(gathered.joined)(parts)


def _covariance_block(
    plan: steps.FitPlan,
    scale: Scale,
    counts: np.ndarray,
    offset: np.ndarray | None,
    fitted: steps.Arrays,
    genes: tuple[int, int],
) -> steps.Arrays:
    part, block = slice(*genes), scale.block(counts, offset)
    at = fitted["theta"][part], fitted["beta"][part]
    unscaled = computed(covariance_step, plan, block, *at)["covariance"]
    if "ql_dispersion_shrunken" not in fitted or plan.clusters is not None:
        return {"covariance": unscaled}
    return {"covariance": unscaled * fitted["ql_dispersion_shrunken"][part, None, None]}


def by_gene(
    blocks: Blocks, plan: steps.FitPlan, scale: Any, fitted: dict[str, Any], step: Callable[..., Any]
) -> list[Delayed]:
    """One pass for what a step says of each block: ``step(plan, block, theta, beta, (start, stop))``."""
    constants = step, dask.delayed(plan, traverse=False), scale
    arrays = _present({name: fitted[name] for name in ("theta", "beta")})
    return [
        dask.delayed(_gene_block)(*constants, *read, arrays, (part.start, part.stop))
        for read, part in zip(blocks.read(after=arrays), blocks.bounds, strict=True)
    ]


def _gene_block(
    step: Callable[..., Any],
    plan: steps.FitPlan,
    scale: Scale,
    counts: np.ndarray,
    offset: np.ndarray | None,
    fitted: steps.Arrays,
    genes: tuple[int, int],
) -> Any:
    part, block = slice(*genes), scale.block(counts, offset)
    theta = np.broadcast_to(fitted["theta"], fitted["beta"].shape[:1])[part]
    return computed(step, plan, block, theta, fitted["beta"][part], genes)


def _present(fitted: dict[str, Any]) -> Delayed:
    return dask.delayed(dict)({name: values for name, values in fitted.items() if values is not None})
