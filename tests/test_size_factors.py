"""Each kind of size factor against its definition, written with loops."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xdelnx import XdelnxWarning, fit, simulate, size_factors
from xdelnx.algorithms import scaling
from xdelnx.algorithms.scaling import METHODS


def dataset(counts, chunks=None):
    counts = np.asarray(counts)
    array = counts if chunks is None else da.from_array(counts, chunks)
    names = {
        "sample": [f"s{i}" for i in range(counts.shape[0])],
        "gene": [f"g{i}" for i in range(counts.shape[1])],
    }
    return xr.Dataset({"counts": (("sample", "gene"), array)}, names)


def unit_mean(raw):
    return raw / np.exp(np.mean(np.log(raw)))


def ratio(y):
    """Anders & Huber 2010: median over genes without a zero of the ratio to the geometric mean.

    Of an even number of genes the two in the middle are averaged as logarithms.
    """
    genes = [g for g in range(y.shape[1]) if (y[:, g] > 0).all()]
    means = {g: np.mean([np.log(v) for v in y[:, g]]) for g in genes}
    return np.exp([np.median([np.log(y[i, g]) - means[g] for g in genes]) for i in range(y.shape[0])])


def poscounts(y):
    factors = []
    for i in range(y.shape[0]):
        values = [np.log(y[i, g]) - np.mean(np.log(y[:, g] + 0.5)) for g in range(y.shape[1]) if y[i, g] > 0]
        factors.append(np.exp(np.median(values)))
    return np.array(factors)


def tmm(y):
    """Robinson & Oshlack 2010, by ranks without ties: 30 % of M and 5 % of A trimmed at each side."""
    total = y.sum(1).astype(float)
    quartile = np.array([np.quantile(row[y.any(0)], 0.75) for row in y]) / total
    ref = int(np.argmin(np.abs(quartile - quartile.mean())))
    factors = []
    for i in range(y.shape[0]):
        rows = []
        for g in range(y.shape[1]):
            if y[i, g] > 0 and y[ref, g] > 0:
                p, q = y[i, g] / total[i], y[ref, g] / total[ref]
                variance = (1 - p) / y[i, g] + (1 - q) / y[ref, g]
                rows.append((np.log2(p / q), 0.5 * np.log2(p * q), variance))
        m, a, variance = map(np.array, zip(*rows, strict=True))
        if i == ref:
            factors.append(total[i])
            continue
        n = len(m)

        def inside(x, trim, n=n):
            rank = np.array([1 + np.sum(x < v) + 0.5 * (np.sum(x == v) - 1) for v in x])
            low = np.floor(n * trim) + 1
            return (rank >= low) & (rank <= n + 1 - low)

        keep = inside(m, 0.3) & inside(a, 0.05)
        factors.append(2 ** (np.sum(m[keep] / variance[keep]) / np.sum(1 / variance[keep])) * total[i])
    return np.array(factors)


PLAIN = {"normed_sum": lambda y: y.sum(1).astype(float), "ratio": ratio, "poscounts": poscounts, "tmm": tmm}


@pytest.fixture(scope="module")
def counts():
    return simulate(9, 300, seed=5)["counts"].values


@pytest.mark.parametrize("method", METHODS)
def test_definition(counts, method):
    factors = size_factors(dataset(counts), method=method)
    np.testing.assert_allclose(factors, unit_mean(PLAIN[method](counts)), rtol=1e-12)  # sums in another order
    assert np.mean(np.log(factors.values)) == pytest.approx(0.0, abs=1e-14)
    assert factors.dims == ("sample",)
    assert list(factors["sample"].values[:2]) == ["s0", "s1"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chunks", [(9, 7), (4, 100), (1, 300), (2, (150, 1, 149))])
def test_chunks_change_nothing(counts, method, chunks):
    whole = size_factors(dataset(counts), method=method)
    np.testing.assert_allclose(size_factors(dataset(counts, chunks), method=method), whole, rtol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_recovers_the_simulated_factors(method):
    data = simulate(8, 2000, de_fraction=0.0, seed=6)
    log_ratio = np.log(size_factors(data, method=method) / data["size_factor_true"]).values
    # library totals rest on a few large genes with a coefficient of variation of 0.25; medians on hundreds
    assert log_ratio.std() < (0.2 if method == "normed_sum" else 0.05)


@pytest.mark.parametrize("method", ["normed_sum", "poscounts", "tmm"])
def test_a_sample_without_counts(counts, method):
    empty = counts.copy()
    empty[3] = 0
    with pytest.warns(XdelnxWarning, match="1 of 9 samples have not a single count.*s3"):
        factors = size_factors(dataset(empty), method=method).values
    assert factors[3] == 0.001
    others = np.delete(factors, 3)
    assert np.isfinite(others).all()
    assert np.mean(np.log(others)) == pytest.approx(0.0, abs=1e-14)
    if method == "normed_sum":  # the others as if the sample were not there
        np.testing.assert_allclose(others, size_factors(dataset(np.delete(counts, 3, 0))), rtol=1e-14)


def test_ratio_without_a_usable_gene(counts):
    empty = counts.copy()
    empty[0] = 0
    with pytest.raises(ValueError, match="'poscounts', 'normed_sum' or 'tmm'"):
        size_factors(dataset(empty), method="ratio")


def test_all_zero_genes_change_nothing(counts):
    more = np.concatenate([np.zeros((9, 40), counts.dtype), counts, np.zeros((9, 7), counts.dtype)], axis=1)
    for method in METHODS:
        one, other = (size_factors(dataset(y), method=method) for y in (counts, more))
        np.testing.assert_allclose(other, one, rtol=1e-13)


def test_unknown_method(counts):
    with pytest.raises(ValueError, match=r"'rle'.*normed_sum.*tmm"):
        size_factors(dataset(counts), method="rle")


# ---- in a fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_in_a_fit(bulk, method):
    result = fit(bulk, "~condition", size_factors=method, contrasts=None)
    np.testing.assert_allclose(result["size_factor"], size_factors(bulk, method=method), rtol=1e-14)


def test_given_factors_are_used_as_given(bulk):
    given = bulk["size_factor_true"].values * 3.0
    by_array = fit(bulk, "~condition", size_factors=given)
    by_name = fit(bulk.assign(mine=("sample", given)), "~condition", size_factors="mine")
    by_label = fit(bulk, "~condition", size_factors=xr.DataArray(given, {"sample": bulk["sample"]})[::-1])
    for result in (by_array, by_name, by_label):
        np.testing.assert_array_equal(result["size_factor"], given)
        np.testing.assert_array_equal(result["pval"], by_array["pval"])


@pytest.mark.parametrize("none", ["none", None])
def test_none(bulk, none):
    assert (fit(bulk, "~condition", size_factors=none)["size_factor"] == 1.0).all()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, 2.0], r"each of the 16 samples; received an array of shape \(2,\)"),
        (np.zeros(16), r"size_factors must be positive and finite; received s0 \(0\).*16 in all"),
        (np.r_[np.ones(15), np.nan], r"positive and finite; received s15 \(nan\)"),
        ("size", "'size' is neither a method.*poscounts.*size_factor_true"),
    ],
)
def test_unusable_factors(bulk, value, message):
    with pytest.raises(ValueError, match=message):
        fit(bulk, "~condition", size_factors=value)


def test_tmm_reference_of_sparse_counts():
    """With half of the upper quartiles zero the sample with the most roots is it (edgeR 3.40.2: equal to 1e-15)."""
    roots = np.array([3.0, 9.0, 4.0, 8.0])
    assert scaling.tmm_reference(np.array([0.0, 0.0, 0.0, 0.5]), roots) == 1
    assert scaling.tmm_reference(np.array([0.1, 0.3, 0.25, 0.5]), roots) == 1  # closest to the mean, 0.2875
    assert scaling.tmm_reference(np.array([0.1, 0.3, 0.28, np.nan]), roots) == 2


@pytest.mark.parametrize("method", ["ratio", "poscounts"])
def test_a_gene_has_the_same_ratios_in_any_block_and_order_in_memory(method):
    """Bit by bit: of 40 samples NumPy adds up the logarithms in another order along rows than along columns."""
    counts = np.random.default_rng(0).poisson(30.0, (40, 50))
    expected = scaling.log_ratios(counts, method)
    np.testing.assert_array_equal(scaling.log_ratios(np.asfortranarray(counts), method), expected)
    for genes in (slice(7, 8), slice(20, 31)):
        np.testing.assert_array_equal(scaling.log_ratios(counts[:, genes], method), expected[:, genes])
