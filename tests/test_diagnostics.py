"""Diagnostics of a report: each with data that has the flaw, and with data that has not."""

import re

import numpy as np
import pytest
from scipy import stats

import xdelnx as xd
from xdelnx.reporting import diagnostics
from xdelnx.reporting.checkup import findings_of_fit
from xdelnx.reporting.diagnostics import Severity
from xdelnx.reporting.pvalue_shapes import pvalue_shape
from xdelnx.status import Status

FINE, NOTE, WARNING = Severity.FINE, Severity.NOTE, Severity.WARNING
NAMES = [f"s{k}" for k in range(100)]


def uniform(n=4_000, seed=0):
    return np.random.default_rng(seed).random(n)


def healthy(n=4_000, seed=0):
    p = uniform(n, seed)
    p[: n // 5] **= 6
    return p


SHAPES = {
    "peak near 0": (healthy(), FINE),
    "flat": (uniform(), FINE),
    "too few": (uniform(50), FINE),
    "rising towards 1": (np.sqrt(uniform()), WARNING),
    "hill in the middle": (np.random.default_rng(1).beta(2.5, 3.0, 4_000), WARNING),
    "peaks at 0 and at 1": (np.r_[healthy(), 1.0 - 0.04 * uniform(600, 2)], WARNING),
    "spikes": (np.r_[healthy(), np.full(400, 0.37)], NOTE),
    "a peak at 1 and none at 0": (np.r_[uniform(), 1.0 - 0.09 * uniform(500, 3)], NOTE),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_histograms(shape):
    pval, severity = SHAPES[shape]
    found = pvalue_shape(pval, "drug")
    assert shape in found.text
    assert found.severity == severity
    assert bool(found.advice) == bool(severity)
    missing = pvalue_shape(np.r_[pval, np.full(500, np.nan)], "drug")
    assert missing == found


@pytest.mark.parametrize("seed", range(20))
def test_sound_histograms_are_fine(seed):
    assert pvalue_shape(uniform(seed=seed), "x").severity == FINE
    assert pvalue_shape(healthy(seed=seed), "x").severity == FINE


def test_simulated_counts_are_fine():
    """12,000 tests of a model that holds, with genes of small counts left out."""
    data = xd.simulate(12, 4_000, seed=5)
    data = data.isel(gene=xd.filter_by_expression(data, "~condition").values)
    fit = xd.fit(data, "~condition")
    assert pvalue_shape(fit["pval"].values[0], "x").severity == FINE
    assert max(finding.severity for finding in findings_of_fit(fit, data)) <= NOTE


@pytest.mark.parametrize(
    ("factors", "severity"),
    [([0.8, 1.0, 1.25], FINE), ([0.2, 1.0, 1.2, 1.1], NOTE), ([0.01, 1.0, 1.1, 1.2, 0.9], WARNING)],
)
def test_size_factors(factors, severity):
    found = diagnostics.size_factor_range(np.array(factors), NAMES)
    assert found.severity == severity
    assert ("s0" in found.text) == bool(severity)


def two_groups(n=6):
    return np.column_stack([np.ones(2 * n), np.repeat([0.0, 1.0], n)])


def test_depth_that_goes_with_the_design():
    noise = np.random.default_rng(0).normal(0, 0.1, 12)
    deep = np.exp(noise + np.log(4) * two_groups()[:, 1])
    assert diagnostics.depth_by_design(deep, two_groups()).severity == NOTE
    assert diagnostics.depth_by_design(np.exp(noise), two_groups()).severity == FINE
    assert diagnostics.depth_by_design(np.exp(noise[:4]), two_groups(2)) is None
    assert diagnostics.depth_by_design(np.exp(noise), np.ones((12, 1))) is None


def test_outlying_samples():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 300)) + 8 * two_groups()[:, 1:]
    assert diagnostics.outlier_samples(values, two_groups(), NAMES).severity == FINE
    values[7] += rng.normal(0, 2, 300)
    found = diagnostics.outlier_samples(values, two_groups(), NAMES)
    assert found.severity == WARNING
    assert "s7" in found.text
    assert "s6" not in found.text
    assert diagnostics.outlier_samples(values, np.eye(12), NAMES) is None


@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")
def test_a_swapped_pair_of_samples_is_outlying():
    data = xd.simulate(16, 1_000, de_fraction=0.6, seed=1)
    first = [int(np.flatnonzero(data["condition"].values == level)[0]) for level in "AB"]
    swapped = data.copy()
    swapped["counts"] = data["counts"].copy()
    swapped["counts"][first] = data["counts"].values[first[::-1]]
    for counts, severity in ((swapped, WARNING), (data, FINE)):
        found = {f.topic: f for f in findings_of_fit(xd.fit(counts, "~condition"), counts)}
        assert found["Outlying samples"].severity == severity


@pytest.mark.parametrize(
    ("df", "severity"), [(1.0, WARNING), (10.0, FINE), (np.array([np.nan, 2.0]), WARNING)]
)
def test_residual_degrees_of_freedom(df, severity):
    assert diagnostics.residual_freedom(np.asarray(df)).severity == severity


def test_replicates():
    assert diagnostics.replication(two_groups()).severity == FINE
    alone = diagnostics.replication(two_groups()[:7])
    assert alone.severity == NOTE
    assert "1 group of samples" in alone.text
    covariate = np.column_stack([np.ones(9), np.arange(9)])
    assert diagnostics.replication(covariate) is None


@pytest.mark.parametrize(
    ("df", "severity"),
    [(12.0, FINE), (np.inf, NOTE), (0.3, WARNING), (np.array([np.nan, 9.0, 0.1, 9.0]), FINE)],
)
def test_prior_degrees_of_freedom(df, severity):
    assert diagnostics.prior_strength(np.asarray(df)).severity == severity
    assert diagnostics.prior_strength(np.array(np.nan)) is None


@pytest.mark.parametrize(("dispersion", "severity"), [(0.1, FINE), (3.0, NOTE), (0.0, NOTE)])
def test_overdispersions(dispersion, severity):
    assert diagnostics.overdispersion_level(np.r_[np.nan, np.full(9, dispersion)]).severity == severity


def test_statuses_of_genes():
    status = np.zeros(1_000, dtype=np.int8)
    (fine,) = diagnostics.gene_statuses(status)
    assert fine.severity == FINE
    status[:3] = Status.COEFFICIENTS_NOT_CONVERGED
    status[5:700] = Status.ALL_ZERO
    zero, few = diagnostics.gene_statuses(status)
    assert (zero.severity, few.severity) == (NOTE, NOTE)
    assert "695 genes without any count (69.5%)" in zero.text
    status[200:] = Status.OK
    assert diagnostics.gene_statuses(status)[0].severity == FINE  # a fifth of the genes is not expressed
    status[:100] = Status.COEFFICIENTS_NOT_CONVERGED
    assert diagnostics.gene_statuses(status)[1].severity == WARNING


@pytest.mark.parametrize(
    ("n", "swaps", "severity"), [(10, 5, FINE), (10, 2, FINE), (10, 1, NOTE), (20, 1, WARNING)]
)
def test_balance_of_batch_and_condition(n, swaps, severity):
    """Batches that are the conditions but for some swaps."""
    condition = np.repeat([0.0, 1.0], n)
    batch = condition.copy()
    batch[np.r_[:swaps, n : n + swaps]] = np.repeat([1.0, 0.0], swaps)
    design = np.column_stack([np.ones(2 * n), batch, condition])
    terms = {"Intercept": [0], "batch": [1], "condition": [2]}
    found = diagnostics.confounding(design, np.array([0.0, 0.0, 1.0]), terms, "condition")
    assert found.severity == severity
    inflation = 1 / (1 - np.corrcoef(batch, condition)[0, 1] ** 2)  # of two columns
    assert not severity or f"{inflation:.2g} times" in found.text


def test_balance_of_interactions_is_not_judged():
    condition, batch = np.tile([0.0, 1.0], 6), np.repeat([0.0, 1.0], 6)
    design = np.column_stack([np.ones(12), batch, condition, batch * condition])
    terms = {"Intercept": [0], "batch": [1], "condition": [2], "batch:condition": [3]}
    for k in (2, 3):
        assert diagnostics.confounding(design, np.eye(4)[k], terms, "x") is None


@pytest.mark.parametrize(
    ("padj", "severity"),
    [
        (np.r_[np.full(20, 0.01), np.full(180, 0.9)], FINE),
        (np.full(200, 0.9), NOTE),
        (np.full(200, 0.01), NOTE),
        (np.full(200, np.nan), WARNING),
    ],
)
def test_genes_found(padj, severity):
    assert diagnostics.hits(padj, 0.05, "x").severity == severity


@pytest.mark.parametrize(("shift", "severity"), [(0.0, FINE), (0.2, WARNING), (-0.2, WARNING)])
def test_size_factors_that_mislead(shift, severity):
    """A tenth of the genes change; a shift of two standard errors makes others significant."""
    rng = np.random.default_rng(1)
    effect = np.where(np.arange(2_000) % 10 == 0, rng.normal(0.0, 1.0, 2_000), 0.0)
    coef, error = rng.normal(effect + shift, 0.1), np.full(2_000, 0.1)
    pval = 2.0 * stats.norm.sf(np.abs(coef / error))
    finding = diagnostics.misleading_factors(coef, error, pval, "x")
    assert finding.severity == severity
    if severity == WARNING:
        said = float(re.search(r"by ([+-][0-9.]+) log2", finding.text)[1])
        assert said == pytest.approx(shift / np.log(2.0), abs=0.02)  # 0.1 / sqrt(2,000) is 0.002
        assert "size_factors='invariant'" in finding.advice
    assert diagnostics.misleading_factors(coef, np.full(2_000, np.nan), pval, "x") is None


@pytest.mark.parametrize(("shift", "severity"), [(0.0, FINE), (0.5, NOTE), (-0.5, NOTE)])
def test_centre_of_the_fold_changes(shift, severity):
    log2fc = np.random.default_rng(0).normal(shift, 0.3, 500)
    assert diagnostics.fold_change_shift(log2fc, np.full(500, 50.0), "x").severity == severity
    assert diagnostics.fold_change_shift(log2fc, np.full(500, 2.0), "x") is None
    assert diagnostics.fold_change_shift(np.full(500, np.nan), np.full(500, 50.0), "x") is None
