"""edgeR's filter of genes, against edgeR (validation/make_golden_filter.R) gene by gene."""

import os
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xarray as xr

import xdelnx as xd
from xdelnx.algorithms.expression import enough, samples_needed, smallest_group

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
REFERENCE = Path(os.environ.get("XDELNX_REFERENCE", ROOT.parent / "shared" / "reference"))
FORMULAS = {"golden12": "~ batch + condition", "golden8": "~ x + group"}
OTHER = {"min_count": 3, "min_total_count": 40, "large_n": 2, "min_prop": 0.6}


def read(folder):
    counts = pd.read_csv(folder / "counts.csv.gz", index_col=0)
    obs = pd.read_csv(folder / "obs.csv", index_col=0).loc[counts.columns]
    ds = xr.Dataset({"counts": (("sample", "gene"), counts.values.T)}, {"gene": list(counts.index)})
    return ds.assign_coords(sample=list(counts.columns)).assign(
        {
            name: ("sample", obs[name].to_numpy(object if obs[name].dtype.kind == "O" else None))
            for name in obs
        }
    )


def kinds(ds):
    """The same counts as NumPy, in chunks and sparse."""
    chunks = ds["counts"].chunk(gene=70).data
    sparse = chunks.map_blocks(
        scipy.sparse.csc_array, dtype=chunks.dtype, meta=scipy.sparse.csc_array((0, 0), dtype=chunks.dtype)
    )
    return [ds, *(ds.assign(counts=(("sample", "gene"), array)) for array in (chunks, sparse))]


@pytest.mark.parametrize("case", FORMULAS)
@pytest.mark.parametrize("column", ["design", "group", "none", "tmm", "other"])
def test_every_gene_as_in_edger(case, column):
    expected = pd.read_csv(DATA / case / "edgeR_filter.csv.gz", index_col=0)[column]
    group = "condition" if case == "golden12" else "group"
    options = {
        "design": {"design": FORMULAS[case]},
        "group": {"group": group},
        "none": {},
        "tmm": {"design": FORMULAS[case], "size_factors": "tmm"},
        "other": {"group": group, **OTHER},
    }[column]
    ds = read(DATA / case)
    for data in kinds(ds.assign(counts=ds["counts"] // 8)):
        keep = xd.filter_by_expression(data, **options)
        np.testing.assert_array_equal(keep, expected.loc[keep["gene"].values])
        assert 0 < keep.sum() < keep.size
        assert data.isel(gene=keep).sizes["gene"] == expected.sum()


@pytest.mark.reference
@pytest.mark.skipif(not (REFERENCE / "airway").exists(), reason="set XDELNX_REFERENCE to the reference cases")
def test_every_gene_of_the_airway_data():
    folder = REFERENCE / "airway"
    expected = pd.read_csv(folder / "edgeR_genes.csv.gz", index_col=0)["filter_by_expr"]
    keep = xd.filter_by_expression(read(folder), "~ celltype + dex", size_factors="tmm").to_series()
    np.testing.assert_array_equal(keep.loc[expected.index], expected)
    assert not keep.drop(expected.index).any()  # the others have no count
    assert expected.sum() > 10_000


def test_smallest_group_is_the_size_of_the_smallest_group():
    one_way = np.eye(3)[[0] * 5 + [1] * 3 + [2] * 7]
    # leverages of a one-way layout are 1 / the size of the sample's group; the basis does not matter
    assert smallest_group(one_way) == pytest.approx(3.0, rel=1e-12)
    assert smallest_group(one_way @ [[1, 1, 0], [1, 0, 1], [1, 0, 0]]) == pytest.approx(3.0, rel=1e-12)
    assert smallest_group(np.column_stack([one_way, np.ones(15)])) == pytest.approx(3.0, rel=1e-12)


def test_large_groups():
    assert samples_needed(10.0, 10.0, 0.7) == 10.0
    assert samples_needed(30.0, 10.0, 0.7) == pytest.approx(24.0)


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csc_array])
def test_counts_at_the_cutoff_are_in(kind):
    least = np.array([10.0 / 3.0, 7.0, 0.1 * 3 * 10])
    counts = kind(np.array([[4, 3, 4], [7, 7, 7], [3, 3, 2]]))
    np.testing.assert_array_equal(enough(counts, least, 3.0, 13.0), [True, False, False])
    np.testing.assert_array_equal(enough(counts, least, 2.0, 13.0), [True, True, True])
    np.testing.assert_array_equal(enough(counts, 0.0 * least, 3.0, 14.0), [True, False, False])


def test_an_order_of_chunks_and_of_samples_changes_nothing():
    ds = xd.simulate(30, 200, seed=2, kind="cells")
    expected = xd.filter_by_expression(ds, "~ condition", min_count=1)
    mixed = ds.isel(sample=np.random.default_rng(0).permutation(30))
    mixed["counts"] = ("sample", "gene"), da.from_array(mixed["counts"].values, chunks=(7, 33))
    xr.testing.assert_equal(xd.filter_by_expression(mixed, "~ condition", min_count=1), expected)
