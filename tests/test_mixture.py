"""Adaptive shrinkage: posteriors against quadrature, the prior against its optimum, fold changes against the truth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import xarray as xr

from xdelnx import fit, shrink_lfc, simulate, test
from xdelnx.algorithms.mixture import (
    Prior,
    _by_component,
    fit_prior,
    most_likely_weights,
    posterior,
    s_values,
    t_estimates,
)
from xdelnx.algorithms.one_sided import components

PRIOR = Prior(np.array([0.0, 0.1, 0.7, 3.0]), np.array([0.5, 0.2, 0.25, 0.05]))
FORMULA = "~ batch + age + condition"
VALUES = np.array([0.0, 0.05, -0.4, 1.0, -3.0, 6.0])
ERRORS = np.array([0.1, 0.5, 0.3, 0.4, 2.0, 0.25])


def by_quadrature(value, error, df):
    """Mean, quantiles and local false sign rate of one effect, on two million points."""
    x = np.linspace(-25.0, 25.0, 2_000_001)
    likelihood = scipy.stats.norm if np.isinf(df) else scipy.stats.t(df)
    density = sum(
        weight * scipy.stats.norm.pdf(x, 0.0, scale)
        for weight, scale in zip(PRIOR.weight[1:], PRIOR.scale[1:], strict=True)
    ) * likelihood.pdf((value - x) / error)
    mass = density * (x[1] - x[0])
    null = PRIOR.weight[0] * likelihood.pdf(value / error)
    total = mass.sum() + null
    below = (mass[x < 0].sum() + 0.5 * mass[x == 0].sum()) / total
    probability = np.cumsum(mass) / total + np.where(x >= 0.0, null / total, 0.0)
    ends = [x[np.searchsorted(probability, q)] for q in (0.025, 0.975)]
    return (x * mass).sum() / total, *ends, min(below + null / total, 1.0 - below)


@pytest.mark.parametrize("df", [3.0, 4.5, 21.0, 1e4, np.inf])
def test_posterior_is_that_of_quadrature(df):
    after = posterior(PRIOR, t_estimates(VALUES, ERRORS, np.full(VALUES.size, df)), 0.95)
    expected = np.array([by_quadrature(v, e, df) for v, e in zip(VALUES, ERRORS, strict=True)]).T
    # Student's t is a sum over 20 nodes, as good as `test_density_of_t` says; the quadrature's steps are 2.5e-5 wide
    near = 1e-3 if df < 10.0 else 3e-5
    np.testing.assert_allclose(after.mean, expected[0], rtol=near, atol=1e-6)
    np.testing.assert_allclose(after.low, expected[1], atol=2.0 * near * ERRORS.max())
    np.testing.assert_allclose(after.high, expected[2], atol=2.0 * near * ERRORS.max())
    np.testing.assert_allclose(after.false_sign, expected[3], rtol=3.0 * near, atol=1e-8)


def test_degrees_of_freedom_may_differ():
    df = np.array([3.0, 4.5, 21.0, 1e4, np.inf, np.inf])
    together = posterior(PRIOR, t_estimates(VALUES, ERRORS, df), 0.95)
    for i, one in enumerate(df):
        alone = posterior(PRIOR, t_estimates(VALUES, ERRORS, np.full(6, one)), 0.95)
        # with others a normal is a t on 1e6 degrees of freedom
        np.testing.assert_allclose(together.mean[i], alone.mean[i], rtol=1e-5, atol=1e-12)
        np.testing.assert_allclose(together.false_sign[i], alone.false_sign[i], rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize(("df", "near"), [(3.0, 1e-3), (12.0, 2e-5), (30.0, 2e-6), (1000.0, 1e-6)])
def test_density_of_t(df, near):
    """The sum over nodes is the density out to ten errors."""
    t = np.linspace(0.0, 10.0, 41)
    estimates = t_estimates(t, np.ones(t.size), np.full(t.size, df))
    densities = np.sum(estimates.share * scipy.stats.norm.pdf(t[:, None], 0.0, estimates.error), axis=1)
    np.testing.assert_allclose(densities, scipy.stats.t.pdf(t, df), rtol=near)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_the_optimum(seed):
    """Against SciPy's constrained minimiser, by the penalised likelihood that both reach."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(size=800) * rng.choice([0.0, 0.3, 2.0], 800, p=[0.6, 0.3, 0.1])
    error = rng.uniform(0.1, 0.6, 800)
    estimates = t_estimates(effect + error * rng.normal(size=800), error, np.full(800, np.inf))
    likelihood = _by_component(estimates, PRIOR.scale)

    def loss(weight):
        return -np.sum(np.log(likelihood @ weight)) - 9.0 * np.log(weight[0])

    one = {"type": "eq", "fun": lambda weight: weight.sum() - 1.0}
    best = scipy.optimize.minimize(
        loss, np.full(4, 0.25), bounds=[(1e-9, 1.0)] * 4, constraints=one, method="SLSQP"
    )
    weight = most_likely_weights(likelihood)
    assert weight.sum() == pytest.approx(1.0)
    assert (weight >= 0.0).all()
    assert loss(weight) < best.fun + 0.011  # GAIN, and SLSQP's own tolerance


@pytest.mark.parametrize("seed", range(3))
def test_values_far_from_all_others_keep_a_likelihood(seed):
    """A Newton step takes the weight of the wide components away, without which some genes' likelihood is 1e-30 or 0.

    At the optimum no component's slope is above the number of genes (with what doubt adds), and those in use are at it.
    """
    rng = np.random.default_rng(seed)
    error = 0.1 * np.exp(0.6 * rng.normal(size=5000))
    x = error * rng.standard_t(3, 5000)
    x[:300] += np.abs(rng.normal(0.0, 2.0, 300))
    x[0] = 12.0
    likelihood = components(x, error**2, np.geomspace(0.1, 24.0, 6)).density
    weight = most_likely_weights(likelihood, 1e-6)
    slope = np.sum(likelihood / (likelihood @ weight)[:, None], axis=0)
    slope[0] += 9.0 / weight[0]
    assert slope.max() < 5009.0 + 1e-4
    np.testing.assert_allclose(slope[weight > 1e-3], 5009.0, atol=1e-3)


def test_prior_finds_what_the_effects_were_drawn_from():
    """Variance of the prior, and its point mass, from 20,000 effects of which 80 % are nothing."""
    rng = np.random.default_rng(1)
    effect = np.where(rng.random(20_000) < 0.2, rng.normal(0.0, 1.5, 20_000), 0.0)
    error = rng.uniform(0.1, 0.3, 20_000)
    prior = fit_prior(
        t_estimates(effect + error * rng.standard_t(12.0, 20_000), error, np.full(20_000, 12.0))
    )
    small = prior.weight[prior.scale < 0.1].sum()
    assert small == pytest.approx(0.8, abs=0.02)
    # a fifth of 2.25, whose sampling error is sqrt(2 / 4000)
    assert prior.weight @ prior.scale**2 == pytest.approx(0.45, rel=0.1)


def test_s_values_are_running_means_of_the_surest():
    np.testing.assert_allclose(s_values(np.array([0.4, 0.1, 0.2])), [0.7 / 3, 0.1, 0.15])
    assert s_values(np.zeros(0)).size == 0


# ---- fold changes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cohort():
    """Data with a known truth, its fit, and the shrunken fold changes."""
    data = simulate(20, 6000, seed=21)
    result = fit(data, "~condition", size_factors="size_factor_true")
    return data, result, shrink_lfc(result)


def test_closer_to_the_truth(cohort):
    """Noisy genes gain most, and no group of genes loses."""
    data, result, shrunken = cohort
    fine = result["status"].values == 0
    truth, error = data["lfc"].values, result["lfc_se"].values[0]
    raw, after = result["log2fc"].values[0], shrunken["log2fc_shrunken"].values[0]
    for low, high, gain in ((0.0, 0.25, 1.2), (0.25, 0.5, 2.0), (0.5, 10.0, 3.0)):
        part = fine & (error >= low) & (error < high)
        before = np.sqrt(np.mean((raw[part] - truth[part]) ** 2))
        assert before > gain * np.sqrt(np.mean((after[part] - truth[part]) ** 2)), (low, high)


def test_large_effects_stay(cohort):
    """Changes of more than three-fold with errors below 0.25 move by 2 % in the middle, at most by a few."""
    _, result, shrunken = cohort
    raw, error = result["log2fc"].values[0], result["lfc_se"].values[0]
    large = (np.abs(raw) > np.log2(3.0)) & (error < 0.25)
    ratio = shrunken["log2fc_shrunken"].values[0][large] / raw[large]
    assert large.sum() > 30
    assert ratio.min() > 0.9
    assert np.median(ratio) > 0.96


def test_promises(cohort):
    """False signs at the rate asked for, and intervals that cover as often as they say, on average over genes."""
    data, result, shrunken = cohort
    truth, part = data["lfc"].values, result["status"].values != 1
    called = shrunken["s_value"].values[0] < 0.05
    wrong = np.sign(truth[called]) != np.sign(shrunken["log2fc_shrunken"].values[0][called])
    assert called.sum() > 150
    assert wrong.mean() < 0.05 + 3.0 * np.sqrt(0.05 * 0.95 / called.sum())
    low, high = (shrunken[f"shrunken_{end}"].values[0][part] for end in ("low", "high"))
    assert 0.94 < ((low <= truth[part]) & (truth[part] <= high)).mean() < 0.99
    assert (low <= high).all()


def test_without_an_effect_there_is_nothing():
    result = fit(simulate(12, 2000, de_fraction=0.0, seed=4), "~condition", size_factors="size_factor_true")
    shrunken = shrink_lfc(result)
    assert float(np.abs(shrunken["log2fc_shrunken"]).max()) < 0.1
    assert float(shrunken["s_value"].min()) > 0.3
    assert float(shrunken["prior_weight"][0, 0]) > 0.5


def test_groups_without_counts_count_by_their_test(cohort):
    """A gene with hundreds of counts on one side and none on the other is surely changed; with one count it is not."""
    data, _, _ = cohort
    counts = data["counts"].values.copy()
    counts[:, 0], counts[:, 1] = 0, 0
    in_b = np.flatnonzero(data["condition"].values == "B")
    counts[in_b, 0] = np.linspace(300, 700, in_b.size)
    counts[in_b[0], 1] = 1
    result = fit(data.assign(counts=(("sample", "gene"), counts)), "~condition")
    shrunken = shrink_lfc(result).isel(contrast=0)
    assert (result["status"].values[:2] == 2).all()
    assert (np.abs(result["log2fc"].values[0, :2]) == 10.0).all()
    assert float(shrunken["log2fc_shrunken"][0]) > 4.0
    assert float(shrunken["s_value"][0]) < 1e-3
    assert abs(float(shrunken["log2fc_shrunken"][1])) < 0.5
    assert float(shrunken["s_value"][1]) > 0.1


def test_contrasts_each_have_their_prior(bulk, tmp_path):
    result = fit(
        bulk,
        FORMULA,
        contrasts={"both": np.eye(4)[2:], "c": "condition[T.B]", "a": "age"},
    )
    shrunken = shrink_lfc(result)
    assert shrunken["log2fc_shrunken"].dims == ("contrast", "gene")
    assert shrunken.isel(contrast=0).drop_vars("contrast").isnull().to_array().all()
    silent = result["status"].values == 1
    np.testing.assert_array_equal(np.isnan(shrunken["s_value"].values[1]), silent)
    xr.testing.assert_equal(shrink_lfc(result.isel(contrast=[1])), shrunken.isel(contrast=[1]))
    xr.testing.assert_equal(shrink_lfc(result.isel(contrast=1)), shrunken.isel(contrast=1))
    xr.testing.assert_equal(shrink_lfc(result.chunk(gene=60)), shrunken)
    asked_later = shrink_lfc(test(bulk, result, "age"))
    fine = result["status"].values == 0
    one, other = (
        s["log2fc_shrunken"].values[0 if s is asked_later else 2, fine] for s in (asked_later, shrunken)
    )
    np.testing.assert_allclose(
        one, other, rtol=1e-4, atol=1e-6
    )  # where reduced fits began moves separated genes
    shrunken.to_zarr(tmp_path / "shrunken.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "shrunken.zarr", consolidated=False) as back:
        xr.testing.assert_identical(back.load(), shrunken)
    assert shrunken["s_value"].attrs["long_name"]
    assert "shrink_lfc" in shrunken.attrs["history"]


def test_another_dimension_is_kept(bulk):
    """As of a fit by groups: each has its own prior."""
    result = fit(bulk, "~ condition")
    half = result.assign({name: 0.5 * result[name] for name in ("coef", "lfc_se")})
    names = ["coef", "lfc_se", "pval", "df2"]
    both = xr.concat([result[names], half[names]], "cell_type")
    shrunken = shrink_lfc(both)
    assert shrunken["log2fc_shrunken"].sizes == {"cell_type": 2, "contrast": 1, "gene": 400}
    for i, one in enumerate((result, half)):
        alone = shrink_lfc(one)["log2fc_shrunken"]
        np.testing.assert_array_equal(shrunken["log2fc_shrunken"][i], alone)
