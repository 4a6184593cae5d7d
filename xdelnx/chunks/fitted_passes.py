"""One more pass over the data of a fit that is there: tests of contrasts, covariances of coefficients, residuals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

from xdelnx.algorithms.outcomes import status_of_test
from xdelnx.algorithms.survey import Survey, checked_counts, join, look
from xdelnx.chunks import tasks
from xdelnx.chunks.blocks import Blocks
from xdelnx.chunks.devices import computed
from xdelnx.chunks.passes import Scale, survey
from xdelnx.messages import fail
from xdelnx.status import Status
from xdelnx.steps import blockwise as steps
from xdelnx.steps import gathered
from xdelnx.steps.covariances import covariance_step

Step = Callable[..., Any]


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
    reduced = gathered_visits(visits(blocks, plan, scale, fitted, _same_step(steps.test_step)), fitted, genes)
    return dask.delayed(_test_finish)(_present(fitted), reduced, list(contrasts), threshold)


test.__test__ = False  # type: ignore[attr-defined]  # its name is not meant for pytest


def _test_finish(
    fitted: steps.Arrays, reduced: steps.Arrays, contrasts: list[np.ndarray], threshold: float
) -> steps.Arrays:
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


def covariance(
    blocks: Blocks, plan: steps.FitPlan, scale: Any, fitted: dict[str, Any], genes: np.ndarray
) -> Delayed:
    """One pass for the ``covariance`` (gene, coefficient, coefficient) of a fit, quasi-likelihood scaled."""
    found = gathered_visits(visits(blocks, plan, scale, fitted, _same_step(covariance_step)), fitted, genes)
    dispersion = fitted.get("ql_dispersion_shrunken") if plan.clusters is None else None
    return dask.delayed(_scaled)(found, 1.0 if dispersion is None else dispersion)


def _scaled(found: steps.Arrays, dispersion: np.ndarray | float) -> steps.Arrays:
    return {"covariance": found["covariance"] * np.reshape(dispersion, (-1, 1, 1))}


def same_counts(blocks: Blocks, fitted: dict[str, Any], genes: np.ndarray) -> Delayed:
    """One pass that raises, when it is computed, where the counts are no counts, or not those of the fit."""
    return dask.delayed(_check_totals)(survey(blocks, genes), _present(fitted))


# ---- one visit to each block of counts -------------------------------------------------------------------


def visits(
    blocks: Blocks, plan: steps.FitPlan, scale: Any, fitted: dict[str, Any], step_of: Callable[[slice], Step]
) -> list[Delayed]:
    """What the step for each block's genes says of it, ``step(plan, block, theta, beta)``, with a `Survey`."""
    constants = dask.delayed(plan, traverse=False), scale
    arrays = _present({name: fitted[name] for name in ("theta", "beta")})
    return [
        dask.delayed(_visit)(step_of(part), *constants, *read, arrays, part)
        for read, part in zip(blocks.read(after=arrays), blocks.bounds, strict=True)
    ]


def _same_step(step: Step) -> Callable[[slice], Step]:
    return lambda _genes: step


def _visit(
    step: Step,
    plan: steps.FitPlan,
    scale: Scale,
    counts: np.ndarray,
    offset: np.ndarray | None,
    fitted: steps.Arrays,
    genes: slice,
) -> tuple[Survey, Any]:
    block = scale.block(counts, offset)
    seen = look(block.counts, offset)
    if not seen.usable:
        return seen, {}
    theta = np.broadcast_to(fitted["theta"], fitted["beta"].shape[:1])
    return seen, computed(step, plan, block, theta[genes], fitted["beta"][genes])


def gathered_visits(parts: Sequence[Delayed], fitted: dict[str, Any], genes: np.ndarray) -> Delayed:
    """Arrays by name of all genes; computing them raises where the counts are not those of the fit."""
    return tasks.joining(_of_these_counts, _present(fitted), tasks.joined(parts, _joined_visits), genes)


def _joined_visits(parts: list[tuple[Survey, steps.Arrays]]) -> tuple[Survey, steps.Arrays]:
    seen = join([look_at for look_at, _ in parts])
    return seen, gathered.joined([arrays for _, arrays in parts]) if seen.usable else {}


def one_visit(part: Delayed, fitted: dict[str, Any], genes: np.ndarray) -> Delayed:
    """What the step said of some genes, by themselves: raises where they alone have more than the fit's totals."""
    return dask.delayed(_of_these_counts)(_present(fitted | {"whole": False}), part, genes)


def _of_these_counts(fitted: steps.Arrays, found: tuple[Survey, Any], genes: np.ndarray) -> Any:
    _check_totals(checked_counts(found[0], genes), fitted)
    return found[1]


def _check_totals(seen: Survey, fitted: steps.Arrays) -> None:
    if not _same_totals(seen.totals, fitted["library_size"], whole=bool(fitted["whole"])):
        fail("these are not the counts the fit was made from: the samples have other totals; pass those")


def _same_totals(totals: np.ndarray, library_size: np.ndarray, *, whole: bool) -> bool:
    """Whether the samples add up to what the fit saw, or to no more than that if only some genes are here."""
    if whole:
        return np.allclose(totals, library_size, rtol=1e-9, atol=0.0)
    return bool(np.all(totals <= library_size * (1.0 + 1e-9)))


def _present(fitted: dict[str, Any]) -> Delayed:
    return dask.delayed(dict)({name: values for name, values in fitted.items() if values is not None})
