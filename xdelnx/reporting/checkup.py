"""The diagnostics of a fit: takes out of a Dataset what each of them looks at, and leaves out what is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from xdelnx.algorithms.scaling import METHODS
from xdelnx.reporting import diagnostics
from xdelnx.reporting.diagnostics import Finding
from xdelnx.reporting.pvalue_shapes import pvalue_shape
from xdelnx.reporting.tested import rows_of, threshold_of
from xdelnx.schema import CONTRAST, GENE, SAMPLE
from xdelnx.verbs.inputs import as_counts
from xdelnx.verbs.normalizing import normalize

COMPARED_GENES = 1_000  # of the largest means, in which samples are compared
COMPARED_SAMPLES = 2_000  # beyond it, as of cells, single samples are not looked at


def findings_of_fit(fit: xr.Dataset, data: Any = None) -> list[Finding]:
    """Diagnostics of the samples, the design and the genes' fits; without groups along `by`."""
    return [finding for finding in _of_fit(fit, data) if finding is not None]


def _of_fit(fit: xr.Dataset, data: Any) -> Iterator[Finding | None]:
    options = json.loads(fit.attrs.get("options", "{}"))
    if SAMPLE in fit.dims:
        factors = fit["size_factor"].values
        yield diagnostics.size_factor_range(factors, fit[SAMPLE].values.tolist())
        design = fit["design"].values
        yield diagnostics.depth_by_design(factors, design)
        yield diagnostics.replication(design)
        if data is not None and fit.sizes[SAMPLE] <= COMPARED_SAMPLES:
            values = _compared(data, fit, options)
            yield diagnostics.outlier_samples(values, design, fit[SAMPLE].values.tolist())
    if "residual_df" in fit:
        yield diagnostics.residual_freedom(fit["residual_df"].values)
    if "prior_df" in fit:
        yield diagnostics.prior_strength(fit["prior_df"].values)
    if options.get("overdispersion") is True and "dispersion" in fit:
        yield diagnostics.overdispersion_level(fit["dispersion"].values)
    yield from diagnostics.gene_statuses(fit["status"].values)


def _compared(data: Any, fit: xr.Dataset, options: dict[str, Any]) -> np.ndarray:
    """Log2 counts per million (sample, gene) of the genes with the largest means."""
    name = options.get("counts", "counts")
    chosen = np.sort(np.argsort(-np.nan_to_num(fit["mean"].values), kind="stable")[:COMPARED_GENES])
    part = as_counts(data, name).dataset.isel({GENE: chosen})
    values = normalize(part, size_factors=fit["size_factor"].values, counts=name)
    return np.asarray(values.transpose(SAMPLE, GENE).values)


def findings_of_contrast(tests: xr.Dataset, fit: xr.Dataset, fdr: float) -> list[Finding]:
    """Diagnostics of the tests of one contrast, whose label is a scalar coordinate."""
    return [finding for finding in _of_contrast(tests, fit, fdr) if finding is not None]


def _of_contrast(tests: xr.Dataset, fit: xr.Dataset, fdr: float) -> Iterator[Finding | None]:
    name = str(tests[CONTRAST].values)
    yield diagnostics.hits(tests["padj"].values, fdr, name)
    if not threshold_of(tests):  # beyond one, p-values of genes that do not change are large by design
        yield pvalue_shape(tests["pval"].values, name)
    yield diagnostics.fold_change_shift(tests["log2fc"].values, fit["mean"].values, name)
    if (
        json.loads(fit.attrs.get("options", "{}")).get("size_factors") in METHODS
        and "lfc_se" in tests
        and not threshold_of(tests)
    ):
        error = tests["lfc_se"].values * np.log(2.0)
        yield diagnostics.misleading_factors(tests["coef"].values, error, tests["pval"].values, name)
    weights = rows_of(tests)
    terms = json.loads(fit.attrs.get("design_terms", "{}"))
    if SAMPLE in fit.dims and terms and len(weights) == 1:
        yield diagnostics.confounding(fit["design"].values, weights[0], terms, name)
