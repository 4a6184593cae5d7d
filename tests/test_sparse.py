"""Counts in sparse arrays: the same fit as from an ordinary array, and no dense copy of a block."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse

import xdelnx as xd
from xdelnx.algorithms import matrices

# The same kernels see the same numbers; only totals of blocks of other widths are added in another order.
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}
FORMATS = [scipy.sparse.csr_matrix, scipy.sparse.csc_matrix, scipy.sparse.csr_array, scipy.sparse.csc_array]


@pytest.fixture(scope="module")
def data():
    data = xd.simulate(300, 120, kind="cells", seed=4, n_batches=2)
    counts = data["counts"].values.copy()
    counts[:, 5] = 0
    counts[:, 6] += 3  # a gene that takes the dense path
    data["counts"] = ("sample", "gene"), counts
    return data


@pytest.fixture(scope="module")
def expected(data):
    return xd.fit(data, "~ batch + condition")


def with_counts(data, counts):
    return data.drop_vars("counts").assign(counts=(("sample", "gene"), counts))


def check(result, expected):
    for name in ("size_factor", "mean", "dispersion", "beta", "stat", "pval"):
        np.testing.assert_allclose(result[name], expected[name], err_msg=name, **TOLERANCE)


@pytest.mark.parametrize("chunks", [(300, 40), (100, 17)])
@pytest.mark.parametrize("kind", FORMATS)
def test_dask_arrays_of_scipy_sparse_blocks(data, expected, kind, chunks):
    counts = da.from_array(data["counts"].values, chunks=chunks)
    blocks = counts.map_blocks(kind, dtype=counts.dtype, meta=kind((0, 0), dtype=counts.dtype))
    sparse = with_counts(data, blocks)
    result = xd.fit(sparse, "~ batch + condition")
    check(result, expected)
    test = xd.test(sparse, result, "condition[T.B]")
    np.testing.assert_allclose(test["stat"], expected["stat"].sel(contrast=["condition[T.B]"]), **TOLERANCE)


@pytest.mark.parametrize("kind", ["COO", "GCXS"])
def test_pydata_sparse_arrays(data, expected, kind):
    sparse = pytest.importorskip("sparse")
    check(
        xd.fit(with_counts(data, getattr(sparse, kind)(data["counts"].values)), "~ batch + condition"),
        expected,
    )


@pytest.mark.parametrize("method", ["ratio", "poscounts", "tmm"])
def test_size_factors_of_sparse_counts(data, method):
    counts = data["counts"].values + (method == "ratio")  # ratio needs genes without a zero
    dense = with_counts(data, counts)
    blocks = da.from_array(counts, chunks=(300, 40)).map_blocks(
        scipy.sparse.csr_array, dtype=counts.dtype, meta=scipy.sparse.csr_array((0, 0), dtype=counts.dtype)
    )
    factors = xd.size_factors(with_counts(data, blocks), method=method)
    np.testing.assert_allclose(factors, xd.size_factors(dense, method=method), rtol=1e-14)  # the same sums


def test_anndata_fits_without_a_dense_block(monkeypatch, data, expected):
    anndata = pytest.importorskip("anndata")
    obs = data[["batch", "condition"]].to_dataframe()
    obs.index = obs.index.astype(str)
    adata = anndata.AnnData(scipy.sparse.csr_matrix(data["counts"].values), obs=obs)
    made_dense = []
    plain = matrices.as_dense

    def watched(matrix):
        made_dense.append(matrix.shape)
        return plain(matrix)

    monkeypatch.setattr("xdelnx.algorithms.tiles.as_dense", watched)
    check(xd.fit(adata, "~ batch + condition"), expected)
    # genes with more non-zero counts than pay are taken dense, tile by tile; a whole block is not
    assert sum(shape[1] for shape in made_dense) < 2 * 0.5 * adata.n_vars


def test_block_formats():
    counts = np.array([[0.0, 2.0], [1.0, 0.0], [3.0, 0.0]])
    repeated = scipy.sparse.coo_array(
        ([1.0, 1.0, 1.0, 3.0, 0.0], ([0, 0, 1, 2, 2], [1, 1, 0, 0, 1])), shape=(3, 2)
    )
    matrix = matrices.as_matrix(repeated)
    np.testing.assert_array_equal(matrices.as_dense(matrix), counts)
    assert matrix.nnz == 3  # repeated entries added up, the stored zero gone
    marked = matrices.entries(matrix) > 1
    np.testing.assert_array_equal(matrices.sum_by_gene(matrix, marked), np.sum(counts > 1, axis=0))
    assert matrices.as_matrix(counts) is counts


@pytest.mark.parametrize(("value", "words"), [(-1, "negative"), (np.nan, "NaN")])
def test_values_that_are_no_counts_are_found_in_sparse_blocks(data, value, words):
    counts = data["counts"].values.astype(float)
    counts[3, 7] = value
    blocks = da.from_array(counts, chunks=(300, 40)).map_blocks(
        scipy.sparse.csc_array, dtype=float, meta=scipy.sparse.csc_array((0, 0), dtype=float)
    )
    with pytest.raises(ValueError, match=f"{words}(.|\n)*g7"):
        xd.fit(with_counts(data, blocks), "~ condition")
