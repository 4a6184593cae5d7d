"""Genes at the edges: finite statistics or a status, and no better optimum anywhere.

The referee is `validation/likelihood.py`, SciPy's special functions and none of xdelnx: coefficients are searched
again by Nelder-Mead and BFGS from several starts, overdispersions on a fine grid of log theta. The estimate with the
higher likelihood is right, whoever made it.
"""

import sys
import warnings
from collections import Counter
from pathlib import Path

import mpmath
import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize
from scipy.special import gammaln

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "validation"))
import likelihood

import xdelnx as xd
from xdelnx.schema import LARGEST_LOG2FC, Status

# Deviance above the referee's optimum: Newton's method stops where a step gains 1e-10, and a test's scale is 1.
ROUNDING = 1e-8
# Of a separated gene: once a mean is nothing, what tells the last direction can be 1e-17 of the information, below
# a double's precision. The worst seen is 2.5e-4.
LOST = 1e-3
# The likelihood of theta is compared where it is flat: a step of 1e-5 in log theta is 1e-10 of it times the curvature.
LIKELIHOOD_TOLERANCE = 1e-6
UNSURE = (Status.COEFFICIENTS_NOT_CONVERGED, Status.REDUCED_NOT_CONVERGED, Status.DISPERSION_NOT_CONVERGED)
NO_STATISTICS = (Status.ALL_ZERO, Status.NOT_ESTIMABLE)


def data_of(counts, **columns):
    """Counts (sample, gene) and columns of the samples as a Dataset."""
    n, g = np.shape(counts)
    ds = xr.Dataset({"counts": (("sample", "gene"), np.asarray(counts, dtype=float))})
    ds = ds.assign_coords(sample=[f"s{i}" for i in range(n)], gene=[f"g{j}" for j in range(g)])
    return ds.assign({name: ("sample", values) for name, values in columns.items()})


def check_statistics(fit):
    """Finite and in range, or a status that says why not."""
    status = fit["status"].values
    known = ~np.isin(status, NO_STATISTICS)
    for name in ("beta", "deviance", "dispersion", "mean", "standard_error"):
        values = fit[name].transpose("gene", ...).values[known]
        assert np.isfinite(values).all() or name == "standard_error", name
        assert not np.isnan(values).any(), name
    if "pval" not in fit:
        return
    for name in ("pval", "padj", "stat"):
        values = fit[name].transpose("gene", ...).values
        assert np.isfinite(values[known]).all(), name
        assert np.isnan(values[~known]).all(), name
    p, lfc = fit["pval"].values, fit["log2fc"].values
    assert ((p >= 0) & (p <= 1) | np.isnan(p)).all()
    assert (np.abs(lfc[np.isfinite(lfc)]) <= LARGEST_LOG2FC).all()


def precise_deviance(y, mu, theta):
    """Deviance of one gene, 40 digits: where counts of 1e9 leave no digits to float64's differences."""
    with mpmath.workdps(40):
        total = mpmath.mpf(0)
        for count, mean in zip(map(mpmath.mpf, y.tolist()), map(mpmath.mpf, mu.tolist()), strict=True):
            total += count * mpmath.log(count / mean) if count else 0
            if theta == 0.0:
                total -= count - mean
            else:
                total -= (count + 1 / mpmath.mpf(theta)) * mpmath.log(
                    (1 + theta * count) / (1 + theta * mean)
                )
        return float(2 * total)


def best_deviance(y, design, scale, theta, start):
    """Least deviance of one gene that a search in log means finds, from several starts."""
    orthonormal, triangle = np.linalg.qr(design)

    def objective(b):
        eta = orthonormal @ b
        if not np.abs(eta).max() < 600.0:
            return 1e300, np.zeros(b.size)
        mu = np.exp(eta) * scale
        slope = -2.0 * orthonormal.T @ ((y - mu) / (1.0 + theta * mu))
        return float(likelihood.deviance(y[:, None], mu[:, None], np.array([theta]))[0]), slope

    flat = np.linalg.lstsq(orthonormal, np.log((y + 0.5) / scale), rcond=None)[0]
    even = np.linalg.lstsq(orthonormal, np.full(len(y), np.log((y.sum() + 0.1) / scale.sum())), rcond=None)[0]
    found = [
        minimize(objective, b, jac=True, method="BFGS", options={"gtol": 1e-9})
        for b in (triangle @ start, flat, even)
    ]
    return min(found, key=lambda result: result.fun), orthonormal


def check_coefficients(ds, fit, scale):
    """No search finds a smaller deviance at the overdispersion of the fit."""
    design, theta = fit["design"].values, fit["dispersion_trend"].values
    y, beta, deviance = ds["counts"].values, fit["beta"].values, fit["deviance"].values
    for j in np.flatnonzero(~np.isin(fit["status"].values, (*NO_STATISTICS, *UNSURE))):
        by_gene = scale if scale.ndim == 1 else scale[:, j]
        best, orthonormal = best_deviance(y[:, j], design, by_gene, theta[j], beta[j])
        mu = np.exp(np.clip(orthonormal @ best.x, -600.0, 600.0)) * by_gene
        referee = precise_deviance(y[:, j], mu, theta[j])
        terms = np.sum(
            y[:, j] * (1.0 + np.abs(np.log(np.maximum(y[:, j], 1.0)))) / (1.0 + theta[j] * y[:, j])
        )
        lost = LOST if fit["status"].values[j] == Status.SEPARATED else 0.0
        allowed = ROUNDING * (1.0 + abs(referee)) + 1e-12 * terms + lost
        assert deviance[j] <= referee + allowed, fit["gene"].values[j]


def check_dispersions(ds, fit, first_means, scale):
    """The overdispersion's adjusted likelihood at the first fit's means is on no grid point higher."""
    grid = np.concatenate([[0.0], np.geomspace(1e-8, 1e10, 700)])
    design, y = fit["design"].values, ds["counts"].values
    for j in np.flatnonzero(fit["status"].values == Status.OK):
        theta = float(fit["dispersion"].values[j])
        column, mean = y[:, [j]], first_means[:, [j]]
        at = np.concatenate([[theta], grid, theta * np.exp(np.linspace(-0.2, 0.2, 101))])
        many = [np.broadcast_to(values, (len(y), at.size)) for values in (column, mean)]
        value = likelihood.adjusted_log_likelihood(*many, at, design)
        unadjusted = likelihood.adjusted_log_likelihood(*many, at, design, adjusted=False)
        endless = theta > 1e3 or value[grid.size] >= value[1 : grid.size].max()
        value = unadjusted if endless else value  # as documented: no adjustment where that has no maximum
        digits = 1e-14 * np.sum(np.abs(gammaln(column + 1e8)))  # of theta near 1e-8 SciPy's loggamma cancels
        # 0 is also what any maximum below 1e-8 is called, which only counts of 1e8 could tell from it
        local = np.abs(np.log(np.maximum(at[1:], 1e-12) / theta)) < 3.0 if theta else at[1:] >= 0.0
        reached = value[0] if theta else value[:3].max()
        assert reached >= value[1:][local].max() - LIKELIHOOD_TOLERANCE - digits, (
            fit["gene"].values[j],
            theta,
        )


def edges(n, rng):
    """Counts (sample, gene) of every edge there is, for n samples of which the first half is one group."""
    half = n // 2
    one, first, last = np.eye(n)[0], np.arange(n) < half, np.arange(n) == n - 1
    noise = rng.negative_binomial(3.0, 0.05, n)
    genes = [
        one,
        5 * one,
        1e9 * one,
        last * 3,
        ~first * noise,
        first * noise + 1 * last,
        ~first * 1,
        ~first * 1000,
        first * 1e7,
    ]
    genes += [
        np.ones(n),
        np.full(n, 7),
        np.full(n, 1e6),
        np.full(n, 1e9),
        np.arange(n),
        np.arange(n) ** 6,
        10.0 ** (np.arange(n) % 10),
    ]
    genes += [rng.poisson(m, n) for m in (0.05, 0.5, 3.0, 1e3, 1e6, 1e9)]
    genes += [
        rng.poisson(rng.gamma(1 / t, m * t, n)) for t in (1e-6, 1e-3, 5.0, 50.0, 1e3) for m in (1.0, 1e3, 1e7)
    ]
    genes += [
        np.where(np.arange(n) % 2, 0, 1e6),
        np.where(np.arange(n) % 2, 3, 1e9),
        rng.choice([0, 100], n),
        rng.choice([5, 6], n),
    ]
    return np.array(genes, dtype=float).T


def covariates(n):
    """Columns that are hard on arithmetic."""
    x = np.linspace(-1.0, 1.0, n) ** 3
    group = np.repeat([0.0, 1.0], [n // 2, n - n // 2])
    return {
        "born": 1.7e9 + 3e7 * x,
        "small": 1e-9 * x,
        "huge": 1e30 * x,
        "near": group + 1e-6 * x,
        "far": np.where(np.arange(n) == 0, 1e6, x),
    }


SCALES = {
    "even": lambda n: np.ones(n),
    "far apart": lambda n: np.geomspace(1e-8, 1e8, n),
    "one tiny": lambda n: np.where(np.arange(n) == 1, 1e-8, 1.0),
    "one huge": lambda n: np.where(np.arange(n) == 1, 1e8, 1.0),
}
DESIGNS = [
    "~ 1",
    "~ group",
    "~ 0 + group",
    "~ group + x",
    "~ group + born",
    "~ group + small",
    "~ group + huge",
]
DESIGNS += ["~ group + near", "~ far", "~ bs(born, df=4)"]


def problem(n, design, scale, seed):
    rng = np.random.default_rng(seed)
    group = np.array(["a"] * (n // 2) + ["b"] * (n - n // 2), dtype=object)
    ds = data_of(edges(n, rng), group=group, x=np.sin(np.arange(n)), **covariates(n))
    factors = SCALES[scale](n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.XdelnxWarning)
        return ds, xd.fit(ds, design, size_factors=factors), factors


@pytest.mark.parametrize(("design", "scale"), [(d, list(SCALES)[i % 4]) for i, d in enumerate(DESIGNS)])
def test_edges(design, scale):
    """Every kind of edge in every kind of design."""
    ds, fit, factors = problem(10, design, scale, 1)
    check_statistics(fit)
    check_coefficients(ds, fit, factors)


@pytest.mark.parametrize(("seed", "gene"), [(9, "g32"), (21, "g34")])
def test_a_mean_without_bound_is_no_optimum(seed, gene):
    """A spline over 16 orders of magnitude runs to a mean of e^800 where no sample has a count: said, not reported."""
    ds, fit, factors = problem(10, "~ bs(born, df=4)", "far apart", seed)
    assert fit["status"].sel(gene=gene) == Status.COEFFICIENTS_NOT_CONVERGED
    check_coefficients(ds, fit, factors)


@pytest.mark.parametrize("spread", [100.0, -100.0, 30.0])
def test_offsets_far_apart(spread):
    """Offsets by entry over the whole range that is allowed: scales from e^-100 to e^100."""
    ds = problem(10, "~ group", "even", 3)[0]
    offset = np.linspace(-spread, spread, ds["counts"].size).reshape(ds["counts"].shape)
    fit = xd.fit(ds, "~ group", size_factors=None, offset=offset)
    check_statistics(fit)
    check_coefficients(ds, fit, np.exp(offset))


@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")  # of library sizes that mislead, as here they do
def test_weights_far_apart():
    ds = problem(10, "~ group", "even", 4)[0]
    for weights in (np.geomspace(1e-8, 1e8, 10), np.geomspace(1e8, 1e-8, 10)):
        check_statistics(xd.fit(ds, "~ group", weights=weights))
        check_statistics(xd.fit(ds, "~ group + x", weights=np.tile(weights[:, None], ds.sizes["gene"])))


def test_a_large_count_alone_hides_no_overdispersion():
    """The likelihood of its theta falls at zero, since nothing but Poisson fits exactly; the others are far apart.

    The numbers are those of glmGamPoi 1.10.2 (``glm_gp(..., size_factors=FALSE, overdispersion_shrinkage=FALSE)``).
    """
    counts = np.array([[640983, 107, 0], [640983, 107, 1], [1e5, 50, 150], [1e4, 20, 60]]).T
    ds = data_of(counts, group=np.array(["a", "b", "b"], dtype=object))
    fit = xd.fit(ds, "~ group", size_factors=None, shrinkage=False)
    # to the tolerance of R's search
    np.testing.assert_allclose(fit["dispersion"], [8.9589138, 3.2435712, 0.4533247, 0.4406484], rtol=1e-4)
    means = ds["counts"].groupby(ds["group"]).mean().sel(group=ds["group"]).values
    check_dispersions(ds, fit, means, np.ones(3))


def test_units_of_a_covariate_change_no_p_value():
    """Small ones make coefficients and errors large, which are not those of an effect at infinity."""
    ds = xd.simulate(12, 60, covariate="x", seed=2)
    ds = ds.assign(donor=("sample", np.repeat(list("abcdef"), 2).astype(object)))
    for options in ({}, {"cluster": "donor"}, {"shrinkage": False}):
        expected = xd.fit(ds, "~ condition + x", **options)
        for unit in (1e-9, 1e9):
            fit = xd.fit(ds.assign(x=unit * ds["x"]), "~ condition + x", **options)
            # the basis is rounded differently; means agree to 1e-9, and t statistics of few clusters lose some digits
            ok = expected["status"].values == Status.OK
            np.testing.assert_allclose(fit["pval"].values[:, ok], expected["pval"].values[:, ok], rtol=1e-5)
            np.testing.assert_allclose(
                unit * fit["coef"].values[:, ok], expected["coef"].values[:, ok], rtol=1e-5
            )
            assert np.isfinite(fit["pval"].values[:, ok]).all()


@pytest.mark.filterwarnings("ignore::xdelnx.XdelnxWarning")
def test_a_gene_that_drags_the_library_size():
    """A gene of 1e7 in half of the samples makes the others look down under normed_sum, as it must; ratio does not."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(rng.gamma(10.0, 10.0, 40), (12, 40)).astype(float)
    counts[6:, 0] = 1e7
    ds = data_of(counts, group=np.repeat(["a", "b"], 6).astype(object))
    for method, largest in (("normed_sum", np.inf), ("ratio", 0.5), ("tmm", 0.5)):
        fit = xd.fit(ds, "~ group", size_factors=method)
        check_statistics(fit)
        check_coefficients(ds, fit, fit["size_factor"].values)
        assert np.abs(fit["log2fc"].values[0, 1:]).max() < largest


def test_the_referee_would_notice():
    """A deviance or an overdispersion that is slightly off is found out."""
    ds, fit, factors = problem(12, "~ group", "even", 2)
    with pytest.raises(AssertionError):
        check_coefficients(ds, fit.assign(deviance=fit["deviance"] + 1e-4), factors)
    means = ds["counts"].groupby(ds["group"]).mean().sel(group=ds["group"]).values
    for factor in (0.97, 1.03):
        with pytest.raises(AssertionError):
            check_dispersions(ds, fit.assign(dispersion=fit["dispersion"] * factor), means, factors)


def check_searched(n, design, seed):
    """Statistics, coefficients and overdispersions, where the first fit's means are those of the groups."""
    ds, fit, factors = problem(n, design, "even", seed)
    check_statistics(fit)
    check_coefficients(ds, fit, factors)
    means = (
        ds["counts"].groupby(ds["group"]).mean().sel(group=ds["group"])
        if "group" in design
        else ds["counts"].mean("sample")
    )
    check_dispersions(
        ds, fit, np.broadcast_to(means.transpose(..., "gene").values, ds["counts"].shape), factors
    )
    return Counter(Status(s).name for s in fit["status"].values)


@pytest.mark.parametrize(
    ("n", "design"), [(2, "~ 1"), (3, "~ group"), (4, "~ group"), (6, "~ 0 + group"), (12, "~ group")]
)
def test_edges_searched(n, design):
    """From one residual degree of freedom up: no coefficient and no overdispersion has a higher likelihood."""
    check_searched(n, design, 2)


@pytest.mark.stress
def test_edges_in_full():
    found = Counter()
    for seed in range(25):
        for n, design in ((2, "~ 1"), (3, "~ group"), (5, "~ 1"), (8, "~ group"), (20, "~ 0 + group")):
            found += check_searched(n, design, seed)
        for design in DESIGNS:
            for scale in SCALES:
                ds, fit, factors = problem(9 + seed % 4, design, scale, seed)
                check_statistics(fit)
                check_coefficients(ds, fit, factors)
                found += Counter(Status(s).name for s in fit["status"].values)
    print(f"{found.total():,} edge genes: {dict(found)}")
