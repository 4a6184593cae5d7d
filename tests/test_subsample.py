"""The overdispersion from some of the samples: which are drawn, what comes of them, and that estimates agree."""

import numpy as np
import pytest
import xarray as xr
from scipy.sparse import csc_array

import xdelnx as xd
from xdelnx.algorithms.basis import layout_of
from xdelnx.algorithms.subsampling import draw

FORMULA = "~ batch + condition"


@pytest.fixture(scope="module")
def cells():
    return xd.simulate(1500, 150, kind="cells", n_batches=3, covariate="age", seed=6)


@pytest.fixture(scope="module")
def whole(cells):
    return xd.fit(cells, FORMULA)


# ---- which samples ---------------------------------------------------------------------------------------


def test_kinds_are_drawn_in_proportion():
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat(np.arange(4), [600, 300, 97, 3]))
    found = draw(layout_of(np.eye(4)[kind]), 100)
    assert found.rows.size == np.unique(found.rows).size == 100
    drawn = np.bincount(kind[found.rows])
    # two of each for sure, and the other 92 in proportion
    np.testing.assert_allclose(drawn, 2 + 92 * np.array([598, 298, 95, 1]) / 992, atol=1)
    np.testing.assert_array_equal(draw(layout_of(np.eye(4)[kind]), 100).rows, found.rows)
    np.testing.assert_array_equal(np.eye(4)[kind][found.rows][found.layout.order], _design(found))
    everyone = draw(layout_of(np.eye(4)[kind]), 1000)
    np.testing.assert_array_equal(everyone.rows, np.arange(1000))


def _design(found):
    return np.repeat(found.layout.design, found.layout.sizes, axis=0)


def test_covariates_and_weights():
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(500), rng.normal(size=500), np.arange(500) < 20])
    weights = (np.arange(500) % 2).astype(float)
    found = draw(layout_of(design), 60, weights)
    assert found.rows.size == 60
    assert (weights[found.rows] > 0.0).all()
    np.testing.assert_array_equal(design[found.rows][found.layout.order], _design(found))


# ---- what comes of them ----------------------------------------------------------------------------------


def test_all_samples_are_no_subsample(cells, whole):
    found = xd.fit(cells, FORMULA, subsample=1500)
    for name in whole.data_vars:
        if whole[name].dtype.kind == "f":
            # the same samples in another order of sums; iterations towards infinity stop anywhere
            ok = whole["status"].values == 0
            first, second = (
                r[name].isel(gene=ok) if "gene" in r[name].dims else r[name] for r in (found, whole)
            )
            np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("formula", [FORMULA, "~ age + condition"])
@pytest.mark.parametrize("overdispersion", [True, "global"])
def test_dispersions_are_those_of_the_subsample(cells, formula, overdispersion):
    # with coefficients held by a strong penalty the means of all samples are those of the subsample alone
    model = xd.fit(cells, formula, contrasts=None, shrinkage=False)
    rows = draw(layout_of(model["design"].values), 400).rows
    factors = model["size_factor"].values
    target = {"ridge": np.full(model.sizes["coefficient"], 1e5)}
    target["ridge_target"] = np.append(np.zeros(model.sizes["coefficient"] - 1), 0.4)
    options = {"shrinkage": False, "overdispersion": overdispersion, **target}
    found = xd.fit(cells, formula, subsample=400, size_factors=factors, **options)
    alone = xd.fit(cells.isel(sample=rows), formula, size_factors=factors[rows], **options)
    known = (found["status"].values == 0) & (alone["status"].values == 0)
    assert known.sum() > 100
    # two searches for the same maximum, at means that differ by the rest of the penalty (1e-9)
    np.testing.assert_allclose(found["dispersion"][known], alone["dispersion"][known], rtol=1e-6, atol=1e-9)


def test_means_coefficients_and_freedom(cells, whole):
    found = xd.fit(cells, FORMULA, subsample=400)
    assert float(found["residual_df"]) == 400 - 4
    assert float(whole["residual_df"]) == 1500 - 4
    np.testing.assert_allclose(found["df2"], 396 + found["prior_df"])
    np.testing.assert_array_equal(found["mean"], whole["mean"])
    assert found["dispersion"].attrs["comment"].endswith("maximum likelihood, on 400 of the samples")
    # final coefficients differ by what another trend makes of them
    known = (whole["status"] == 0).values
    error = (found["beta"] - whole["beta"]).values[known] / whole["standard_error"].values[known]
    assert np.abs(error).max() < 0.2
    again = xd.test(cells, found, "condition[T.B]")
    np.testing.assert_allclose(again["pval"], found["pval"], rtol=1e-8)


@pytest.mark.parametrize("size", [300, 1200])
def test_estimates_agree(cells, whole, size):
    # what a typical gene loses is of the order of the relative error of an overdispersion from so many cells
    found, error = xd.fit(cells, FORMULA, subsample=size), 1.0 / np.sqrt(size)
    much = whole["mean"].values > 1.0
    ratio = np.log(found["dispersion"].values[much] / whole["dispersion"].values[much])
    assert abs(np.median(ratio)) < 2.0 * error
    known = (whole["status"] == 0).values & (found["status"] == 0).values
    z = np.sqrt([r["stat"].values[0][known] for r in (whole, found)])
    assert np.corrcoef(z)[0, 1] > 1.0 - 0.1 * error
    assert abs(np.log(z[1].mean() / z[0].mean())) < error


# ---- on any array ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["chunked", "lazy", "sparse"])
def test_same_on_any_array(cells, kind):
    cells = cells.assign(length=(("sample", "gene"), np.random.default_rng(2).normal(0.0, 0.1, (1500, 150))))
    weights = np.where(np.arange(1500) % 7 == 0, 0.0, 1.0)
    options = (
        {"subsample": 400, "offset": "length", "weights": weights} if kind != "sparse" else {"subsample": 400}
    )
    expected = xd.fit(cells, FORMULA, **options)
    if kind == "sparse":
        counts = cells["counts"].chunk(gene=40).data
        counts = counts.map_blocks(csc_array, dtype=counts.dtype, meta=csc_array((0, 0), dtype=counts.dtype))
        found = xd.fit(
            cells.drop_vars("counts").assign(counts=(("sample", "gene"), counts)), FORMULA, **options
        )
    else:
        found = xd.fit(cells.chunk(gene=40), FORMULA, compute=kind == "chunked", **options).compute()
    for name in ("dispersion", "dispersion_trend", "beta", "pval"):
        ok = expected["status"].values == 0
        first, second = (xr.Dataset.isel(r, gene=ok)[name] for r in (found, expected))
        np.testing.assert_allclose(first, second, rtol=1e-8, atol=1e-10, err_msg=name)


def test_by_group(cells):
    small = cells.isel(sample=slice(None, None, 5)).assign(
        kind=("sample", np.random.default_rng(3).permutation(np.repeat(["x", "y"], [220, 80])).astype(object))
    )
    found = xd.fit(small, "~ condition", by="kind", subsample=100)
    np.testing.assert_array_equal(found["residual_df"], [98.0, 78.0])
