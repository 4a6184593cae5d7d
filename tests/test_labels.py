"""What has names is matched by them; numbers that nobody chose are no names."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xdelnx import fit, simulate

N, G = 12, 40
FORWARD = np.arange(N)


@pytest.fixture(scope="module")
def named():
    """Data with text for names, and size factors, offsets and overdispersions that differ everywhere."""
    return simulate(N, G, seed=5)


FACTORS = np.exp(np.linspace(-0.4, 0.6, N))
DESIGN = np.column_stack([np.ones(N), np.linspace(-1.0, 1.0, N) ** 3])
GIVEN = np.linspace(0.05, 0.5, G)


@pytest.fixture(scope="module")
def expected(named):
    return fit(named, DESIGN, size_factors=FACTORS, offset=0.3 * FACTORS, overdispersion=GIVEN)


def same(result, expected):
    """The same numbers, whatever the names."""
    for name in ("beta", "pval", "size_factor", "dispersion"):
        np.testing.assert_array_equal(result[name].values, expected[name].values)


def inputs(wrap, samples, genes):
    """Every input that goes by sample or gene, entries in another order than that of the data if their names are."""
    at, of = np.argsort(samples), np.argsort(genes)
    return {
        "design": wrap(DESIGN[at], "sample", np.sort(samples)),
        "size_factors": wrap(FACTORS[at], "sample", np.sort(samples)),
        "offset": wrap(0.3 * FACTORS[at], "sample", np.sort(samples)),
        "overdispersion": wrap(GIVEN[of], "gene", np.sort(genes)),
    }


def array(values, dim, names):
    return xr.DataArray(values, {dim: names}, (dim, "coefficient")[: values.ndim])


def frame(values, _dim, names):
    return (pd.Series if values.ndim == 1 else pd.DataFrame)(values, index=names)


@pytest.mark.parametrize("wrap", [array, frame])
def test_numbers_for_names_are_names(named, expected, wrap):
    """Samples and genes counted backwards, inputs counted forwards: matched, not taken as they come."""
    samples, genes = FORWARD[::-1], np.arange(G)[::-1]
    data = named.assign_coords(sample=samples, gene=genes)
    same(fit(data, **inputs(wrap, samples, genes)), expected)
    # some of the numbers alone are enough
    data = named.assign_coords(sample=samples + 3, gene=genes)
    with pytest.raises(ValueError, match=r"no row for 14, 13, 12; no sample for 0, 1, 2\. Match the labels"):
        fit(data, wrap(DESIGN, "sample", FORWARD))
    words = r"no value for 3 samples: 14, 13, 12; its names are 0, 1, .* pass a NumPy array if it is in the order of"
    with pytest.raises(ValueError, match=words):
        fit(data, DESIGN, size_factors=wrap(FACTORS, "sample", FORWARD))


def test_an_index_of_pandas_only_counts_where_samples_have_other_names(named, expected):
    same(fit(named, **inputs(frame, FORWARD, np.arange(G))), expected)
    offset = pd.DataFrame(np.tile(0.3 * FACTORS[:, None], G))
    result = fit(named, DESIGN, size_factors=FACTORS, offset=offset, overdispersion=GIVEN)
    # offsets of entries are summed in another order
    np.testing.assert_allclose(result["beta"], expected["beta"], rtol=1e-9)
    with pytest.raises(ValueError, match=r"offset and counts differ in their names along 'sample' .1, 2, "):
        fit(named.assign_coords(sample=FORWARD[::-1] + 1), DESIGN, offset=offset.set_axis(FORWARD + 1))


@pytest.mark.parametrize("name", ["design", "size_factors", "offset", "overdispersion"])
def test_a_coordinate_is_never_mere_counting(named, name):
    options = {"design": DESIGN} | {name: inputs(array, FORWARD, np.arange(G))[name]}
    with pytest.raises(ValueError, match=r"its names are 0, 1, |no sample for 0, 1, "):
        fit(named, **options)


def test_a_mapping_always_has_names(named):
    with pytest.raises(ValueError, match="size_factors has no value for 12 samples"):
        fit(named, DESIGN, size_factors=dict(enumerate(FACTORS)))


def test_without_names_there_is_an_order(named, expected):
    bare = {"design": xr.DataArray(DESIGN, dims=("sample", "coefficient"))}
    bare |= {"size_factors": xr.DataArray(FACTORS, dims="sample"), "offset": 0.3 * FACTORS}
    bare |= {"overdispersion": xr.DataArray(GIVEN, dims="gene")}
    same(fit(named, **bare), expected)
    same(fit(named.drop_vars(["sample", "gene"]), **bare), expected)
    same(fit(named.drop_vars(["sample", "gene"]), **inputs(array, FORWARD, np.arange(G))), expected)
