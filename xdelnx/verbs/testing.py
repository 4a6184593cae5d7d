"""The verb that tests contrasts of a fit that is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.algorithms.adjustment import check_method
from xdelnx.chunks import blocks, fitted_passes
from xdelnx.chunks.devices import resolve_device
from xdelnx.designs.contrasts import Contrast, resolve_contrasts
from xdelnx.designs.design import Design
from xdelnx.messages import fail, listing
from xdelnx.progress import watched
from xdelnx.schema import annotate
from xdelnx.storage.stores import zarr_safe
from xdelnx.verbs import inputs
from xdelnx.verbs.adjusting import with_adjusted
from xdelnx.verbs.clustering import clusters_of, commented
from xdelnx.verbs.dimensions import any_dims
from xdelnx.verbs.fitted import reopen
from xdelnx.verbs.labelled import history, test_dataset
from xdelnx.verbs.sizing import warned_of_imbalance


@watched
@any_dims
def test(
    data: Any,
    fit: xr.Dataset,
    contrast: Any = None,
    *,
    reduced: Any = None,
    lfc_threshold: float = 0.0,
    adjust: str | None = None,
    device: str = "auto",
    compute: bool = True,
    sample: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    gene: str | None = None,  # noqa: ARG001 - `any_dims` reads it
    progress: bool | None = None,  # noqa: ARG001 - `watched` reads it
) -> xr.Dataset:
    """Test contrasts of a fit, with its dispersions, size factors and offset.

    Parameters
    ----------
    data
        The counts the fit was made from.
    fit
        What `fit` returned, or that read back from Zarr.
    contrast
        Name of a coefficient, an expression over names (``"treatment[T.C] - treatment[T.B]"``),
        ``cond(...) - cond(...)``, weights by name or position, a matrix (restriction, coefficient), a
        reduced formula, several of these in a list or labelled in a mapping. None: the last term.
    reduced
        Instead: the formula (or matrix) of the design without what is tested.
    lfc_threshold
        Log2 fold change t, 0 or more: test whether the fold change is larger, ``abs(log2fc) > t``, instead of
        whether there is any. P-values are valid for every fold change within the threshold ("TREAT", worst
        case); ``stat`` is that at the nearer end of the interval, 0 for estimates within it. For contrasts
        of one degree of freedom; ``contrast=None`` then has no joint test. Of a fit with ``cluster=`` the
        same by t statistics.
    adjust
        As in `fit`; None: as it was there.
    device, compute
        As in `fit`.
    sample, gene
        As in `fit`.
    progress
        As in `fit`.

    Returns
    -------
    xarray.Dataset
        ``log2fc``, ``coef`` (natural log), ``lfc_se``, ``ci_low``, ``ci_high`` (log2; 95 %), ``stat``,
        ``pval``, ``padj`` (contrast, gene), ``df1`` (contrast), ``df2``, ``contrast_weight``;
        ``status`` (gene).

    Raises
    ------
    ValueError, TypeError
        The contrast is unknown or empty, or the data is not what the fit was made from.

    References
    ----------
    McCarthy & Smyth 2009, doi:10.1093/bioinformatics/btp053, for ``lfc_threshold``.
    """
    device = resolve_device(device)
    threshold = inputs.as_amount(lfc_threshold, "lfc_threshold") * np.log(2.0)
    adjust = None if adjust is None else check_method(adjust)
    again = reopen(data, fit)
    adjust = adjust or check_method(again.options.get("adjust") or "bh")
    questions = resolve_contrasts(again.model, contrast, samples=again.table.samples, reduced=reduced)
    if threshold:
        questions = _with_a_fold_change(questions, again.model, asked=contrast is not None)
    cluster = again.options.get("cluster")
    plan = again.plan(questions, device, threshold, clusters_of(again.table, cluster, again.model, questions))
    weights = [question.weights for question in questions]
    result = fitted_passes.test(
        again.blocks(plan.device),
        plan,
        again.scale(plan),
        again.arrays,
        weights,
        again.table.genes,
        threshold,
    )
    if not threshold and cluster is None and plan.penalty is None and _estimated(again.options):
        result = blocks.lazily(warned_of_imbalance, result, questions, again.options["size_factors"])
    result = again.settled(result, "testing") if compute else result
    dataset = test_dataset(result, again.table, questions, again.model, cluster is not None)
    if cluster is None:
        dataset["df2"] = fit["df2"]
    dataset.attrs = {name: fit.attrs[name] for name in fit.attrs if name != "history"}
    dataset.attrs |= {"title": "Differential expression: tests", "history": history("test", fit)}
    dataset.attrs["lfc_threshold"] = float(lfc_threshold)
    dataset = commented(annotate(dataset), cluster)
    return with_adjusted(zarr_safe(dataset), adjust)


test.__test__ = False  # type: ignore[attr-defined]  # its name is not meant for pytest


def _estimated(options: dict[str, Any]) -> bool:
    """Whether overdispersions are the counts' own: else errors are not, and say nothing of size factors."""
    return options["overdispersion"] is True or options["overdispersion"] == "global"


def _with_a_fold_change(questions: Sequence[Contrast], model: Design, *, asked: bool) -> tuple[Contrast, ...]:
    """Contrasts of one degree of freedom; others are an error if they were asked for."""
    joint = [question for question in questions if question.weights.shape[0] > 1]
    if joint and (asked or len(joint) == len(questions)):
        fail(
            f"lfc_threshold is for contrasts of one degree of freedom, and {joint[0].name!r} is a joint test of "
            f"{joint[0].weights.shape[0]}; test coefficients or differences of them: {listing(model.names)}"
        )
    return tuple(question for question in questions if question.weights.shape[0] == 1)
