"""The robust prior against limma, against integrals, and on counts with genes that are planted as hypervariable."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.integrate
import scipy.stats
import xarray as xr

import xdelnx as xd
from xdelnx.algorithms.robust_prior import (
    LOWER_TAIL,
    UPPER_TAIL,
    matching_df,
    outlier_df,
    robust_scale,
    winsorised_moments,
)
from xdelnx.algorithms.shrinkage import fit_prior, natural_spline

LIMMA = pd.read_csv(Path(__file__).parent / "data" / "robust" / "limma.csv.gz")


def case(name):
    table = LIMMA[LIMMA["case"] == name]
    x, d = table["x"].values, table["d"].values.astype(float)
    return table, x, d if np.ptp(d) else float(d[0])


# ---- limma's robust hyperparameters of the same variances ------------------------------------------------


@pytest.mark.parametrize("name", ["few", "many", "nearly normal", "few df"])
def test_scale_and_df_are_limmas(name):
    """Of one scale for all genes. 1e-6: limma searches for the df to about 1e-7."""
    table, x, d = case(name)
    log_scale, prior_df = robust_scale(np.ones((x.size, 1)), x, d)
    np.testing.assert_allclose(np.exp(log_scale), table["scale"], rtol=1e-6)
    assert prior_df == pytest.approx(table["df2"].iloc[0], rel=1e-6)


@pytest.mark.parametrize("name", ["few", "many", "nearly normal", "few df"])
def test_outliers_are_limmas(name):
    """The same genes are set apart, most with the same df, and all with the same below twice the fewest.

    Ours come down to the df at which the largest dispersion is a median one; limma's fewest are up to a third
    larger or smaller, which moves the others by what they have of it, and it pools the farthest genes.
    """
    table, x, d = case(name)
    by_gene = fit_prior(np.ones(x.size), x, d, robust=True)[1]
    theirs = table["df2_by_gene"].values
    np.testing.assert_array_equal(by_gene < 0.9 * by_gene.max(), theirs < 0.9 * theirs.max())
    assert np.median(np.abs(np.log(by_gene / theirs))) < 1e-6
    np.testing.assert_allclose(by_gene, theirs, rtol=0.1, atol=0.5 * theirs.min())


def test_without_outliers_the_prior_is_that_of_all_genes():
    """Winsorised moments give fewer df than all genes do: both fall back, to maximum likelihood here, moments there."""
    table, x, d = case("none")
    assert robust_scale(np.ones((x.size, 1)), x, d)[1] < table["df2"].iloc[0]
    scale, by_gene = fit_prior(np.ones(x.size), x, d, robust=True)
    plain, d0 = fit_prior(np.ones(x.size), x, d)
    np.testing.assert_array_equal(scale, plain)
    assert by_gene.max() == d0
    assert d0 == pytest.approx(table["df2"].iloc[0], rel=0.05)  # the efficiency of moments: a few percent


def test_a_trend_is_near_limmas():
    """A natural spline here, a loess curve there: both are near the truth, and the df differ by a percent."""
    table, x, d = case("trend")
    mean = table["mean"].values
    basis = natural_spline(mean, np.linspace(mean.min(), mean.max(), 4))
    log_scale, prior_df = robust_scale(basis, x, d)
    truth = np.log(0.1) + 1.0 - 0.3 * mean + 0.02 * mean**2
    limma = np.log(table["scale"].values)
    assert np.sqrt(np.mean((log_scale - truth) ** 2)) < 1.1 * np.sqrt(np.mean((limma - truth) ** 2))
    assert prior_df == pytest.approx(table["df2"].iloc[0], rel=0.01)


def test_unequal_df_are_no_farther_from_the_regular_genes_than_limmas():
    """Both bring the genes to one df by quantiles: at the final prior here, on the way to it there."""
    table, x, d = case("unequal")
    log_scale, prior_df = robust_scale(np.ones((x.size, 1)), x, d)
    scale, regular_df = fit_prior(np.ones(x.size - 30), x[30:], d[30:])
    limma_scale, limma_df = table[["scale", "df2"]].iloc[0]
    assert abs(np.log(prior_df / regular_df)) < abs(np.log(limma_df / regular_df))
    np.testing.assert_allclose(np.exp(log_scale), scale[0], rtol=0.05)
    np.testing.assert_allclose(np.exp(log_scale), limma_scale, rtol=0.05)


# ---- definitions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "d0"), [(1.0, 0.5), (4.0, 9.0), (30.0, 2.0), (5.0, np.inf)])
def test_winsorised_moments_by_integration(d, d0):
    density = scipy.stats.chi2(d, scale=1.0 / d) if np.isinf(d0) else scipy.stats.f(d, d0)
    low, high = np.log(density.ppf([LOWER_TAIL, 1.0 - UPPER_TAIL]))

    def moment(function):
        inside = scipy.integrate.quad(
            lambda z: function(z) * density.pdf(np.exp(z)) * np.exp(z), low, high, epsabs=1e-12
        )
        return inside[0] + LOWER_TAIL * function(low) + UPPER_TAIL * function(high)

    mean = moment(lambda z: z)
    expected = mean, moment(lambda z: (z - mean) ** 2)
    np.testing.assert_allclose(
        winsorised_moments(d, d0), expected, rtol=1e-8, atol=1e-10
    )  # of both quadratures


@pytest.mark.parametrize("d0", [0.3, 5.0, 4000.0])
def test_matching_df_inverts_the_variance(d0):
    # the variance hardly falls any more where the prior is that strong
    assert matching_df(winsorised_moments(6.0, d0)[1], 6.0) == pytest.approx(d0, rel=1e-6)
    assert np.isinf(matching_df(0.99 * winsorised_moments(6.0, np.inf)[1], 6.0))


@pytest.mark.parametrize("d0", [8.0, np.inf])
def test_df_of_outliers(d0):
    rng = np.random.default_rng(0)
    x = rng.chisquare(6, 500) / 6 if np.isinf(d0) else rng.f(6, d0, 500)
    x[:3] = 200.0, 50.0, 300.0
    found = outlier_df(x, 6.0, d0)
    order = np.argsort(-x)
    assert (found[order][1:] >= found[order][:-1]).all()
    assert found.max() == d0
    # the largest dispersion is a median one at the df of its gene
    assert scipy.stats.f.sf(x.max(), 6, found[2]) == pytest.approx(0.5, rel=1e-3)
    p = (np.arange(50) + 0.5) / 50  # quantiles, which are no outliers
    expected = scipy.stats.chi2.ppf(p, 6) / 6 if np.isinf(d0) else scipy.stats.f.ppf(p, 6, d0)
    np.testing.assert_allclose(outlier_df(expected, 6.0, d0), d0, rtol=1e-6)


def test_without_outliers_it_is_near_maximum_likelihood():
    """Both estimate the same thing; 20,000 genes, so a standard error of a percent or two."""
    rng = np.random.default_rng(4)
    mean = np.exp(rng.normal(3.0, 1.5, 20_000))
    q = mean**0.1 * rng.f(8, 5.0, mean.size)
    x = np.log(mean)
    log_scale, prior_df = robust_scale(natural_spline(x, np.linspace(x.min(), x.max(), 4)), q, 8.0)
    scale, d0 = fit_prior(mean, q, 8.0)
    assert prior_df == pytest.approx(d0, rel=0.05)
    middle = (mean > 2.0) & (mean < 200.0)
    np.testing.assert_allclose(np.exp(log_scale[middle]), scale[middle], rtol=0.03)


def test_maximum_likelihood_of_unequal_df():
    """The limit of an infinite d0 and a finite one, against SciPy's densities on a grid."""
    rng = np.random.default_rng(5)
    d = rng.choice([2.0, 5.0, 11.0], 90)
    for draw in (rng.f(d, 6.0), rng.chisquare(d) / d):
        scale, d0 = fit_prior(np.full(90, 3.0), draw, d)
        s = scale[0]

        def log_likelihood(s, d0, draw=draw):
            if np.isinf(d0):
                return scipy.stats.chi2.logpdf(d * draw / s, d).sum() + np.log(d / s).sum()
            return scipy.stats.f.logpdf(draw / s, d, d0).sum() - 90 * np.log(s)

        best = log_likelihood(s, d0)
        for factor in (0.97, 1.03):
            assert log_likelihood(s * factor, d0) < best
            assert np.isinf(d0) or log_likelihood(s, d0 * factor) < best + 1e-9


def test_few_genes_have_the_prior_of_maximum_likelihood():
    q = np.random.default_rng(0).f(5, 6, 9)
    plain, robust = fit_prior(np.ones(9), q, 5.0), fit_prior(np.ones(9), q, 5.0, robust=True)
    np.testing.assert_array_equal(robust[0], plain[0])
    np.testing.assert_array_equal(robust[1], plain[1])
    np.testing.assert_array_equal(fit_prior(np.ones(20), np.ones(20), 5.0, robust=True)[1], np.inf)


def test_dispersions_that_cannot_be_small_do_not_make_the_prior_certain():
    """Of genes with few counts q is near 1 whatever their dispersion: the moments are those of the others."""
    rng = np.random.default_rng(8)
    mean = np.exp(rng.uniform(-2.0, 8.0, 4000))
    q = rng.f(3, 6.0, 4000)
    few = mean < 40.0
    q[few] = 1.0 + 0.01 * rng.normal(size=few.sum())
    assert np.isinf(fit_prior(mean, q, 3.0, robust=True)[1].max())
    by_gene = fit_prior(mean, q, 3.0, robust=True, tail=~few)[1]
    assert by_gene.max() == fit_prior(mean, q, 3.0)[1] < np.inf  # the others' moments say fewer


# ---- counts ----------------------------------------------------------------------------------------------


def planted(seed=0, n_genes=2000, hypervariable=60):
    """8 against 8 samples, 200 genes changed twofold; the last genes are hypervariable and unchanged."""
    rng = np.random.default_rng(seed)
    mean = np.exp(rng.uniform(3.0, 7.0, n_genes))
    theta = 0.1 * 12 / rng.chisquare(12, n_genes)
    theta[-hypervariable:] *= 20.0
    lfc = np.zeros(n_genes)
    lfc[:200] = rng.choice([-1.0, 1.0], 200)
    group = np.arange(16) >= 8
    expected = mean * 2.0 ** np.outer(group, lfc)
    counts = rng.poisson(expected * rng.gamma(1.0 / theta, theta, expected.shape))
    names = {"sample": [f"s{i}" for i in range(16)], "gene": [f"g{i}" for i in range(n_genes)]}
    data = xr.Dataset({"counts": (("sample", "gene"), counts), "group": ("sample", group)}, names)
    return data, lfc != 0.0, np.arange(n_genes) >= n_genes - hypervariable


def test_hypervariable_genes_calm_down_and_the_others_gain():
    data, changed, wild = planted()
    plain = xd.fit(data, "~ group", size_factors=None)
    robust = xd.fit(data, "~ group", size_factors=None, robust=True)
    df = robust["prior_df"].values
    assert np.median(df[~wild]) > 1.3 * float(plain["prior_df"])
    assert (df[~wild] > 0.9 * df.max()).mean() > 0.9
    assert np.median(df[wild]) < 0.3 * float(plain["prior_df"])
    np.testing.assert_array_equal(robust["df2"], robust["residual_df"] + robust["prior_df"])
    p = {name: result["pval"].values[0] for name, result in (("plain", plain), ("robust", robust))}
    assert np.median(p["robust"][wild] / p["plain"][wild]) > 1.0
    assert p["robust"][wild].min() > p["plain"][wild].min()
    # power: more of the changed genes, at a false discovery rate that holds
    called = {name: result["padj"].values[0] < 0.05 for name, result in (("p", plain), ("r", robust))}
    assert called["r"][changed].sum() > called["p"][changed].sum()
    false = called["r"] & ~changed
    assert false.sum() / called["r"].sum() < 0.05 + 3.0 * np.sqrt(0.05 * 0.95 / called["r"].sum())
    assert false[wild].sum() <= (called["p"] & ~changed)[wild].sum()


@pytest.fixture(scope="module")
def pair():
    data, _, _ = planted(seed=1, n_genes=500, hypervariable=15)
    data["counts"][:, 7] = 0
    return data, xd.fit(data, "~ group", robust=True)


def test_every_result_knows_of_it(pair, tmp_path):
    data, fitted = pair
    assert fitted["prior_df"].dims == fitted["df2"].dims == ("gene",)
    assert np.isnan(fitted["prior_df"][7])
    assert np.ptp(fitted["df2"].values[np.isfinite(fitted["df2"])]) > 1.0
    fitted.to_zarr(tmp_path / "fit.zarr")
    with xr.open_zarr(tmp_path / "fit.zarr") as stored:
        again = xd.test(data, stored, ["group[T.True]", "Intercept"])
    np.testing.assert_allclose(again["pval"][0], fitted["pval"][0], rtol=1e-10)
    t = scipy.stats.t.ppf(0.975, fitted["df2"].values)
    np.testing.assert_allclose(again["ci_high"][0], again["coef"][0] / np.log(2) + t * again["lfc_se"][0])
    stat = fitted["stat"].values[0]
    np.testing.assert_allclose(fitted["pval"][0], scipy.stats.f.sf(stat, 1, fitted["df2"].values), rtol=1e-10)
    assert again["df2"].dims == ("gene",)


def test_what_comes_after_a_fit(pair):
    data, fitted = pair
    tiny = xd.test(data, fitted, lfc_threshold=1e-9)
    np.testing.assert_allclose(tiny["pval"], fitted["pval"], rtol=1e-4)  # threshold over standard error
    shrunken = xd.shrink_lfc(fitted)
    assert shrunken["log2fc_shrunken"].dims == ("contrast", "gene")
    assert np.isfinite(shrunken["s_value"]).sum() == 499
    some = xd.covariance(data, fitted, ["g3", "g499"])
    diagonal = np.diagonal(some.values, axis1=1, axis2=2)
    np.testing.assert_allclose(
        np.sqrt(diagonal), fitted["standard_error"].sel(gene=["g3", "g499"]), rtol=1e-10
    )
    assert len(xd.top_table(fitted)) == 500
    xd.plot.ql_dispersion(fitted)
    xd.plot.volcano(fitted)


@pytest.mark.parametrize("kind", ["chunked", "sparse", "lazy"])
def test_chunks_change_nothing(pair, kind):
    import dask.array as da
    import sparse

    data, fitted = pair
    other = data.chunk(gene=90)
    if kind == "sparse":
        other["counts"] = (
            ("sample", "gene"),
            da.from_array(sparse.COO(data["counts"].values), chunks=(16, 90)),
        )
    result = xd.fit(other, "~ group", robust=True, compute=kind != "lazy")
    for name in ("prior_df", "df2", "pval", "ql_dispersion_shrunken", "ci_low"):
        assert bool(result[name].chunks) == (kind == "lazy")
        np.testing.assert_allclose(result[name], fitted[name], rtol=1e-10)


def test_groups_have_priors_of_their_own(pair):
    data, _ = pair
    data = data.assign(cell=("sample", np.tile(["a", "b"], 8)))
    result = xd.fit(data, "~ group", robust=True, by="cell")
    alone = xd.fit(data.isel(sample=slice(0, None, 2)), "~ group", robust=True)
    assert result["prior_df"].dims == ("cell", "gene")
    np.testing.assert_allclose(result["prior_df"].sel(cell="a"), alone["prior_df"], rtol=1e-10)
