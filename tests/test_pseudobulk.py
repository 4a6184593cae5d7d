"""Sums of cells by group against pandas; all comparisons of integers are exact."""

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xarray as xr

import xdelnx as xd
from xdelnx.algorithms.grouping import sum_by_group
from xdelnx.cli import main
from xdelnx.storage.stores import open_counts, write_store


@pytest.fixture(scope="module")
def cells():
    cells = xd.simulate(211, 90, kind="cells", seed=8)
    rng = np.random.default_rng(0)
    donor, kind = rng.choice(["d3", "d1", "d2"], 211), rng.choice(["T", "B", "NK"], 211)
    cells["donor"] = ("sample", donor.astype(object))
    cells["kind"] = xr.Variable("sample", kind.astype(object), {"categories": ["T", "NK", "B", "none"]})
    cells["age"] = ("sample", np.array([{"d1": 40.5, "d2": np.nan, "d3": 61.0}[d] for d in donor]))
    cells["qc"] = ("sample", rng.normal(size=211))
    cells["chromosome"] = ("gene", np.array(["1", "X"] * 45, dtype=object))
    return cells.drop_vars("condition")


def by_pandas(cells, by):
    """The same sums by pandas, groups in order."""
    counts = pd.DataFrame(cells["counts"].values, columns=cells["gene"].values)
    columns = []
    for name in by:
        levels = cells[name].attrs.get("categories")
        columns.append(pd.Categorical(cells[name].values, levels) if levels else cells[name].values)
    grouped = counts.groupby(columns, observed=True)
    return grouped.sum(), grouped.size()


KINDS = {
    "NumPy": lambda y: y,
    "by gene": lambda y: da.from_array(y, chunks=(-1, 40)),
    "by cell": lambda y: da.from_array(y, chunks=(50, -1)),
    "both": lambda y: da.from_array(y, chunks=(30, 17)),
    "uint8": lambda y: da.from_array(y.astype("u1"), chunks=(100, 90)),
    "sparse columns": lambda y: da.from_array(y, chunks=(60, 40)).map_blocks(
        scipy.sparse.csc_array, dtype=y.dtype, meta=scipy.sparse.csc_array((0, 0), dtype=y.dtype)
    ),
    "sparse rows": lambda y: da.from_array(y, chunks=(60, 40)).map_blocks(
        scipy.sparse.csr_matrix, dtype=y.dtype, meta=scipy.sparse.csr_matrix((0, 0), dtype=y.dtype)
    ),
}


@pytest.mark.parametrize("by", [["donor"], ["kind"], ["donor", "kind"], ["kind", "donor"]])
@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_those_of_pandas(cells, kind, by):
    array = KINDS[kind](np.minimum(cells["counts"].values, 255))
    data = cells.assign(counts=(("sample", "gene"), array))
    result = xd.pseudobulk(data, by if len(by) > 1 else by[0])
    assert isinstance(result["counts"].data, np.ndarray if kind == "NumPy" else da.Array)
    assert result["counts"].dtype == np.int64
    expected, sizes = by_pandas(cells.assign(counts=np.minimum(cells["counts"], 255)), by)
    np.testing.assert_array_equal(result["counts"], expected)
    np.testing.assert_array_equal(result["n_cells"], sizes)
    for level, name in enumerate(by):
        np.testing.assert_array_equal(result[name], expected.index.get_level_values(level).astype(str))
    assert list(result["sample"].values) == ["_".join(np.atleast_1d(label)) for label in expected.index]


def test_metadata(cells):
    result = xd.pseudobulk(cells, ["kind", "donor"])
    assert list(pd.unique(result["kind"].values)) == ["T", "NK", "B"]  # the levels' order, without empty ones
    assert result["kind"].attrs["categories"] == ["T", "NK", "B", "none"]
    ages = {"d1": 40.5, "d2": np.nan, "d3": 61.0}  # constant within a donor, missing included
    np.testing.assert_array_equal(result["age"], [ages[donor] for donor in result["donor"].values])
    assert "qc" not in result
    np.testing.assert_array_equal(result["chromosome"], cells["chromosome"])
    assert result["n_cells"].attrs["long_name"]
    assert "age" not in xd.pseudobulk(cells, "kind")


def test_names_stay_apart():
    ds = xr.Dataset({"counts": (("sample", "gene"), np.eye(3, dtype=int))}, {"sample": list("xyz")})
    ds["a"], ds["b"] = ("sample", ["p_q", "p", "p"]), ("sample", ["r", "q_r", "s"])
    assert list(xd.pseudobulk(ds, ["a", "b"])["sample"].values) == ["p|q_r", "p|s", "p_q|r"]


def test_numbers_and_booleans_group(cells):
    data = cells.assign(chip=("sample", np.arange(211) % 12), old=cells["age"] > 50)
    assert list(xd.pseudobulk(data, "chip")["sample"].values) == [str(i) for i in range(12)]
    result = xd.pseudobulk(data, "old")
    assert result["old"].dtype == bool
    assert list(result["sample"].values) == ["False", "True"]


def test_large_integers_are_exact_and_fractions_stay_fractions():
    counts = np.array([[2**53, 1], [1, 2], [2**53 + 1, 3]])
    for matrix in (counts, scipy.sparse.csr_array(counts)):
        np.testing.assert_array_equal(sum_by_group(matrix, np.array([0, 0, 0]), 1), [[2**54 + 2, 6]])
    result = sum_by_group(np.array([[0.5], [0.25], [2.0]]), np.array([2, 0, 2]), 3)
    np.testing.assert_array_equal(result, [[0.25], [0.0], [2.5]])


def test_nothing_is_read_before_and_each_chunk_once(cells):
    reads = []

    def read(block, block_info=None):
        reads.append(block_info[None]["chunk-location"])
        return block

    array = da.from_array(cells["counts"].values, chunks=(50, 30)).map_blocks(
        read, dtype=int, meta=np.empty((0, 0), int)
    )
    result = xd.pseudobulk(cells.assign(counts=(("sample", "gene"), array)), "donor")
    assert reads == []
    with dask.config.set(scheduler="synchronous"):
        result.compute()
    assert len(reads) == len({*reads}) == 15


def test_an_anndata_and_a_fit_of_its_sums(cells):
    anndata = pytest.importorskip("anndata")
    obs = cells[["donor", "kind"]].to_dataframe()
    obs.index = obs.index.astype(str)
    counts = scipy.sparse.csr_matrix(cells["counts"].values)
    sums = xd.pseudobulk(anndata.AnnData(counts, obs=obs), ["donor", "kind"])
    np.testing.assert_array_equal(sums["counts"], by_pandas(cells.drop_attrs(), ["donor", "kind"])[0])
    result = xd.fit(sums, "~ donor + kind")
    assert np.isfinite(result["pval"]).any()


def test_command_line(cells, tmp_path):
    write_store(cells, tmp_path / "cells.zarr")
    command = ["pseudobulk", str(tmp_path / "cells.zarr"), str(tmp_path / "sums.zarr")]
    assert main([*command, "--by", "donor", "--by", "kind", "--scheduler", "synchronous"]) == 0
    written = open_counts(tmp_path / "sums.zarr")
    np.testing.assert_array_equal(written["counts"], by_pandas(cells, ["donor", "kind"])[0])
    assert main([*command, "--by", "donors", "--overwrite"]) == 1


def test_a_categorical_of_pandas_keeps_the_order_of_its_levels(tmp_path):
    data = xd.simulate(12, 60, seed=1)
    data["batch"] = "sample", np.arange(12) % 3
    given = data.assign(condition=("sample", pd.Categorical(data["condition"].values, ["B", "A", "none"])))
    assert isinstance(given["condition"].dtype, pd.CategoricalDtype)  # xarray keeps it as it is
    write_store(given, tmp_path / "counts.zarr")
    sums = xd.pseudobulk(given, ["condition", "batch"])
    assert list(sums["sample"].values) == ["B_0", "B_1", "B_2", "A_0", "A_1", "A_2"]
    reference = xd.fit(data, "~ condition", reference={"condition": "B"})
    for counts in (given, given.set_coords("condition"), open_counts(tmp_path / "counts.zarr")):
        fit = xd.fit(counts, "~ condition")
        xr.testing.assert_equal(fit["log2fc"], reference["log2fc"])  # A against B, not the other way round
    assert list(xd.fit(sums, "~ condition")["coefficient"].values) == ["Intercept", "condition[T.A]"]
