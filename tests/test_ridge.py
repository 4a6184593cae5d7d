"""Ridge penalties by coefficient, by matrix and towards a target: minimisers of SciPy, and limits."""

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats
import statsmodels.api as sm
import xarray as xr

import xdelnx as xd

FORMULA = "~ batch + age + condition"
THETA = 0.2
GENES = slice(0, 400, 25)
ROOTS = {
    "each": np.array([0.0, 0.7, 0.02, 0.3]),
    "intercept": np.array([0.4, 0.0, 0.0, 0.2]),
    "matrix": np.array(
        [[0.2, 0.1, 0.0, 0.0], [0.0, 0.5, 0.0, -0.4], [0.0, 0.0, 0.05, 0.0], [0.1, 0.0, 0.0, 0.6]]
    ),
    "difference": np.array([[0.0, 1.0, 0.0, -1.0]]),
}
TARGET = np.array([1.0, -0.5, 0.01, 0.8])


@pytest.fixture(scope="module")
def data(bulk):
    factors = np.exp(np.random.default_rng(1).normal(0.0, 0.3, bulk.sizes["sample"]))
    part = bulk.isel(gene=GENES).assign(sf=("sample", factors))
    return part.isel(gene=(part["counts"].sum("sample") > 0).values)


def run(data, **options):
    given = {"overdispersion": THETA, "shrinkage": False, "size_factors": "sf"} | options
    return xd.fit(data, FORMULA, **given)


def penalised(data, result, g, root, target):
    """Deviance of statsmodels with the penalty written down: a function of the coefficients."""
    y, design, scale = data["counts"].values[:, g], result["design"].values, data["sf"].values
    family, root = sm.families.NegativeBinomial(alpha=THETA), np.diag(root) if root.ndim == 1 else root

    def value(beta):
        mu = np.exp(np.clip(design @ beta, -300.0, 300.0)) * scale
        return family.deviance(y, mu) + y.size * np.sum((root @ (beta - target)) ** 2)

    return value


def lowest(value, start, columns=None, at=0.0):
    """Lowest value over ``at + columns @ x``; the start is ours, so that the search has only to find no lower."""
    columns = np.eye(start.size) if columns is None else columns
    size = np.array([1.0, 1.0, 1.0 / 50.0, 1.0])[: columns.shape[1]]
    x = np.linalg.lstsq(columns, start - at, rcond=None)[0]
    for _ in range(3):
        found = scipy.optimize.minimize(
            lambda z: value(at + columns @ (z * size)), x / size, method="BFGS", options={"gtol": 1e-9}
        )
        x = found.x * size
    return found.fun, at + columns @ x


@pytest.mark.parametrize("target", [np.zeros(4), TARGET], ids=["to 0", "to a target"])
@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_against_scipy(data, root, target):
    result = run(data, ridge=root, ridge_target=target if target.any() else None)
    threshold = xd.test(data, result, "condition[T.B]", lfc_threshold=0.5)
    for g in range(0, data.sizes["gene"], 3):
        value, beta = penalised(data, result, g, root, target), result["beta"].values[g]
        best, at = lowest(value, beta)
        # BFGS on numerical gradients ends within 1e-7 of the deviance
        np.testing.assert_allclose(result["deviance"][g], best, rtol=1e-9, atol=1e-7)
        np.testing.assert_allclose(beta, at, rtol=1e-3, atol=1e-3)
        assert value(beta) <= best + 1e-9
        reduced, _ = lowest(value, beta * [1, 1, 1, 0], np.eye(4)[:, :3])
        np.testing.assert_allclose(result["stat"][0, g], reduced - best, rtol=1e-5, atol=1e-6)
        log2fc, t = float(result["log2fc"][0, g]), 0.5 * np.log(2.0)
        if abs(log2fc) > 0.6:
            edge = np.array([0.0, 0.0, 0.0, t * np.sign(log2fc)])
            near, _ = lowest(value, beta * [1, 1, 1, 0] + edge, np.eye(4)[:, :3], edge)
            np.testing.assert_allclose(threshold["stat"][0, g], near - best, rtol=1e-5, atol=1e-6)


def test_all_forms_are_the_same(data):
    names = ["Intercept", "batch[T.b1]", "age", "condition[T.B]"]
    plain = run(data)
    names = list(plain["coefficient"].values)
    amounts, target = np.array([0.0, 0.7, 0.0, 0.3]), np.array([0.0, -0.5, 0.0, 0.8])
    expected = run(data, ridge=amounts, ridge_target=target)
    mapping = {names[3]: 0.3, names[1]: 0.7}
    forms = {
        "mapping": mapping,
        "series": pd.Series(mapping),
        "labelled": xr.DataArray([0.3, 0.7], {"coefficient": [names[3], names[1]]}, "coefficient"),
        "matrix": np.diag(amounts),
        "frame": pd.DataFrame(np.diag(amounts), columns=names)[names[::-1]],
        "list": amounts.tolist(),
    }
    for form in forms.values():
        found = run(data, ridge=form, ridge_target={names[1]: -0.5, names[3]: 0.8})
        xr.testing.assert_equal(found.drop_vars("iterations"), expected.drop_vars("iterations"))
    xr.testing.assert_identical(run(data, ridge=[0.0] * 4).drop_attrs(), plain.drop_attrs())
    one = run(data, ridge=0.3)["beta"]
    np.testing.assert_array_equal(run(data, ridge=[0.0, 0.3, 0.3, 0.3])["beta"], one)


def test_strong_penalties_reach_the_target(data):
    result = run(data, ridge={"condition[T.B]": 1e4}, ridge_target={"condition[T.B]": 0.7})
    # what is left pulls with a score of some hundreds against 16 * 1e8
    np.testing.assert_allclose(result["beta"].sel(coefficient="condition[T.B]"), 0.7, atol=1e-6)
    offset = run(data, offset=0.7 * (data["condition"].values == "B"))
    without = xd.fit(
        data,
        "~ batch + age",
        offset=0.7 * (data["condition"].values == "B"),
        overdispersion=THETA,
        shrinkage=False,
        size_factors="sf",
    )
    np.testing.assert_allclose(result["deviance"], without["deviance"], rtol=1e-5)
    assert (without["deviance"] >= offset["deviance"] - 1e-9).all()


def test_a_test_finds_the_penalty_again(data, tmp_path):
    options = {"shrinkage": True, "overdispersion": True}
    fitted = run(data, ridge=ROOTS["matrix"], ridge_target=TARGET, **options)
    fitted.to_zarr(tmp_path / "fit.zarr")
    again = xd.test(data.chunk(gene=3), xr.open_zarr(tmp_path / "fit.zarr"), "condition[T.B]")
    np.testing.assert_allclose(again["pval"], fitted["pval"], rtol=1e-8)
    covariance = xd.covariance(data, fitted)
    error = np.sqrt(np.diagonal(covariance.values, axis1=1, axis2=2))
    np.testing.assert_allclose(error, fitted["standard_error"], rtol=1e-9)
    design, scale, g = fitted["design"].values, data["sf"].values, 5
    mu = np.exp(design @ fitted["beta"].values[g]) * scale
    weight = mu / (1.0 + float(fitted["dispersion_trend"][g]) * mu)
    information = design.T @ (weight[:, None] * design) + 16 * ROOTS["matrix"].T @ ROOTS["matrix"]
    expected = np.linalg.inv(information) * float(fitted["ql_dispersion_shrunken"][g])
    np.testing.assert_allclose(covariance[g], expected, rtol=1e-8)


def test_by_group(data):
    data = data.assign(half=("sample", np.tile(["x", "y"], 8).astype(object)))
    options = {
        "ridge": {"condition[T.B]": 0.5},
        "ridge_target": {"condition[T.B]": 0.2},
        "size_factors": "sf",
    }
    found = xd.fit(data, "~ condition", by="half", **options)
    alone = xd.fit(data.isel(sample=data["half"].values == "x"), "~ condition", **options)
    np.testing.assert_allclose(found["beta"].sel(half="x"), alone["beta"], rtol=1e-12)
