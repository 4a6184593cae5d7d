"""Errors and tests that are robust to what the samples of a cluster share."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import statsmodels.api as sm
import xarray as xr
from scipy import stats

import xdelnx as xd
from xdelnx.algorithms import sandwich


def of_donors(n_donors=12, per_donor=(20, 40), n_genes=40, sd=0.4, seed=0, low=-0.5):
    """Cells of donors that differ in every gene; half of the donors have condition B; no gene changes."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(*per_donor, n_donors)
    donor = np.repeat(np.arange(n_donors), sizes)
    n = donor.size
    mean = rng.lognormal(low + 1.0, 1.0, n_genes)
    factors = rng.lognormal(0.0, 0.3, n)
    mu = factors[:, None] * mean * np.exp(rng.normal(0.0, sd, (n_donors, n_genes))[donor])
    counts = rng.poisson(mu * rng.gamma(4.0, 0.25, mu.shape)).astype(np.int32)
    names = {"sample": [f"c{i}" for i in range(n)], "gene": [f"g{i}" for i in range(n_genes)]}
    ds = xr.Dataset({"counts": (("sample", "gene"), counts)}, names)
    return ds.assign(
        donor=("sample", np.array([f"d{i}" for i in donor], dtype=object)),
        condition=("sample", np.array(["A", "B"], dtype=object)[donor % 2]),
        site=("sample", np.array(["x", "y", "z"], dtype=object)[(donor // 2) % 3]),
        phase=("sample", rng.normal(size=n)),
        factor=("sample", factors),
    )


@pytest.fixture(scope="module")
def cells():
    return of_donors()


@pytest.fixture(scope="module")
def fitted(cells):
    return xd.fit(cells, "~ phase + site", size_factors="factor", cluster="donor")


class Direct:
    """The definitions, with matrices of all samples: Bell & McCaffrey 2002, Pustejovsky & Tipton 2018."""

    def __init__(self, result, ds, gene):
        self.x = result["design"].values
        beta = result["beta"].values[gene]
        self.theta = float(result["dispersion_trend"].values[gene])
        mu = np.exp(self.x @ beta) * ds["factor"].values
        self.y, self.mu, self.beta = ds["counts"].values[:, gene], mu, beta
        self.w = mu / (1.0 + self.theta * mu)
        self.clusters = [np.flatnonzero(ds["donor"].values == d) for d in np.unique(ds["donor"].values)]
        self.bread = np.linalg.inv(self.x.T @ (self.w[:, None] * self.x))
        self.scores = self.x * ((self.y - mu) / (1.0 + self.theta * mu))[:, None]

    def cr0(self, bread):
        sums = np.array([self.scores[c].sum(0) for c in self.clusters])
        return bread @ (sums.T @ sums) @ bread

    def operators(self):
        """Of each cluster, what takes its standardised residuals to its part of beta: (coefficient, sample)."""
        z = np.sqrt(self.w)[:, None] * self.x
        for c in self.clusters:
            values, vectors = np.linalg.eigh(np.eye(c.size) - z[c] @ self.bread @ z[c].T)
            scale = np.where(values > 1e-9, 1.0 / np.sqrt(np.maximum(values, 1e-9)), 0.0)
            yield c, self.bread @ z[c].T @ (vectors * scale) @ vectors.T

    def cr2(self):
        residual = (self.y - self.mu) * np.sqrt(self.w) / self.mu
        parts = [operator @ residual[c] for c, operator in self.operators()]
        return sum(np.outer(part, part) for part in parts)

    def eta(self, weights):
        """Degrees of freedom from the covariance of the clusters' parts, samples independent."""
        z = np.sqrt(self.w)[:, None] * self.x
        maker = np.eye(len(self.w)) - z @ self.bread @ z.T
        rows = []
        for c, operator in self.operators():
            whole = np.zeros((len(weights), len(self.w)))
            whole[:, c] = weights @ operator
            rows.append(whole @ maker)
        values, vectors = np.linalg.eigh(sum(row @ row.T for row in rows))
        root = (vectors / np.sqrt(values)) @ vectors.T
        rows = [root @ row for row in rows]
        total, q = 0.0, len(weights)
        for one in rows:
            for two in rows:
                psi = one @ two.T
                total += np.sum(np.outer(np.diag(psi), np.diag(psi))) + np.sum(psi * psi.T)
        return q * (q + 1.0) / total


GENES = (0, 7, 23)


@pytest.mark.parametrize("gene", GENES)
def test_scores_and_information_are_those_of_statsmodels(fitted, cells, gene):
    """Its cluster covariance has the observed information and no correction here: what our definitions begin with."""
    direct = Direct(fitted, cells, gene)
    family = sm.families.NegativeBinomial(alpha=direct.theta)
    model = sm.GLM(direct.y, direct.x, family, offset=np.log(cells["factor"].values))
    codes = np.unique(cells["donor"].values, return_inverse=True)[1]
    found = model.fit(
        tol=1e-12, cov_type="cluster", cov_kwds={"groups": codes, "use_correction": False}, use_t=False
    )
    np.testing.assert_allclose(direct.beta, found.params, rtol=1e-6)
    hessian = -np.linalg.inv(model.hessian(found.params))
    np.testing.assert_allclose(direct.cr0(hessian), found.cov_params(), rtol=1e-5)
    expected = -np.linalg.inv(model.hessian(found.params, observed=False))
    np.testing.assert_allclose(direct.bread, expected, rtol=1e-6)


@pytest.mark.parametrize("gene", GENES)
def test_variance_and_degrees_of_freedom_by_definition(fitted, cells, gene):
    direct = Direct(fitted, cells, gene)
    variance = direct.cr2()
    np.testing.assert_allclose(fitted["standard_error"].values[gene] ** 2, np.diag(variance), rtol=1e-7)
    for i, name in enumerate(fitted["contrast"].values):
        raw = fitted["contrast_weight"].values[i]
        weights = raw[~np.isnan(raw).any(axis=1)]
        q, eta = len(weights), direct.eta(weights)
        effect = weights @ direct.beta
        wald = effect @ np.linalg.solve(weights @ variance @ weights.T, effect)
        one = fitted.sel(contrast=name).isel(gene=gene)
        assert float(one["df2"]) == pytest.approx(eta - q + 1.0, rel=1e-7)
        assert float(one["stat"]) == pytest.approx((eta - q + 1.0) / (eta * q) * wald, rel=1e-6)
        assert float(one["pval"]) == pytest.approx(stats.f.sf(float(one["stat"]), q, eta - q + 1.0), rel=1e-9)
        if q == 1:
            half = stats.t.ppf(0.975, eta) * np.sqrt(weights[0] @ variance @ weights[0])
            ends = np.array([effect[0] - half, effect[0] + half]) / np.log(2.0)
            np.testing.assert_allclose([one["ci_low"], one["ci_high"]], ends, rtol=1e-6)


def test_of_equal_clusters_it_is_the_t_test_of_their_means():
    """Poisson counts of one size factor, as many cells a donor: logs of group means, by the delta method exactly."""
    rng = np.random.default_rng(3)
    rate = np.repeat(rng.lognormal(1.0, 0.3, (10, 30)), 15, axis=0)
    names = {"sample": np.arange(150), "gene": np.arange(30)}
    ds = xr.Dataset({"counts": (("sample", "gene"), rng.poisson(rate))}, names)
    ds = ds.assign(donor=("sample", np.repeat(np.arange(10), 15)), b=("sample", np.repeat([0.0, 1.0], 75)))
    result = xd.fit(ds, "~ b", size_factors=None, overdispersion=False, shrinkage=False, cluster="donor")
    means = ds["counts"].values.reshape(10, 15, 30).mean(axis=1)
    variance = sum(part.var(axis=0, ddof=1) / 5 / part.mean(axis=0) ** 2 for part in (means[:5], means[5:]))
    np.testing.assert_allclose(result["lfc_se"].values[0] * np.log(2.0), np.sqrt(variance), rtol=1e-7)
    # a group's share of the information is that of each donor: 8 degrees of freedom where both groups weigh the same
    assert (result["df2"].values <= 8.0 + 1e-9).all()
    assert np.median(result["df2"].values) > 7.5


def test_unbiased_where_samples_are_independent():
    """Expected variance, over simulated counts, as the model's: five donors of very unequal size."""
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(5), [4, 8, 16, 32, 60])
    rows = np.column_stack([np.ones(120), rng.normal(size=120)])
    weight = rng.gamma(2.0, 1.0, 120)
    root = np.sqrt(weight)[:, None] * rows
    maker = np.eye(120) - root @ np.linalg.inv(root.T @ root) @ root.T
    noise = rng.normal(size=(40_000, 120)) @ maker  # standardised residuals
    clusters = sandwich.Clusters(codes, (np.array([[0.0, 1.0]]),))
    score = noise * np.sqrt(weight)
    found = sandwich.clustered(clusters, rows, np.eye(2), score, np.broadcast_to(weight, score.shape))
    expected = np.diag(np.linalg.inv(root.T @ root))
    variance = found["variance"]
    error = variance.std(axis=0) / 200.0
    assert (np.abs(variance.mean(axis=0) - expected) < 4.0 * error).all()
    # and 2 mean^2 / variance is the degrees of freedom, known here to 2 %
    assert 2.0 * variance[:, 1].mean() ** 2 / variance[:, 1].var() == pytest.approx(
        found["wald_df"][0, 0], rel=0.06
    )


# ---- what it is for --------------------------------------------------------------------------------------


def test_false_positives_between_donors():
    """6 donors against 6 and nothing changed: 2 x 400 genes, whose share below 0.05 has a standard error of 0.008."""
    plain, robust = [], []
    for seed in range(2):
        ds = of_donors(n_genes=400, sd=0.3, seed=10 + seed, per_donor=(30, 60))
        plain.append(xd.fit(ds, "~ condition", size_factors="factor")["pval"].values[0])
        result = xd.fit(ds, "~ condition", size_factors="factor", cluster="donor")
        robust.append(result["pval"].values[0])
        assert 7.0 < np.nanmedian(result["df2"].values) <= 10.0
    assert np.nanmean(np.concatenate(plain) < 0.05) > 0.2
    assert abs(np.nanmean(np.concatenate(robust) < 0.05) - 0.05) < 0.024
    assert np.nanmean(np.concatenate(robust) < 0.01) < 0.022


def test_within_donors_a_donor_may_have_a_level_of_its_own():
    """Donors in the design, a condition within them: each level is known from one donor, the effect is not."""
    ds = of_donors(n_donors=6, seed=4)
    ds["treated"] = "sample", np.arange(ds.sizes["sample"]) % 2
    result = xd.fit(ds, "~ donor + treated", size_factors="factor", cluster="donor")
    finite = np.isfinite(result["pval"].values[0])
    assert finite.mean() > 0.9
    df = result["df2"].values[0][finite]
    assert ((df > 2.0) & (df < 5.0 + 1e-6)).all()


# ---- the same however it comes ---------------------------------------------------------------------------

NAMES = ("lfc_se", "stat", "pval", "df2", "ci_low", "standard_error")


def assert_close(one, other, rtol=1e-8):
    for name in NAMES:
        np.testing.assert_allclose(one[name], other[name], rtol=rtol, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("form", ["chunked", "sparse", "lazy"])
def test_forms_of_the_counts_change_nothing(form):
    ds = of_donors(n_genes=60, low=-3.0, per_donor=(60, 90))  # mostly zeros: the path of the non-zero counts
    expected = xd.fit(ds, "~ condition", size_factors="factor", cluster="donor")
    y = ds["counts"].values
    if form == "sparse":
        data = ds.assign(
            counts=(("sample", "gene"), da.map_blocks(sp.csr_matrix, da.from_array(y, (200, 17))))
        )
    else:
        data = ds.assign(counts=(("sample", "gene"), da.from_array(y, (100, 13))))
    result = xd.fit(data, "~ condition", size_factors="factor", cluster="donor", compute=form != "lazy")
    assert_close(result.compute(), expected)


def test_zeros_through_stand_ins_are_the_same_as_each_zero():
    ds = of_donors(n_genes=60, low=-3.0, per_donor=(60, 90))
    by_non_zeros = xd.fit(ds, "~ condition", size_factors="factor", cluster="donor")
    # an offset by entry has every count visited
    zero = np.zeros(ds["counts"].shape)
    by_entries = xd.fit(ds, "~ condition", size_factors="factor", offset=zero, cluster="donor")
    assert_close(by_entries, by_non_zeros, rtol=1e-6)


def test_order_and_names_of_clusters_and_coding_change_nothing(cells):
    expected = xd.fit(cells, "~ condition", size_factors="factor", cluster="donor")
    shuffled = cells.isel(sample=np.random.default_rng(0).permutation(cells.sizes["sample"]))
    shuffled["donor"] = (
        "sample",
        [f"x{hash_of}" for hash_of in (13 * int(d[1:]) % 12 for d in shuffled["donor"].values)],
    )
    assert_close(xd.fit(shuffled, "~ condition", size_factors="factor", cluster="donor"), expected, rtol=1e-7)
    other = xd.fit(
        cells,
        "~ 0 + condition",
        contrasts="condition[B] - condition[A]",
        size_factors="factor",
        cluster="donor",
    )
    for name in ("lfc_se", "stat", "df2"):
        np.testing.assert_allclose(other[name], expected[name], rtol=1e-7)


def test_all_but_errors_and_tests_is_as_without(fitted, cells):
    plain = xd.fit(cells, "~ phase + site", size_factors="factor")
    for name in ("beta", "dispersion", "ql_dispersion_shrunken", "coef"):
        np.testing.assert_allclose(fitted[name], plain[name], rtol=1e-7, atol=1e-9)
    assert "comment" not in plain["lfc_se"].attrs
    assert "comment" not in plain["stat"].attrs
    assert plain["df2"].dims == ()
    assert fitted["df2"].dims == ("contrast", "gene")
    assert "robust to what the samples of a donor share" in fitted["lfc_se"].attrs["comment"]
    assert '"cluster": "donor"' in fitted.attrs["options"]


# ---- later questions -------------------------------------------------------------------------------------


def test_tests_remember_the_clusters(fitted, cells, tmp_path):
    fitted.to_zarr(tmp_path / "fit.zarr")
    again = xd.test(cells, xr.open_zarr(tmp_path / "fit.zarr"))
    for name in ("lfc_se", "stat", "pval", "df2"):
        np.testing.assert_allclose(again[name], fitted[name], rtol=1e-8)
    joint = xd.test(cells, fitted, reduced="~ phase")
    np.testing.assert_allclose(joint["pval"].values[0], fitted["pval"].sel(contrast="site"), rtol=1e-6)
    untested = xd.fit(cells, "~ phase + site", size_factors="factor", cluster="donor", contrasts=None)
    assert "df2" not in untested
    np.testing.assert_allclose(xd.test(cells, untested)["pval"], fitted["pval"], rtol=1e-8)


def test_covariance(fitted, cells):
    found = xd.covariance(cells, fitted)
    np.testing.assert_allclose(
        np.sqrt(np.diagonal(found.values, axis1=1, axis2=2)), fitted["standard_error"], rtol=1e-8
    )
    np.testing.assert_allclose(found.values[7], Direct(fitted, cells, 7).cr2(), rtol=1e-6, atol=1e-12)


def test_threshold(fitted, cells):
    """TREAT by t statistics, McCarthy & Smyth 2009."""
    one = xd.test(cells, fitted, "site[T.y]", lfc_threshold=0.2)
    b, se, df = (one[name].values[0] for name in ("log2fc", "lfc_se", "df2"))
    p = stats.t.sf((np.abs(b) - 0.2) / se, df) + stats.t.sf((np.abs(b) + 0.2) / se, df)
    np.testing.assert_allclose(one["pval"].values[0], p, rtol=1e-8)


def test_a_condition_without_a_count_has_no_p_value(cells):
    counts = cells["counts"].values.copy()
    counts[cells["condition"].values == "B", 3] = 0
    counts[:, 4] = 0
    ds = cells.assign(counts=(("sample", "gene"), counts))
    result = xd.fit(ds, "~ condition", size_factors="factor", cluster="donor")
    assert np.isnan(result[["pval", "lfc_se", "stat", "df2", "padj"]].isel(gene=[3, 4]).to_array()).all()
    assert list(result["status"].values[[3, 4]]) == [2, 1]
    assert np.isfinite(np.delete(result["pval"].values[0], [3, 4])).all()


def test_with_groups_and_other_options(cells):
    ds = cells.assign(
        half=("sample", np.where(np.arange(cells.sizes["sample"]) % 2, "p", "q").astype(object))
    )
    result = xd.fit(ds, "~ condition", size_factors="factor", cluster="donor", by="half")
    one = xd.fit(ds.isel(sample=ds["half"] == "p"), "~ condition", size_factors="factor", cluster="donor")
    np.testing.assert_allclose(result["pval"].sel(half="p"), one["pval"], rtol=1e-9)
    ds["half"] = "sample", np.where(np.isin(ds["donor"].values, ["d0", "d1"]), "p", "q").astype(object)
    with pytest.warns(xd.XdelnxWarning, match="cluster='donor' has 2 clusters"):
        result = xd.fit(ds, "~ condition", size_factors="factor", cluster="donor", by="half")
    assert list(result["group_status"].values) == [1, 0]
    for options in (
        {"shrinkage": False},
        {"robust": True},
        {"size_factors": "invariant"},
        {"overdispersion": 0.3},
    ):
        result = xd.fit(cells, "~ condition", cluster=["donor"], **options)
        assert np.isfinite(result["pval"].values).all()
