"""Observation weights: statsmodels, repeated and left out samples, a grid of the adjusted likelihood."""

import dask.array as da
import numpy as np
import pytest
import scipy.special
import statsmodels.api as sm
import xarray as xr
from scipy.sparse import csc_array

import xdelnx as xd
from xdelnx.algorithms.observations import DenseObservations
from xdelnx.algorithms.shrinkage import prior_log_likelihood
from xdelnx.kernels.backend import CPU
from xdelnx.status import Status

FORMULA = "~ batch + age + condition"
RESULTS = [
    "beta",
    "deviance",
    "dispersion",
    "dispersion_trend",
    "ql_dispersion",
    "ql_prior",
    "prior_df",
    "mean",
]
RESULTS += [
    "ql_dispersion_shrunken",
    "coef",
    "standard_error",
    "lfc_se",
    "stat",
    "pval",
    "residual_df",
    "df2",
]
# Both fits stop within 1e-10 (the decrement, then squared) of the same optimum; a chain of a few of these
LEFT_OUT = {"rtol": 1e-8, "atol": 1e-10}


@pytest.fixture(scope="module")
def data(bulk):
    """Counts with size factors of their own, so that leaving a sample out leaves those of the others."""
    factors = np.exp(np.random.default_rng(1).normal(0.0, 0.3, bulk.sizes["sample"]))
    return bulk.assign(sf=("sample", factors))


def run(data, **options):
    return xd.fit(data, FORMULA, size_factors="sf", **options)


def with_a_full_gene(data, genes):
    """Genes at these positions and, at the end, one with counts in every sample."""
    full = data["counts"].isel(gene=[-1]).assign_coords(gene=["full"]).clip(min=5)
    counts = xr.concat([data["counts"].isel(gene=list(genes)), full], "gene")
    return data.drop_dims("gene").assign(counts=counts)


def assert_same(one, other, names=RESULTS, **tolerance):
    """Equal variables; coefficients on their way to infinity (separated genes) stop anywhere far out."""
    finite = np.isin(one["status"].values, [Status.OK, Status.ALL_ZERO])
    np.testing.assert_array_equal(one["status"], other["status"])
    for name in names:
        first, second = xr.broadcast(one[name], other[name])
        if "gene" in first.dims:
            first, second = first.isel(gene=finite), second.isel(gene=finite)
        np.testing.assert_allclose(first, second, err_msg=name, **(tolerance or LEFT_OUT))


# ---- a weight of 0 ---------------------------------------------------------------------------------------

LEFT = np.array([2, 9])
OPTIONS = {
    "plain": {},
    "robust": {"robust": True},
    "no Cox-Reid": {"cox_reid": False, "shrinkage": False},
    "given": {"overdispersion": 0.3},
    "global": {"overdispersion": "global"},
    "edger": {"method": "edger"},
    "ridge": {"ridge": [0.1, 0.3, 0.01, 0.2], "ridge_target": {"age": 0.1}},
}


@pytest.mark.parametrize("per_entry", [False, True])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_zero_leaves_a_sample_out(data, options, per_entry):
    weights, offset = np.ones(16), np.random.default_rng(2).normal(0.0, 0.2, (16, 400))
    weights[LEFT] = 0.0
    kept = weights > 0.0
    given = np.repeat(weights[:, None], 400, axis=1) if per_entry else weights
    found = run(data, weights=given, offset=offset, **options)
    expected = run(data.isel(sample=kept), offset=offset[kept], **options)
    assert_same(found, expected, [name for name in RESULTS if name in expected])
    tested = xd.test(data, found, "age", lfc_threshold=0.01)
    assert_same(
        tested, xd.test(data.isel(sample=kept), expected, "age", lfc_threshold=0.01), ["stat", "pval"]
    )


@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_zero_leaves_a_sample_of_one_gene_out(data, ridge):
    # every gene is fitted with those of its own samples whose weight is 1
    rng, part = np.random.default_rng(3), with_a_full_gene(data, range(1, 40))
    weights = (rng.random((16, 40)) > 0.15).astype(float)
    weights[:, -1] = 1.0
    found = run(part, weights=weights, shrinkage=False, ridge=ridge)
    np.testing.assert_array_equal(found["residual_df"], weights.sum(axis=0) - 4)
    for pattern in np.unique(weights, axis=1).T[::4]:
        genes = np.flatnonzero((weights[:, :-1] == pattern[:, None]).all(axis=0))
        if not found["status"][genes].isin([Status.OK]).all():
            continue
        alone = run(part.isel(sample=pattern > 0.0, gene=[*genes, -1]), shrinkage=False, ridge=ridge)
        assert_same(
            found.isel(gene=genes),
            alone.isel(gene=slice(-1)),
            ["beta", "dispersion", "deviance", "mean", "pval", "lfc_se"],
        )


def test_genes_of_unequal_freedom_share_a_prior(data):
    # d0 and s0^2 maximise the likelihood of F(d_g, d0), each gene with its own d; below 100 genes s0^2 is constant
    weights = (np.random.default_rng(4).random((16, 90)) > 0.2).astype(float)
    result = run(data.isel(gene=slice(90)), weights=weights)
    known = np.isfinite(result["ql_dispersion"].values) & (result["mean"].values > 1e-8)
    assert set(np.unique(result["residual_df"])) >= {6.0, 8.0, 10.0}
    q, d = result["ql_dispersion"].values[known], result["residual_df"].values[known]
    level, d0 = np.log(result["ql_prior"].values[known][0]), float(result["prior_df"])
    best = prior_log_likelihood(q, d, level, d0)
    for step in (-0.01, 0.01):
        assert prior_log_likelihood(q, d, level + step, d0) < best
        assert prior_log_likelihood(q, d, level, d0 * np.exp(step)) < best
    shrunken = (d0 * np.exp(level) + d * q) / (d0 + d)
    np.testing.assert_allclose(result["ql_dispersion_shrunken"].values[known], shrunken, rtol=1e-12)
    np.testing.assert_allclose(result["df2"], result["residual_df"] + d0, rtol=1e-12)


def test_genes_that_weights_leave_too_little(data):
    weights = np.ones((16, 400))
    group = data["condition"].values == data["condition"].values[0]
    weights[np.ix_(group, [5])] = 0.0  # a coefficient without a sample
    weights[3:, 6] = 0.0  # three samples for four coefficients
    weights[:, 7] = 0.0
    weights[data["counts"].values[:, 8] > 0, 8] = 0.0  # no count left
    result = run(data, weights=weights)
    short = result.isel(gene=[5, 6, 7])
    assert (short["status"] == Status.NOT_ESTIMABLE).all()
    for name in ("beta", "mean", "dispersion", "ql_dispersion_shrunken", "stat", "pval", "padj", "lfc_se"):
        assert short[name].isnull().all(), name
    assert result["status"][8] in (Status.ALL_ZERO, Status.NOT_ESTIMABLE)
    tested = xd.test(data, result, "age")
    np.testing.assert_array_equal(tested["status"][5:8], Status.NOT_ESTIMABLE)
    assert tested["pval"][0, 5:8].isnull().all()
    others = np.setdiff1d(np.arange(400), [5, 6, 7, 8])
    expected = run(data.isel(gene=others), weights=weights[:, others])
    assert_same(result.isel(gene=others), expected)


def test_zero_leaves_a_sample_of_a_cluster_out(data):
    data = data.assign(donor=("sample", np.repeat(np.arange(8), 2).astype(str).astype(object)))
    data = data.assign(condition=("sample", np.repeat(["A", "B"], 8).astype(object)))
    weights = np.where(np.arange(16) == 5, 0.0, 1.0)
    options = {"size_factors": "sf", "cluster": "donor"}
    found = xd.fit(data, "~ condition", weights=weights, **options)
    expected = xd.fit(data.isel(sample=weights > 0.0), "~ condition", **options)
    assert_same(found, expected, ["beta", "standard_error", "pval", "df2"])


# ---- other weights ---------------------------------------------------------------------------------------


def test_whole_weights_repeat_samples(data):
    # residual_df counts samples, not weights: without shrinkage nothing depends on it
    repeats = np.random.default_rng(5).integers(0, 4, 16)
    rows = np.repeat(np.arange(16), repeats)
    repeated = data.isel(sample=rows).assign_coords(sample=[f"r{i}" for i in range(rows.size)])
    names = ["beta", "standard_error", "deviance", "dispersion", "mean", "coef", "lfc_se", "stat", "pval"]
    for options in ({}, {"ridge": 0.3}, {"ridge": [0.0, 0.3, 0.01, 0.2], "ridge_target": {"age": 0.1}}):
        found = run(data, weights=repeats, shrinkage=False, **options)
        assert_same(found, run(repeated, shrinkage=False, **options), names)


def test_all_weights_one_change_nothing(data):
    offset = np.random.default_rng(6).normal(0.0, 0.2, (16, 400))
    expected = run(data, offset=offset)
    for weights in (np.ones(16), np.ones((16, 400))):
        assert_same(run(data, offset=offset, weights=weights), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("per_entry", [False, True])
def test_against_statsmodels(data, per_entry):
    # var_weights multiply the log likelihood of an observation, as ours do; its fit stops at 1e-12 of the deviance
    part, theta = data.isel(gene=slice(0, 400, 20)), 0.2
    weights = np.random.default_rng(7).uniform(0.1, 3.0, part["counts"].shape if per_entry else 16)
    result = run(part, weights=weights, overdispersion=theta, shrinkage=False)
    design, offset = result["design"].values, np.log(part["sf"].values)
    for g in np.flatnonzero(result["status"].values == Status.OK):
        y, w = part["counts"].values[:, g], weights[:, g] if per_entry else weights
        family = sm.families.NegativeBinomial(alpha=theta)
        model = sm.GLM(y, design, family, offset=offset, var_weights=w)
        found = model.fit(method="newton", start_params=result["beta"][g].values, tol=1e-12)
        np.testing.assert_allclose(result["beta"][g], found.params, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(result["deviance"][g], found.deviance, rtol=1e-8)
        scaled = model.fit(scale=1.0, start_params=found.params, tol=1e-12)
        np.testing.assert_allclose(result["standard_error"][g], scaled.bse, rtol=1e-5)


def adjusted_likelihood(y, mu, weights, design, log_theta):
    """Formula of the reference text, written down directly: (theta,)."""
    theta = np.exp(log_theta)[:, None]
    r = 1.0 / theta
    terms = (
        scipy.special.gammaln(y + r) - scipy.special.gammaln(r) - (y + r) * np.log(mu + r) - r * np.log(theta)
    )
    information = weights / (1.0 / mu + theta)
    adjustment = [np.linalg.slogdet(design.T @ (w[:, None] * design))[1] for w in information]
    return np.sum(weights * terms, axis=1) - 0.99 * 0.5 * np.array(adjustment)


def test_dispersion_maximises_the_weighted_likelihood(data):
    part = data.isel(gene=slice(100, 160))
    weights = np.random.default_rng(8).uniform(0.0, 3.0, part["counts"].shape)
    weights[weights < 0.3] = 0.0
    first = run(part, weights=weights, overdispersion=0.1, shrinkage=False)
    result = run(part, weights=weights, shrinkage=False)
    grid, compared = np.linspace(np.log(1e-3), np.log(10.0), 4001), 0
    for g in np.flatnonzero(result["status"].values == Status.OK):
        # the mean at which it was estimated is that of the moment estimate; the final one is near
        theta = float(result["dispersion"][g])
        moment, own = _moment(part, weights, g), np.repeat(weights[:, [g]], 2, axis=1)
        again = run(with_a_full_gene(part, [g]), weights=own, overdispersion=moment, shrinkage=False)
        mu = np.exp(again["beta"].values[0] @ first["design"].values.T) * part["sf"].values
        values = adjusted_likelihood(
            part["counts"].values[:, g], mu, weights[:, g], first["design"].values, grid
        )
        best = grid[np.argmax(values)]
        if grid[0] < best < grid[-1]:
            # the grid is 2.3e-3 apart
            np.testing.assert_allclose(np.log(theta), best, atol=1.2e-3 + 1e-9)
            compared += 1
    assert compared > 30


def _moment(data, weights, g):
    y, w, scale = data["counts"].values[:, g], weights[:, g], data["sf"].values
    mean = np.average(y, weights=w)
    free = max(w.sum() - 1.0, w.sum() - np.sum(w**2) / w.sum())
    variance = np.sum(w * (y - mean) ** 2) / free
    return max((variance - mean / np.average(scale, weights=w)) / mean**2, 0.0)


def test_variance_of_weights_on_any_scale():
    # unbiased for precisions, whatever their scale; that of the repeated samples for whole numbers
    y, starts = np.array([[3.0, 5.0, 11.0, 2.0]]), np.array([0, 4])
    arrays = y, np.ones((1, 4))

    def variance(weights):
        return DenseObservations(CPU, *arrays, np.array([weights], float), starts, weighted=True).moments()[
            1
        ][0]

    assert variance([1, 1, 1, 1]) == pytest.approx(np.var(y, ddof=1), rel=1e-14)
    assert variance([0.2, 0.2, 0.2, 0.2]) == pytest.approx(np.var(y, ddof=1), rel=1e-14)
    assert variance([2, 0, 3, 1]) == pytest.approx(np.var([3, 3, 11, 11, 11, 2], ddof=1), rel=1e-14)
    assert variance([0, 0, 1, 0]) == 0.0


# ---- where weights come from, and how ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numpy", "chunked", "sparse", "lazy", "by name"])
def test_same_on_any_array(data, kind):
    weights = np.random.default_rng(9).uniform(0.0, 2.0, data["counts"].shape)
    weights[weights < 0.3] = 0.0
    expected = run(data, weights=weights)
    labelled = xr.DataArray(weights, data["counts"].coords, ("sample", "gene"))
    if kind == "sparse":
        counts = da.from_array(data["counts"].values, chunks=(16, 70))
        counts = counts.map_blocks(csc_array, dtype=counts.dtype, meta=csc_array((0, 0), dtype=counts.dtype))
        other = data.drop_vars("counts").assign(counts=(("sample", "gene"), counts))
        found = run(other, weights=weights)
    elif kind == "by name":
        data = data.assign(w=labelled.T)
        found = run(data, weights="w")
        assert "weights" not in found
    elif kind == "lazy":
        data = data.chunk(gene=70)
        found = run(data, weights=labelled.chunk(gene=33), compute=False).compute()
    else:
        found = run(data.chunk(gene=70) if kind == "chunked" else data, weights=weights)
    # blocks change the order of sums across genes only
    assert_same(found, expected, rtol=1e-10, atol=1e-12)
    if kind != "sparse":
        again = xd.test(data, found, "condition[T.B]")
        np.testing.assert_allclose(again["pval"], expected["pval"], rtol=1e-8)
        covariance = xd.covariance(data, found, ["g3", "g10"])
        variance = np.diagonal(covariance.values, axis1=1, axis2=2)
        error = expected["standard_error"].sel(gene=["g3", "g10"])
        np.testing.assert_allclose(np.sqrt(variance), error, rtol=1e-8)


def test_read_back(data, tmp_path):
    weights = np.linspace(0.0, 2.0, 16)
    found = run(data, weights=xr.DataArray(weights, {"sample": data["sample"]}, "sample"))
    np.testing.assert_array_equal(found["weights"], weights)
    found.to_zarr(tmp_path / "fit.zarr")
    again = xd.test(data, xr.open_zarr(tmp_path / "fit.zarr"), "condition[T.B]")
    np.testing.assert_allclose(again["pval"], found["pval"], rtol=1e-8)


def test_by_group(data):
    weights = np.random.default_rng(10).uniform(0.5, 2.0, (16, 400))
    data = data.assign(half=("sample", np.tile(["x", "y"], 8).astype(object)))
    found = xd.fit(data, "~ condition", by="half", weights=weights, size_factors="sf")
    for name in ("x", "y"):
        rows = data["half"].values == name
        alone = xd.fit(data.isel(sample=rows), "~ condition", weights=weights[rows], size_factors="sf")
        np.testing.assert_allclose(found["pval"].sel(half=name), alone["pval"], rtol=1e-10)
    only_x = np.where(data["half"].values == "x", 1.0, 0.0)
    with pytest.warns(xd.XdelnxWarning, match=r"1 of 2 groups of 'half' were not fitted .*every weight is 0"):
        found = xd.fit(data, "~ condition", by="half", weights=only_x, size_factors="sf")
    assert found["beta"].sel(half="y").isnull().all()
