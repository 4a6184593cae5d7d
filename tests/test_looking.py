"""Residuals, predictions and goodness of fit against R, statsmodels and scipy.stats."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
import xarray as xr

from xdelnx import covariance, fit, goodness_of_fit, predict, residuals, simulate
from xdelnx.steps.fit_residuals import KINDS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "validation"))

from reference_cases import cases  # noqa: E402

FORMULA = "~ batch + age + condition"
GENES = ["g1", "g3", "g17", "g101", "g250"]


@pytest.fixture(scope="module", params=[True, False], ids=["shrinkage", "own dispersion"])
def fitted(request, bulk):
    return fit(bulk, FORMULA, shrinkage=request.param)


@pytest.fixture(scope="module")
def golden12():
    return next(case for case in cases(ROOT / "tests" / "data") if case.name == "golden12")


def theta_of(at):
    return float(at.get("dispersion_trend", at["dispersion"]))


def means_of(result):
    eta = result["design"].values @ result["beta"].values.T
    return np.exp(eta) * result["size_factor"].values[:, None]


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [("deviance", "resid_deviance"), ("pearson", "resid_pearson"), ("response", "resid_response")],
)
def test_residuals_are_those_of_statsmodels(bulk, fitted, kind, theirs):
    names = [g for g in GENES if fitted["status"].sel(gene=g) == 0]
    ours = residuals(bulk, fitted, kind=kind, genes=names)
    assert ours.dims == ("sample", "gene")
    for name in names:
        at = fitted.sel(gene=name)
        theta = theta_of(at)
        family = sm.families.NegativeBinomial(alpha=theta) if theta > 0 else sm.families.Poisson()
        y, offset = bulk["counts"].sel(gene=name).values.astype(float), np.log(fitted["size_factor"].values)
        model = sm.GLM(y, fitted["design"].values, family, offset=offset).fit(maxiter=300, tol=1e-14)
        # both are at their optimum to about 1e-7 of a standard error
        expected = getattr(model, theirs)
        np.testing.assert_allclose(ours.sel(gene=name), expected, atol=1e-5 * np.abs(expected).max())
        if kind == "pearson":
            hat = residuals(bulk, fitted, kind="leverage", genes=name).values[:, 0]
            np.testing.assert_allclose(hat, model.get_hat_matrix_diag(observed=False), rtol=1e-5)


def test_working_residuals(bulk, fitted):
    fine = fitted["status"].values == 0
    mu, y = means_of(fitted)[:, fine], bulk["counts"].values[:, fine]
    ours = residuals(bulk, fitted, kind="working").values[:, fine]
    np.testing.assert_allclose(ours, (y - mu) / mu, rtol=1e-10, atol=1e-12)


def test_quantile_residuals_lie_where_scipy_says(bulk, fitted):
    """Between the normal quantiles of the probabilities of less than the count, and of up to it."""
    fine = fitted["status"].values == 0
    mu, y = means_of(fitted)[:, fine], bulk["counts"].values[:, fine]
    theta = fitted.get("dispersion_trend", fitted["dispersion"]).values[fine]
    r, ours = (
        1.0 / np.maximum(theta, 1e-6),
        residuals(bulk, fitted, kind="randomized_quantile").values[:, fine],
    )
    p = 1.0 / (1.0 + mu / r)
    # scipy's probabilities are good to some 1e-10
    assert (scipy.stats.norm.cdf(ours) >= scipy.stats.nbinom.cdf(y - 1, r, p) - 1e-8).all()
    assert (scipy.stats.norm.cdf(ours) <= scipy.stats.nbinom.cdf(y, r, p) + 1e-8).all()
    assert (scipy.stats.norm.sf(ours) <= scipy.stats.nbinom.sf(y - 1, r, p) + 1e-8).all()


def test_quantile_residuals_are_normal_for_small_counts():
    """Kolmogorov's distance of 40,000: 0.0122 is its 1e-5 quantile; estimated coefficients narrow them a little."""
    rng = np.random.default_rng(5)
    counts = rng.negative_binomial(4.0, 4.0 / (4.0 + 1.5), (200, 200))
    data = xr.Dataset({"counts": (("sample", "gene"), counts)})
    data = data.assign_coords(sample=[f"s{i}" for i in range(200)], gene=[f"g{i}" for i in range(200)])
    result = fit(data, "~ 1", overdispersion=0.25, size_factors=None)
    values = residuals(data, result, kind="randomized_quantile").values
    assert scipy.stats.kstest(values.ravel(), "norm").statistic < 0.0122
    other = residuals(data, result, kind="randomized_quantile", seed=1).values
    assert abs(np.corrcoef(values.ravel(), other.ravel())[0, 1]) > 0.5  # the same counts
    assert not np.array_equal(values, other)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_and_choice_of_genes_change_no_residual(bulk, kind):
    result = fit(bulk, FORMULA)
    whole = residuals(bulk, result, kind=kind)
    assert whole.attrs["kind"] == kind
    lazy = residuals(bulk.chunk(gene=70), result.chunk(gene=50), kind=kind, compute=False)
    assert lazy.chunks is not None
    assert len(lazy.chunks[1]) > 1
    xr.testing.assert_allclose(lazy.compute(), whole, rtol=1e-10, atol=1e-12)
    some = residuals(bulk, result, kind=kind, genes=["g17", "g3"])
    xr.testing.assert_allclose(some, whole.sel(gene=["g17", "g3"]), rtol=1e-10, atol=1e-12)


def test_silent_genes_have_no_residuals(bulk):
    data = bulk.copy(deep=True)
    data["counts"].values[:, 4] = 0
    result = fit(data, FORMULA)
    for kind in KINDS:
        assert np.isnan(residuals(data, result, kind=kind).values[:, 4]).all()
    assert np.isnan(goodness_of_fit(data, result)["pearson_pval"].values[4])


def test_a_group_without_counts_has_finite_residuals(bulk):
    data = bulk.copy(deep=True)
    gene = int(data["counts"].values.mean(axis=0).argmax())
    data["counts"].values[(data["condition"] == data["condition"][0]).values, gene] = 0
    result = fit(data, "~ condition", size_factors=None)
    for kind in KINDS:
        assert np.isfinite(residuals(data, result, kind=kind).values[:, gene]).all()


def test_goodness_of_fit_is_the_sum_of_squares(bulk, fitted):
    ours = goodness_of_fit(bulk, fitted)
    df = float(ours["residual_df"])
    assert df == bulk.sizes["sample"] - 4
    squares = (residuals(bulk, fitted, kind="pearson") ** 2).sum("sample", skipna=False)
    np.testing.assert_allclose(ours["pearson_statistic"], squares, rtol=1e-12)
    # the fit sums its deviance in another order
    np.testing.assert_allclose(ours["deviance"], fitted["deviance"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours["pearson_pval"], scipy.stats.chi2.sf(squares, df), rtol=1e-9)
    lazy = goodness_of_fit(bulk.chunk(gene=70), fitted, compute=False)
    assert lazy.chunks
    xr.testing.assert_allclose(lazy.compute(), ours, rtol=1e-10)


def test_goodness_of_fit_holds_where_the_model_does():
    """Counts of 100 and a known overdispersion: 5 % of 2,000 p-values below 0.05, four standard errors 2 %."""
    data = simulate(12, 2000, seed=3)
    rng = np.random.default_rng(4)
    data["counts"].values[:] = rng.negative_binomial(20.0, 20.0 / 120.0, data["counts"].shape)
    result = fit(data, "~ condition", overdispersion=0.05, size_factors=None)
    assert abs((goodness_of_fit(data, result)["pearson_pval"].values < 0.05).mean() - 0.05) < 0.02


@pytest.mark.parametrize("kind", ["deviance", "pearson", "working", "response"])
def test_r_has_the_same_residuals(golden12, kind):
    """Those of glmGamPoi have the gene's own dispersion, which is handed over."""
    table = pd.read_csv(golden12.folder / "glmGamPoi_residuals.csv.gz", index_col="gene").query(
        "kind == @kind"
    )
    factors = pd.read_csv(golden12.folder / "glmGamPoi_default_samples.csv.gz", index_col="sample")[
        "size_factor"
    ]
    result = fit(golden12.data, golden12.spec.formula, size_factors=factors)
    own = result["dispersion"].to_pandas()
    own[table.index] = table["dispersion"]
    result = result.assign(dispersion=("gene", own.to_numpy()))
    ours = residuals(golden12.data, result, kind=kind, genes=list(table.index), dispersion="gene")
    theirs = table.drop(columns=["kind", "dispersion"]).to_numpy().T
    fine = result["status"].sel(gene=table.index).values == 0
    # R stops its coefficients early: its means are good to some 1e-5
    apart = np.abs(ours.values - theirs) / np.abs(theirs).max(axis=0)
    assert apart[:, fine].max() < 1e-4


def test_r_predicts_the_same(golden12):
    """Rows of the design at offset 0, unscaled and with the gene's own dispersion, as glmGamPoi has them."""
    table = pd.read_csv(golden12.folder / "glmGamPoi_predict.csv.gz", index_col=0)
    factors = pd.read_csv(golden12.folder / "glmGamPoi_default_samples.csv.gz", index_col="sample")[
        "size_factor"
    ]
    result = fit(golden12.data, golden12.spec.formula, size_factors=factors)
    own = result["dispersion"].to_pandas()
    own[table.index] = table["dispersion"]
    result = result.assign(dispersion=("gene", own.to_numpy()))
    rows = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    options = {"scale": "link", "unscaled": True, "dispersion": "gene"}
    ours = predict(golden12.data, result, rows, genes=list(table.index), **options)
    fine = result["status"].sel(gene=table.index).values == 0
    # R stops its coefficients early: good to some 1e-5
    theirs = table[["se.1", "se.2", "se.3"]].to_numpy().T
    np.testing.assert_allclose(ours["prediction_se"].values[:, fine], theirs[:, fine], rtol=1e-4)
    theirs = table[["fit.1", "fit.2", "fit.3"]].to_numpy().T
    np.testing.assert_allclose(ours["prediction"].values[:, fine], theirs[:, fine], atol=1e-4)


def test_predictions_are_the_fitted_means(bulk, fitted):
    """For the samples of the fit, from their metadata and from the design: three ways to the same means."""
    ours = predict(bulk, fitted)
    np.testing.assert_allclose(ours["prediction"], means_of(fitted), rtol=1e-10)
    new = bulk[["batch", "age", "condition"]].to_dataframe().iloc[::-1]
    factors = fitted["size_factor"].values[::-1]
    again = predict(bulk, fitted, new, size_factor=factors)
    assert list(again["sample"].values) == list(new.index)
    xr.testing.assert_allclose(again, ours.isel(sample=slice(None, None, -1)), rtol=1e-10)
    matrix = fitted["design"].values
    by_matrix = predict(bulk.chunk(gene=70), fitted, matrix, scale="link", genes=["g17", "g3"])
    variance = np.einsum("rp,gpq,rq->rg", matrix, covariance(bulk, fitted, ["g17", "g3"]).values, matrix)
    np.testing.assert_allclose(by_matrix["prediction_se"], np.sqrt(variance), rtol=1e-10)
    np.testing.assert_allclose(  # the delta method
        ours["prediction_se"].sel(gene=["g17", "g3"]),
        ours["prediction"].sel(gene=["g17", "g3"]).values * np.sqrt(variance),
        rtol=1e-10,
    )


def test_a_new_sample_is_coded_as_those_of_the_fit(bulk, fitted):
    """One sample alone, with one level of each factor."""
    new = bulk[["batch", "age", "condition"]].to_dataframe().iloc[[5]]
    ours = predict(bulk, fitted, new, standard_error=False)
    np.testing.assert_allclose(
        ours["prediction"].values[0], np.exp(fitted["design"].values[5] @ fitted["beta"].values.T), rtol=1e-10
    )


def test_weights_count_as_in_statsmodels(bulk):
    """A weight of 0 leaves a sample out of the degrees of freedom; residuals go with the root of the weight."""
    weights = np.tile([1.0, 2.0, 0.5, 1.5], 4)
    weights[3] = 0.0
    factors = bulk["counts"].values.sum(axis=1) / bulk["counts"].values.sum(axis=1).mean()
    result = fit(bulk, FORMULA, weights=weights, size_factors=factors)
    gene = str(bulk["gene"].values[np.argmax(result["mean"].fillna(0).values)])
    at, y = result.sel(gene=gene), bulk["counts"].sel(gene=gene).values.astype(float)
    family = sm.families.NegativeBinomial(alpha=theta_of(at))
    model = sm.GLM(y, result["design"].values, family, offset=np.log(factors), var_weights=weights)
    expected = model.fit(maxiter=300, tol=1e-14)
    ours = goodness_of_fit(bulk, result, genes=gene)
    assert ours["residual_df"].item() == 15 - 4
    # sums of squares at the optimum, which both know to about 1e-7
    np.testing.assert_allclose(ours["pearson_statistic"], expected.pearson_chi2, rtol=1e-5)
    np.testing.assert_allclose(ours["deviance"], expected.deviance, rtol=1e-6)
    squares = (residuals(bulk, result, kind="pearson", genes=gene) ** 2).sum("sample")
    np.testing.assert_allclose(ours["pearson_statistic"], squares, rtol=1e-10)


def test_new_samples_between_whole_numbers():
    """A column of whole numbers is a covariate like another: 2.5 is not 2."""
    data = simulate(8, 300, seed=2)
    data["day"] = ("sample", np.arange(8))
    new = predict(data, fit(data, "~ day"), pd.DataFrame({"day": [2.0, 2.5, 3.0]}), genes="g3", scale="link")
    low, middle, high = new["prediction"].values[:, 0]
    assert middle == pytest.approx((low + high) / 2, rel=1e-9)


def test_genes_may_be_named_twice(bulk, fitted):
    """Together they have more than the fit's totals, and are its genes all the same."""
    names = list(bulk["gene"].values)
    once = residuals(bulk, fitted)
    for lazily in (False, True):
        twice = residuals(bulk, fitted, genes=[*names, *names], compute=not lazily)
        np.testing.assert_array_equal(twice, np.concatenate([once, once], axis=1))
    many = goodness_of_fit(bulk, fitted, genes=["g3"] * 500)["deviance"].values
    np.testing.assert_array_equal(many, np.repeat(many[:1], 500))


LOOKS = {
    "residuals": residuals,
    "goodness of fit": goodness_of_fit,
    "covariance": covariance,
    "prediction": predict,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("genes", [None, GENES], ids=["all genes", "some genes"])
def test_other_counts_under_the_same_names_are_refused(bulk, fitted, look, genes):
    """All genes have to add up to the fit's totals; some genes alone, to no more than these."""
    counts = bulk["counts"] * 2 if genes is None else bulk["counts"] * 10_000
    with pytest.raises(ValueError, match="samples have other totals"):
        look(bulk.assign(counts=counts), fitted, genes=genes)


def test_lazy_residuals_refuse_what_exceeds_the_totals(bulk, fitted):
    """Each block knows its own counts alone."""
    lazy = residuals(bulk.assign(counts=bulk["counts"] * 10_000), fitted, compute=False)
    with pytest.raises(ValueError, match="samples have other totals"):
        lazy.compute()
    same = residuals(bulk, fitted, compute=False)
    xr.testing.assert_equal(same.compute(), residuals(bulk, fitted))


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_genes_without_a_count_have_nothing_to_look_at(bulk, look):
    """They may be all that is asked for."""
    empty = bulk.assign(counts=bulk["counts"].where(bulk["gene"] != "g3", 0))
    found = look(empty, fit(empty, FORMULA), genes=["g3"])
    values = found if isinstance(found, xr.DataArray) else found[next(iter(found.data_vars))]
    assert np.isnan(values).all() or (values == 0.0).all()  # fitted means are 0
