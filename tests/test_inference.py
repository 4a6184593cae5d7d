"""Standard errors, intervals and covariances against statsmodels, R's predict and simulated truth."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
import xarray as xr

from xdelnx import covariance, fit, simulate, test

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "validation"))

from reference_cases import cases  # noqa: E402

FORMULA = "~ batch + age + condition"
CONTRASTS = {"sum": {"age": 2.0, "condition[T.B]": 1.0}, "condition": "condition[T.B]"}
GENES = [1, 3, 17, 101, 250]


@pytest.fixture(scope="module", params=[True, False], ids=["shrinkage", "own dispersion"])
def fitted(request, bulk):
    return fit(bulk, FORMULA, contrasts=CONTRASTS, shrinkage=request.param)


def in_statsmodels(data, result, gene):
    """Fit at the gene's final overdispersion, and the factor of its variances."""
    at = result.isel(gene=gene)
    theta = float(at.get("dispersion_trend", at["dispersion"]))
    family = sm.families.NegativeBinomial(alpha=theta) if theta > 0 else sm.families.Poisson()
    offset = np.log(result["size_factor"].values)
    y = data["counts"].values[:, gene].astype(float)
    model = sm.GLM(y, result["design"].values, family, offset=offset).fit(maxiter=300, tol=1e-14)
    return model, float(at.get("ql_dispersion_shrunken", 1.0))


def fine_genes(result):
    return [g for g in GENES if result["status"].values[g] == 0]


def test_covariance_is_that_of_statsmodels(bulk, fitted):
    names = bulk["gene"].values[fine_genes(fitted)]
    ours = covariance(bulk, fitted, list(names))
    assert ours.dims == ("gene", "coefficient", "coefficient2")
    for name, gene in zip(names, fine_genes(fitted), strict=True):
        model, scale = in_statsmodels(bulk, fitted, gene)
        expected = scale * model.cov_params()
        roots = np.sqrt(np.diag(expected))
        # both are at their optimum to about 1e-7 of a standard error
        apart = (ours.sel(gene=name).values - expected) / np.outer(roots, roots)
        assert np.abs(apart).max() < 1e-5


def test_standard_error_and_interval_of_a_contrast(bulk, fitted):
    weights = {"sum": np.array([0.0, 0.0, 2.0, 1.0]), "condition": np.array([0.0, 0.0, 0.0, 1.0])}
    df2 = float(fitted["df2"])
    quantile = scipy.stats.t.ppf(0.975, df2) if np.isfinite(df2) else scipy.stats.norm.ppf(0.975)
    for gene in fine_genes(fitted):
        model, scale = in_statsmodels(bulk, fitted, gene)
        for name, c in weights.items():
            ours = fitted.isel(gene=gene).sel(contrast=name)
            error = np.sqrt(scale * c @ model.cov_params() @ c) / np.log(2)
            estimate = c @ model.params / np.log(2)
            assert float(ours["lfc_se"]) == pytest.approx(error, rel=1e-5)
            near = {"rel": 1e-5, "abs": 1e-6 * error}
            assert float(ours["ci_low"]) == pytest.approx(estimate - quantile * error, **near)
            assert float(ours["ci_high"]) == pytest.approx(estimate + quantile * error, **near)


def test_one_number_in_three_places(bulk, fitted):
    """The error of a coefficient, of the contrast that is this coefficient, and in the covariance."""
    error = fitted["standard_error"].sel(coefficient="condition[T.B]").values
    np.testing.assert_allclose(fitted["lfc_se"].sel(contrast="condition") * np.log(2), error, rtol=1e-12)
    diagonal = np.einsum("gcc->gc", covariance(bulk, fitted).values)
    fine = fitted["status"].values == 0
    # the covariance goes by the coefficients, of which the fit's parameters lose some digits
    np.testing.assert_allclose(np.sqrt(diagonal)[fine], fitted["standard_error"].values[fine], rtol=1e-8)


def test_asked_later_they_are_the_same(bulk, fitted):
    again = test(bulk, fitted, CONTRASTS)
    fine = fitted["status"].values == 0
    for name in ("lfc_se", "ci_low", "ci_high"):
        one, other = again[name].values[:, fine], fitted[name].values[:, fine]
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)


def test_joint_tests_and_silent_genes_have_none(bulk, fitted):
    joint = test(bulk, fitted, {"both": [[0, 0, 1, 0], [0, 0, 0, 1]], "age": "age"})
    silent = fitted["status"].values == 1
    assert silent.any()
    for name in ("lfc_se", "ci_low", "ci_high"):
        assert np.isnan(joint[name].sel(contrast="both")).all()
        np.testing.assert_array_equal(np.isnan(joint[name].sel(contrast="age")), silent)
    assert np.isnan(covariance(bulk, fitted).values[silent]).all()


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_chunks_and_choice_of_genes_change_nothing(bulk, penalty):
    offset = np.random.default_rng(0).normal(0.0, 0.2, bulk["counts"].shape)
    data = bulk.assign(length=(("sample", "gene"), offset))
    result = fit(data, FORMULA, offset="length", ridge=penalty)
    whole = covariance(data, result)
    xr.testing.assert_equal(covariance(data.chunk(gene=70), result), whole)  # a gene has its own bits
    lazy = covariance(data.chunk(gene=70), result.chunk(gene=50), ["g17", "g3"], compute=False)
    assert lazy.chunks
    xr.testing.assert_equal(lazy.compute(), whole.sel(gene=["g17", "g3"]))
    xr.testing.assert_equal(covariance(data, result, "g3"), whole.sel(gene=["g3"]))
    assert {"long_name", "units", "history"} <= set(whole.attrs)


def test_ridge_covariance(bulk):
    """The penalty is part of the curvature: n Lambda' Lambda is added to the information."""
    result = fit(bulk, FORMULA, ridge=0.3)
    matrix = covariance(bulk, result)
    design, factors = result["design"].values, result["size_factor"].values
    for gene in fine_genes(result):
        at = result.isel(gene=gene)
        mu = np.exp(design @ at["beta"].values) * factors
        weight = mu / (1.0 + float(at["dispersion_trend"]) * mu)
        information = design.T @ (weight[:, None] * design) + 16 * 0.3**2 * np.diag([0.0, 1.0, 1.0, 1.0])
        expected = float(at["ql_dispersion_shrunken"]) * np.linalg.inv(information)
        np.testing.assert_allclose(matrix.values[gene], expected, rtol=1e-9, atol=1e-12)


def test_intervals_cover_the_truth():
    """95 % of the intervals, among 2,800 genes; those of one data set share size factors and prior: +-1.5 %."""
    data = simulate(12, 3000, seed=11)
    result = fit(data, "~ condition", size_factors="size_factor_true").isel(contrast=0)
    fine = result["status"].values == 0
    truth = data["lfc"].values
    covered = (result["ci_low"].values <= truth) & (truth <= result["ci_high"].values)
    assert abs(covered[fine].mean() - 0.95) < 0.015


@pytest.mark.filterwarnings("ignore:size_factors='normed_sum' disagree")  # they do, and are what R was given
def test_r_predicts_the_same_errors():
    """glmGamPoi's predict: unscaled, the final coefficients with the gene's own overdispersion."""
    case = next(case for case in cases(ROOT / "tests" / "data") if case.name == "golden12")
    table = pd.read_csv(case.folder / "glmGamPoi_predict.csv.gz", index_col=0).reindex(case.data["gene"])
    rows = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    result = fit(case.data, case.spec.formula)
    unscaled = result.assign(
        dispersion_trend=("gene", table["dispersion"].to_numpy()),
        ql_dispersion_shrunken=xr.ones_like(result["ql_dispersion_shrunken"]),
    )
    ours = np.sqrt(np.einsum("rp,gpq,rq->gr", rows, covariance(case.data, unscaled).values, rows))
    fine = result["status"].to_numpy() == 0
    theirs = table[["se.1", "se.2", "se.3"]].to_numpy()
    # R stops its coefficients early: its weights are good to some 1e-5
    np.testing.assert_allclose(ours[fine], theirs[fine], rtol=1e-4)
