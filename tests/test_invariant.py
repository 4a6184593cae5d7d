"""Size factors on which the genes that do not change are centred, and the warning where others are not."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import xarray as xr
from scipy.optimize import brentq
from scipy.special import ndtri

import xdelnx as xd
from xdelnx.algorithms.centring import TUNING, centre, directions_of, imbalance


def skewed(n=3000, n_genes=600, seed=0, share=0.1, middle=0.7):
    """Cells of two conditions; changed genes mostly go up, so that the totals of B do. With middle 0 all of them do."""
    rng = np.random.default_rng(seed)
    condition = np.repeat(["A", "B"], n // 2).astype(object)
    mean = np.minimum(rng.lognormal(-0.5, 1.5, n_genes), 60.0)
    changed = rng.random(n_genes) < share
    lfc = np.where(changed, rng.normal(middle, 0.7, n_genes), 0.0)
    lfc = np.abs(lfc) if middle == 0.0 else lfc
    factors = rng.lognormal(0.0, 0.3, n)
    mu = factors[:, None] * mean * np.exp2(np.where(condition == "B", 1.0, 0.0)[:, None] * lfc)
    theta = 0.05 + 1.0 / mean
    counts = rng.poisson(mu * rng.gamma(1.0 / theta, theta, mu.shape)).astype(np.int32)
    names = {"sample": [f"c{i}" for i in range(n)], "gene": [f"g{i}" for i in range(n_genes)]}
    ds = xr.Dataset({"counts": (("sample", "gene"), counts)}, names)
    return ds.assign(condition=("sample", condition), changed=("gene", changed), factor=("sample", factors))


@pytest.fixture(scope="module")
def cells():
    return skewed()


def false_discoveries(result, truth):
    found = result["padj"].values[0] < 0.05
    return (found & ~truth).sum() / max(found.sum(), 1)


def group_error(factors, truth, condition):
    """By how much (natural log) the factors of B against A are off, on average."""
    off = np.log(factors.values / truth)
    return off[condition == "B"].mean() - off[condition == "A"].mean()


# ---- the centre ------------------------------------------------------------------------------------------


def test_centre_solves_its_equations():
    """Median of the squared standardised residuals as of a normal, and a biweight score of zero."""
    rng = np.random.default_rng(1)
    variance = rng.gamma(2.0, 0.02, 500)
    x = 0.3 + np.sqrt(variance + 0.01) * rng.normal(size=500)
    x[:60] += rng.normal(2.0, 1.0, 60)
    at = centre(x, variance).at

    def unexplained(extra, middle):
        return np.median((x - middle) ** 2 / (variance + extra)) - ndtri(0.75) ** 2

    def score(middle, extra):
        z = (x - middle) / np.sqrt(variance + extra)
        return np.sum(
            np.where(np.abs(z) < TUNING, z * (1 - (z / TUNING) ** 2) ** 2, 0.0) / np.sqrt(variance + extra)
        )

    # alternated to the end, where two rounds are taken: they differ by far less than the standard error
    middle = np.median(x)
    for _ in range(30):
        extra = brentq(unexplained, 0.0, 10.0, args=(middle,))
        middle = brentq(score, middle - 0.1, middle + 0.1, args=(extra,))
    assert at == pytest.approx(middle, abs=0.02 * centre(x, variance).error)


def test_standard_error_of_the_centre():
    """As the scatter of the centre over repetitions; of 300, their standard deviation is known to 4 %."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        variance = rng.gamma(2.0, 0.02, 300)
        x = np.sqrt(variance) * rng.normal(size=300)
        x[:30] += rng.normal(1.0, 1.0, 30)
        found.append(centre(x, variance))
    at, errors = (np.array([getattr(one, name) for one in found]) for name in ("at", "error"))
    assert at.std() == pytest.approx(errors.mean(), rel=0.12)  # three of its own standard errors


def test_changes_in_one_direction_hardly_move_the_centre():
    rng = np.random.default_rng(3)
    x = 0.05 * rng.normal(size=1000)
    x[:250] += 1.0
    assert abs(centre(x, np.full(1000, 0.05**2)).at) < 0.01  # the mean is off by 0.25, the median by 0.02


def test_a_few_sure_genes_do_not_decide():
    """Most genes differ by more than their errors: those with tiny ones weigh no more than that allows."""
    rng = np.random.default_rng(4)
    x, variance = 0.2 * rng.normal(size=1000), np.full(1000, 0.01**2)
    x[:3], variance[:3] = 0.15, 1e-10
    assert abs(centre(x, variance).at) < 0.02


def test_too_few_genes_have_no_centre():
    assert np.isnan(centre(np.zeros(19), np.ones(19) / 4).at)
    assert np.isnan(centre(np.zeros(100), np.full(100, 2.0)).at)  # none knows anything


def test_directions_leave_out_the_level():
    condition = np.repeat([0.0, 1.0, 2.0], 4)
    levels = np.stack([condition == k for k in range(3)], axis=1).astype(float)
    with_intercept = np.column_stack([np.ones(12), levels[:, 1:]])
    for design in (levels, with_intercept):
        found = directions_of(design)
        np.testing.assert_allclose(found.weights @ found.to_coefficients, np.eye(2), atol=1e-12)
        level = np.linalg.lstsq(design, np.ones(12), rcond=None)[0]
        np.testing.assert_allclose(found.weights @ level, 0.0, atol=1e-12)
    assert directions_of(condition[:, None]) is None
    assert len(directions_of(np.ones((5, 1))).weights) == 0


# ---- what it is for --------------------------------------------------------------------------------------


def test_false_discoveries_where_library_totals_mislead(cells):
    truth = cells["changed"].values
    with pytest.warns(
        xd.XdelnxWarning, match=r"'normed_sum' disagree with most genes, which they shift by -0\."
    ) as told:
        plain = xd.fit(cells, "~ condition")
    assert len(told) == 1
    assert "in 'condition[T.B]': of the" in str(told[0].message)
    assert "use size_factors='invariant'" in str(told[0].message)
    result = xd.fit(cells, "~ condition", size_factors="invariant")
    given = xd.fit(cells, "~ condition", size_factors="factor")
    assert false_discoveries(plain, truth) > 0.3
    assert false_discoveries(result, truth) < 0.07
    power = [(one["padj"].values[0] < 0.05)[truth].mean() for one in (result, given)]
    assert power[0] > power[1] - 0.02
    off = [
        abs(group_error(one["size_factor"], cells["factor"].values, cells["condition"].values))
        for one in (plain, result)
    ]
    assert off[0] > 0.05
    assert off[1] < 0.012


def test_a_third_of_the_genes_goes_up():
    """Of four data sets: the biweight alone leaves a shift of 0.025 to 0.03 and 7 % false discoveries."""
    shifts, rates = [], []
    for seed in range(4):
        up = skewed(2000, 1000, seed, share=0.3, middle=0.0)
        result = xd.fit(up, "~ condition", size_factors="invariant")
        rates.append(false_discoveries(result, up["changed"].values))
        shifts.append(group_error(result["size_factor"], up["factor"].values, up["condition"].values))
    assert np.mean(rates) < 0.055
    assert abs(np.mean(shifts)) < 0.008


def test_a_few_very_high_genes_in_bulk():
    data = xd.simulate(28, 4000, seed=2)
    high = np.argsort(-data["base_mean"].values)[:6]
    counts = data["counts"].values.copy()
    counts[14:, high] *= 3
    data = data.assign(counts=(("sample", "gene"), counts))
    truth = data["is_de"].values.copy()
    truth[high] = True
    with pytest.warns(xd.XdelnxWarning, match="disagree with most genes"):
        plain = xd.fit(data, "~ condition")
    result = xd.fit(data, "~ condition", size_factors="invariant")
    assert false_discoveries(plain, truth) > 0.3
    assert false_discoveries(result, truth) < 0.07


def test_the_shift_changes_nothing_else(cells):
    """A factor that depends on the design alone moves coefficients; means and dispersions stay."""
    part = cells.isel(sample=slice(0, None, 15))
    plain = xd.fit(part, "~ condition", contrasts=None)
    result = xd.fit(part, "~ condition", size_factors="invariant", contrasts=None)
    for name in ("mean", "dispersion", "ql_dispersion_shrunken", "deviance"):
        np.testing.assert_allclose(result[name], plain[name], rtol=1e-7)  # both at the same optimum
    moved = (result["beta"] - plain["beta"]).values[(result["status"] == 0).values]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-6)
    assert np.mean(np.log(result["size_factor"].values)) == pytest.approx(0.0, abs=1e-13)


def test_the_same_as_those_factors_given(bulk):
    """With overdispersions given; estimates depend a little on the factors that the first fit began with."""
    options = {"design": "~ batch + age + condition", "overdispersion": np.linspace(0.05, 0.5, 400)}
    result = xd.fit(bulk, size_factors="invariant", **options)
    given = xd.fit(bulk, size_factors=result["size_factor"].values, **options)
    np.testing.assert_allclose(result["pval"], given["pval"], rtol=1e-6)  # from other starts
    finite = (result["status"] == 0).values
    for name in ("beta", "lfc_se"):
        one, two = (fit[name].isel(gene=finite) for fit in (result, given))
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-9)
    again = xd.test(bulk, result)
    np.testing.assert_allclose(again["pval"], result["pval"], rtol=1e-9)


@pytest.mark.parametrize("design", ["~ 0 + condition", "~ C(condition, Treatment('B'))"])
def test_the_coding_does_not_matter(bulk, design):
    expected = xd.size_factors(bulk, method="invariant", design="~ condition")
    np.testing.assert_allclose(xd.size_factors(bulk, method="invariant", design=design), expected, rtol=1e-9)


def test_the_scale_of_a_covariate_does_not_matter(bulk):
    other = bulk.assign(age=1000.0 * bulk["age"] + 50.0)
    one, two = (xd.size_factors(ds, method="invariant", design="~ age + condition") for ds in (bulk, other))
    np.testing.assert_allclose(two, one, rtol=1e-8)


def test_without_a_comparison_they_are_library_totals(bulk):
    for factors in (
        xd.size_factors(bulk, method="invariant", design="~ 1"),
        xd.fit(bulk, "~ 1", size_factors="invariant")["size_factor"],
    ):
        np.testing.assert_array_equal(factors, xd.size_factors(bulk))


@pytest.mark.parametrize("form", ["chunked", "sparse", "lazy"])
def test_forms_of_the_counts_change_nothing(bulk, form):
    design = "~ batch + condition"
    expected = xd.fit(bulk, design, size_factors="invariant")
    if form == "sparse":
        y = da.map_blocks(sp.csr_matrix, da.from_array(bulk["counts"].values, (16, 90)))
        data = bulk.assign(counts=(("sample", "gene"), y))
    else:
        data = bulk.assign(counts=bulk["counts"].chunk(sample=5, gene=70))
    result = xd.fit(data, design, size_factors="invariant", compute=form != "lazy").compute()
    for name in ("size_factor", "beta", "pval"):
        np.testing.assert_allclose(result[name], expected[name], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(
        xd.size_factors(data, method="invariant", design=design), expected["size_factor"], rtol=1e-10
    )


@pytest.mark.parametrize(
    "options", [{"shrinkage": False}, {"overdispersion": "global"}, {"overdispersion": 0.2}, {"by": "batch"}]
)
def test_with_other_options(bulk, options):
    result = xd.fit(bulk, "~ condition", size_factors="invariant", **options)
    assert np.isfinite(result["pval"].values[..., :50]).any()
    assert '"size_factors": "invariant"' in result.attrs["options"]


def test_a_sample_without_counts(bulk):
    empty = bulk.assign(counts=bulk["counts"].where(bulk["sample"] != "s3", 0))
    with pytest.warns(xd.XdelnxWarning, match="1 of 16 samples have not a single count"):
        factors = xd.fit(empty, "~ condition", size_factors="invariant")["size_factor"].values
    assert factors[3] == 0.001
    assert np.mean(np.log(np.delete(factors, 3))) == pytest.approx(0.0, abs=1e-13)


# ---- the warning -----------------------------------------------------------------------------------------


def test_when_it_warns():
    """Of 2,000 genes without a change: none, then all shifted by two standard errors, then those of few genes."""
    rng = np.random.default_rng(5)
    z, error = rng.normal(size=2000), np.full(2000, 0.01)
    z[:200] += 6.0

    def told(shift):
        return imbalance(0.01 * (z + shift), error, 2.0 * (1.0 - _ndtr(np.abs(z + shift))))

    assert told(0.0) is None
    assert told(0.3) is None
    found = told(2.0)
    assert found.shift == pytest.approx(0.02, abs=3 * found.error)
    p = 2.0 * (1.0 - _ndtr(np.abs(z + 2.0)))
    passing = np.sort(p) <= 0.05 * np.arange(1, 2001) / 2000
    false = (p[200:] <= np.sort(p)[passing].max()).sum()
    assert found.false * found.found == pytest.approx(false, rel=0.1)


def _ndtr(x):
    from scipy.special import ndtr

    return ndtr(x)


def test_lazily_it_warns_when_computed(cells):
    lazy = xd.fit(cells.chunk(gene=200), "~ condition", compute=False)
    with pytest.warns(xd.XdelnxWarning, match="disagree with most genes"):
        lazy.compute()


def test_a_test_warns_as_the_fit_does(cells):
    """Also where the fit tested nothing; not of a fold-change threshold, whose p-values the shift hardly moves."""
    fit = xd.fit(cells, "~ condition", contrasts=None)
    with pytest.warns(xd.XdelnxWarning, match="disagree with most genes"):
        xd.test(cells, fit, "condition[T.B]")
    xd.test(cells, fit, "condition[T.B]", lfc_threshold=1.0)
    by_invariant = xd.fit(cells, "~ condition", contrasts=None, size_factors="invariant")
    xd.test(cells, by_invariant, "condition[T.B]")


def test_given_factors_are_not_doubted(cells):
    """They may come from spike-ins."""
    xd.fit(cells, "~ condition", size_factors=xd.size_factors(cells).values)
    xd.fit(cells, "~ condition", size_factors=None)
