"""Weighted samples stand for all samples where the count is zero; both paths give the same fit."""

import numpy as np
import pytest

import xdelnx as xd
from xdelnx.algorithms import tiles
from xdelnx.algorithms.zeros import NODES, stand_ins
from xdelnx.status import Status


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("log_t", [-20.0, -3.0, 0.0, 2.0, 8.0, 25.0])
def test_sums_over_stand_ins_are_sums_over_samples(spread, log_t):
    rng = np.random.default_rng(0)
    scale = np.exp(spread * rng.standard_normal(20_000))
    starts = np.array([0, 5_000, 5_010, 20_000])
    zeros = stand_ins(scale, starts)
    t = np.exp(log_t)
    for function in (
        lambda s: np.log1p(t * s) / t,
        lambda s: s / (1 + t * s),
        lambda s: (s / (1 + t * s)) ** 2,
        lambda s: (s / (1 + t * s)) ** 3,
    ):
        for k in range(3):
            full = np.sum(function(scale[starts[k] : starts[k + 1]]))
            part = slice(zeros.starts[k], zeros.starts[k + 1])
            short = np.sum(zeros.weights[part] * function(zeros.scale[part]))
            # degree 21 on width 3: 1e-13 of the largest term; the sums are of 1e4 terms, added in either order
            assert short == pytest.approx(full, rel=2e-11)


def test_few_samples_stand_for_themselves():
    scale = np.exp(np.linspace(-1, 1, 15))
    zeros = stand_ins(scale, np.array([0, 5, 15]))
    np.testing.assert_array_equal(zeros.scale, scale)
    np.testing.assert_array_equal(zeros.weights, 1.0)


def test_nodes_do_not_grow_with_samples():
    scale = np.exp(np.random.default_rng(1).uniform(-1.4, 1.4, 100_000))
    assert stand_ins(scale, np.array([0, scale.size])).scale.size == NODES


@pytest.mark.parametrize("formula", ["~ condition", "~ batch + condition"])
def test_both_paths_give_the_same_fit(monkeypatch, formula):
    data = xd.simulate(600, 150, n_batches=3, kind="cells", seed=2)
    fits = []
    for share in (0.0, 2.0):  # every gene dense; every gene by its non-zero counts
        monkeypatch.setattr(tiles, "DENSE_BELOW", share)
        fits.append(xd.fit(data, formula))
    dense, sparse = fits
    for name in (
        "mean",
        "dispersion",
        "dispersion_trend",
        "ql_dispersion_shrunken",
        "deviance",
    ):
        # sums of 600 terms in another order, through a convergence that squares its error
        np.testing.assert_allclose(sparse[name], dense[name], rtol=1e-9, err_msg=name)
    fitted = dense["status"] == Status.OK  # a coefficient at minus infinity ends wherever the iteration does
    for name in ("beta", "standard_error"):
        np.testing.assert_allclose(
            sparse[name][fitted], dense[name][fitted], rtol=1e-9, atol=1e-9, err_msg=name
        )
    # a difference of deviances of a few hundred: 1e-12 of those is left of a statistic near zero
    np.testing.assert_allclose(sparse["stat"], dense["stat"], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(sparse["status"], dense["status"])


def test_paths_are_chosen_by_the_genes_own_counts():
    data = xd.simulate(600, 150, kind="cells", seed=2)
    whole = xd.fit(data, "~ condition", size_factors="none", contrasts=None, shrinkage=False)
    some = xd.fit(
        data.isel(gene=slice(20, 60)), "~ condition", size_factors="none", contrasts=None, shrinkage=False
    )
    np.testing.assert_array_equal(some["beta"], whole["beta"][20:60])  # to the last bit


def test_fractional_and_large_counts_by_the_non_zero_path(monkeypatch):
    rng = np.random.default_rng(3)
    data = xd.simulate(400, 30, kind="cells", seed=3)
    counts = data["counts"].values.astype(float)
    counts[:, 1] *= 1000.0
    counts[:, 2] *= rng.uniform(0.5, 1.5, counts.shape[0])
    data["counts"] = ("sample", "gene"), counts
    fits = []
    for share in (0.0, 2.0):
        monkeypatch.setattr(tiles, "DENSE_BELOW", share)
        fits.append(xd.fit(data, "~ condition", size_factors="none"))
    np.testing.assert_allclose(fits[1]["dispersion"], fits[0]["dispersion"], rtol=1e-9)
    np.testing.assert_allclose(fits[1]["pval"], fits[0]["pval"], rtol=1e-7)
