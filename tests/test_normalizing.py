"""Normalised values and length offsets, against edgeR's numbers and the formulas written out."""

from pathlib import Path

import mpmath
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xarray as xr

import xdelnx as xd

# validation/make_golden_looking.R: calcNormFactors(Y / lengths) * colSums(Y / lengths)
EFFECTIVE_LIBRARIES = [
    98465.270690969, 90878.790344560, 82189.522413744, 82229.677688977, 165981.197098173, 95732.158336229,
    149141.986575337, 163342.588448068, 311994.249542943, 220216.788606339, 249835.234319175, 199689.983641398,
]  # fmt: skip
DATA = Path(__file__).parent / "data" / "golden12"


@pytest.fixture(scope="module")
def golden():
    counts = pd.read_csv(DATA / "counts.csv.gz", index_col=0)
    counts = counts[counts.sum(axis=1) > 0]
    return xr.Dataset(
        {"counts": (("sample", "gene"), counts.to_numpy().T)},
        {
            "sample": list(counts.columns),
            "gene": counts.index.to_numpy(object),
            "length": ("gene", np.arange(len(counts))),
        },
    )


@pytest.fixture(scope="module")
def ds():
    return xd.simulate(n_samples=9, n_genes=120, seed=2)


def test_log_cpm_against_edger(golden):
    """edgeR 3.40.2, cpm(log = TRUE, prior.count = 2) with its effective libraries; 12 digits are in the file."""
    table = pd.read_csv(DATA / "edgeR_logcpm.csv.gz", index_col=0, skipinitialspace=True)
    library, expected = table.loc["library"].to_numpy(), table.drop("library")
    total = golden["counts"].sum("gene").values
    factors = library / np.exp(np.log(total).mean())
    values = xd.normalize(golden, size_factors=factors).sel(gene=expected.index.to_list())
    np.testing.assert_allclose(values.values.T, expected, rtol=0.0, atol=1e-9)


def test_log_cpm_of_library_totals(golden):
    """Without a method of its own the effective library is the total."""
    y = golden["counts"].values
    library = y.sum(axis=1, keepdims=True)
    prior = 0.5 * library / library.mean()
    expected = np.log2((y + prior) / (library + 2.0 * prior) * 1e6)
    np.testing.assert_allclose(xd.normalize(golden, prior_count=0.5), expected, rtol=1e-12)  # rounding


@pytest.mark.parametrize("theta", [0.0, 1e-8, 0.05, 3.0])
def test_acosh(ds, theta):
    scaled = ds["counts"].values / xd.size_factors(ds).values[:, None]
    expected = 2.0 * np.sqrt(scaled)
    if theta > 0.0:
        with mpmath.workdps(40):
            t = mpmath.mpf(theta)
            root = mpmath.sqrt(t)
            written_out = np.frompyfunc(lambda x: float(mpmath.acosh(2 * t * x + 1) / root), 1, 1)
            expected = written_out(scaled.astype(object)).astype(float)
    values = xd.normalize(ds, "acosh", overdispersion=theta)
    np.testing.assert_allclose(values, expected, rtol=1e-14)


def test_acosh_makes_the_variance_one():
    """Counts of one negative binomial: what it is for. 2,000 draws, so 4 standard errors are 13 %."""
    rng = np.random.default_rng(0)
    for mean in (20.0, 200.0):
        y = rng.negative_binomial(5.0, 5.0 / (5.0 + mean), size=(2000, 1))
        data = xr.Dataset(
            {"counts": (("sample", "gene"), y)}, {"sample": np.arange(2000).astype(str), "gene": ["g"]}
        )
        values = xd.normalize(data, "acosh", size_factors=None, overdispersion=0.2)
        assert float(values.var()) == pytest.approx(
            1.0, rel=0.3
        )  # the delta method's own error is within 15 %


def test_of_a_fit_by_gene(ds):
    fit = xd.fit(ds, "~ condition")
    theta = fit["dispersion_trend"]
    values = xd.normalize(ds, "acosh", overdispersion=theta)
    one = xd.normalize(ds, "acosh", overdispersion=float(theta[3]))
    np.testing.assert_array_equal(values[:, 3], one[:, 3])


@pytest.mark.parametrize("method", ["log_cpm", "acosh"])
def test_lazy_and_sparse_give_the_same(ds, method):
    expected = xd.normalize(ds, method)
    lazy = xd.normalize(ds.assign(counts=ds["counts"].chunk(gene=50)), method)
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-14)
    adata = pytest.importorskip("anndata").AnnData(scipy.sparse.csr_matrix(ds["counts"].values.astype(float)))
    np.testing.assert_allclose(xd.normalize(adata, method), expected, rtol=1e-14)


@pytest.mark.parametrize("named", [xr.DataArray, pd.Series, dict])
def test_overdispersions_by_name(ds, named):
    theta = xr.DataArray(np.linspace(0.0, 2.0, 120), {"gene": ds["gene"]}, ("gene",))
    shuffled = theta[np.random.default_rng(0).permutation(120)]
    given = {"DataArray": shuffled, "Series": shuffled.to_series(), "dict": shuffled.to_series().to_dict()}
    found = xd.normalize(ds, "acosh", overdispersion=given[named.__name__])
    np.testing.assert_array_equal(found, xd.normalize(ds, "acosh", overdispersion=theta.values))


def test_coordinates_and_attributes(golden):
    values = xd.normalize(golden)
    assert list(values["length"].values[:2]) == [0, 1]
    assert values.attrs["units"] == "log2 counts per million"


def lengths_of(ds):
    n, g = ds["counts"].shape
    table = 500.0 + 100.0 * ((np.arange(n)[:, None] * 7 + np.arange(g)[None, :] * 13) % 17)
    return xr.DataArray(table, ds["counts"].coords, ("sample", "gene"))


def test_length_offset_is_relative_to_the_genes_geometric_mean(ds):
    lengths = lengths_of(ds)
    offset = xd.length_offset(lengths.transpose("gene", "sample"))
    np.testing.assert_allclose(offset.mean("sample"), 0.0, atol=1e-13)
    np.testing.assert_allclose(offset.diff("sample"), np.log(lengths).diff("sample"), atol=1e-13)


def test_length_offset_with_size_factors_against_edger(golden):
    """tximport's recipe in R with edgeR 3.40.2's calcNormFactors; offsets count up to a constant."""
    library = np.array(EFFECTIVE_LIBRARIES)
    lengths = lengths_of(golden)
    offset = xd.length_offset(lengths, golden, method="tmm")
    expected = xd.length_offset(lengths) + np.log(library)[:, None]
    difference = (offset - expected).values
    np.testing.assert_allclose(difference, difference.mean(), atol=1e-9)  # ten digits of the libraries


def test_length_offset_in_a_fit(ds):
    """Counts and lengths of one sample scaled together leave the coefficients where they were."""
    lengths = lengths_of(ds)
    fit = xd.fit(
        ds, "~ condition", offset=xd.length_offset(lengths, ds, method="normed_sum"), size_factors=None
    )
    plain = xd.fit(ds, "~ condition")
    assert float(abs(fit["log2fc"] - plain["log2fc"]).max()) > 0.01
    same = xd.length_offset(xr.full_like(lengths, 900.0), ds, method="normed_sum")
    equal = xd.fit(ds, "~ condition", offset=same, size_factors=None)
    # the moment estimate, where the search starts, sees the offset per entry: 1e-6 of the search's end
    np.testing.assert_allclose(equal["log2fc"], plain["log2fc"], atol=1e-6)


def test_length_offset_of_other_dimensions(ds):
    lengths, names = lengths_of(ds), {"sample": "cell", "gene": "feature"}
    found = xd.length_offset(lengths.rename(names), ds.rename(names), method="tmm", **names)
    assert found.dims == ("cell", "feature")
    np.testing.assert_array_equal(found, xd.length_offset(lengths, ds, method="tmm"))


# ---- tables ----------------------------------------------------------------------------------------------


def test_annotation_in_the_table(ds):
    fit = xd.fit(ds, "~ condition")
    symbols = pd.DataFrame({"symbol": [f"S{i}" for i in range(119)]}, index=ds["gene"].values[1:])
    table = xd.top_table(fit, annotation=symbols)
    assert list(table.columns[:6]) == ["feature", "log2fc", "coef", "stat", "pval", "padj"]
    by_name = table.set_index("feature")["symbol"]
    assert by_name[ds["gene"].values[5]] == "S4"
    assert pd.isna(by_name[ds["gene"].values[0]])
    with_data = xd.top_table(fit, annotation=ds, n=3)
    assert {"base_mean", "is_de"} <= set(with_data.columns)
    truth = ds["base_mean"].to_series()
    np.testing.assert_array_equal(with_data["base_mean"], truth[with_data["feature"]])


@pytest.mark.parametrize("by", ["stat", "pval", "log2fc"])
def test_ranked(ds, by):
    fit = xd.fit(ds, "~ condition")
    table, ranks = xd.top_table(fit).dropna(), xd.ranked(fit, by=by)
    assert len(ranks) == len(table)
    assert (ranks["score"].diff().dropna() <= 0).all()
    signs = (
        np.sign(ranks["score"].to_numpy()),
        np.sign(table.set_index("feature")["log2fc"][ranks["feature"]].to_numpy()),
    )
    some = ranks["score"].to_numpy() != 0.0
    np.testing.assert_array_equal(signs[0][some], signs[1][some])
    if by == "pval":
        pval = table.set_index("feature")["pval"][ranks["feature"]].to_numpy()
        np.testing.assert_allclose(10.0 ** -abs(ranks["score"]), pval, rtol=1e-12)


# ---- what cannot be meant --------------------------------------------------------------------------------

LENGTHS = xr.DataArray(np.ones((9, 120)), dims=("sample", "gene"))
BAD = {
    "method": (
        lambda ds: xd.normalize(ds, "cpm"),
        ValueError,
        "unknown method 'cpm'; did you mean 'log_cpm'",
    ),
    "prior": (lambda ds: xd.normalize(ds, prior_count=-1), ValueError, "prior_count"),
    "negative overdispersion": (
        lambda ds: xd.normalize(ds, "acosh", overdispersion=-0.1),
        ValueError,
        "overdispersion must be finite and 0 or more; received -0.1",
    ),
    "no overdispersion": (
        lambda ds: xd.normalize(ds, "acosh", overdispersion=None),
        TypeError,
        "overdispersion=None is not known; choose a number",
    ),
    "overdispersion, to be estimated": (
        lambda ds: xd.normalize(ds, "acosh", overdispersion=True),
        TypeError,
        "overdispersion=True is not known; choose a number",
    ),
    "truth values": (
        lambda ds: xd.normalize(ds, "acosh", overdispersion=xr.DataArray(True)),
        TypeError,
        "is not known; choose a number",
    ),
    "text": (
        lambda ds: xd.normalize(ds, "acosh", overdispersion=np.full(120, "0.1")),
        TypeError,
        "is not known; choose a number",
    ),
    "overdispersions": (
        lambda ds: xd.normalize(ds, "acosh", overdispersion=[0.1, 0.2]),
        ValueError,
        "overdispersion needs a number for each of the 120 genes",
    ),
    "no lengths": (lambda ds: xd.length_offset(ds), TypeError, "lengths are a DataArray"),
    "lengths of 0": (lambda ds: xd.length_offset(LENGTHS * 0.0), ValueError, "lengths are positive numbers"),
    "data alone": (lambda ds: xd.length_offset(LENGTHS, ds), ValueError, "data and method together"),
    "other lengths": (
        lambda ds: xd.length_offset(LENGTHS[:4], ds, method="tmm"),
        ValueError,
        r"lengths has the shape \(4, 120\); expected \(9, 120\)",
    ),
    "lengths in another order": (
        lambda ds: xd.length_offset(lengths_of(ds)[::-1], ds, method="tmm"),
        ValueError,
        "lengths and counts differ in their names along 'sample'",
    ),
    "lengths of other dimensions": (
        lambda ds: xd.length_offset(LENGTHS.rename(sample="cell")),
        TypeError,
        r"lengths are a DataArray \(sample, gene\), received DataArray \(cell, gene\)",
    ),
    "score": (lambda ds: xd.ranked(xd.fit(ds, "~ condition"), by="f"), ValueError, "by='f' is not a score"),
    "joint test": (
        lambda ds: xd.ranked(xd.fit(ds, "~ condition", contrasts=[[1, 0], [0, 1]])),
        ValueError,
        "a joint test has no direction",
    ),
    "annotation": (
        lambda ds: xd.top_table(xd.fit(ds, "~ condition"), annotation=["a"]),
        TypeError,
        "annotation is a DataFrame by gene name, or a Dataset; received list",
    ),
    "annotation of others": (
        lambda ds: xd.top_table(xd.fit(ds, "~ condition"), annotation=pd.DataFrame({"s": [1]}, index=["x"])),
        ValueError,
        "annotation has none of the genes",
    ),
    "annotation twice": (
        lambda ds: xd.top_table(
            xd.fit(ds, "~ condition"), annotation=pd.DataFrame({"s": [1, 2]}, index=["x", "x"])
        ),
        ValueError,
        "annotation names genes twice",
    ),
    "annotation of results": (
        lambda ds: xd.top_table(
            xd.fit(ds, "~ condition"), annotation=pd.DataFrame({"pval": 1.0}, index=ds["gene"].values)
        ),
        ValueError,
        "annotation has columns of the table itself: pval",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(ds, case):
    call, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        call(ds)
