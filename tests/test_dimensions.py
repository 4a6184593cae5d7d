"""Dimensions of other names: the same numbers under the names that the data has."""

import pandas as pd
import pytest
import xarray as xr

import xdelnx as xd

NAMES = {"sample": "cell", "gene": "feature"}


@pytest.fixture(scope="module")
def fitted(bulk):
    return xd.fit(bulk, "~ batch + condition")


@pytest.fixture(scope="module")
def other(bulk):
    return bulk.rename(NAMES)


@pytest.fixture(scope="module")
def theirs(other):
    return xd.fit(other, "~ batch + condition", sample="cell", gene="feature")


def same(result, expected):
    """The same but for the names of dimensions and what is said of their origin."""
    here = {dim: name for dim, name in NAMES.items() if dim in expected.dims}
    xr.testing.assert_equal(result, expected.rename(here))


def test_a_fit_has_the_names_of_the_data(theirs, fitted):
    same(theirs, fitted)
    assert theirs["log2fc"].dims == ("contrast", "feature")
    assert theirs["size_factor"].attrs == fitted["size_factor"].attrs


@pytest.mark.parametrize(
    "call",
    [
        lambda ds, fit: xd.test(ds, fit, "condition[T.B]", lfc_threshold=0.5),
        lambda ds, fit: xd.covariance(ds, fit),
        lambda ds, fit: xd.residuals(ds, fit),
        lambda ds, fit: xd.goodness_of_fit(ds, fit),
        lambda ds, fit: xd.predict(ds, fit),
        lambda ds, fit: xd.shrink_lfc(fit),
        lambda ds, fit: xd.adjust(fit, "holm", filter_by="mean"),
        lambda ds, fit: ds.xdelnx.test(fit),
    ],
)
def test_a_fit_knows_them(bulk, other, fitted, theirs, call):
    same(call(other, theirs), call(bulk, fitted))


def test_they_survive_a_store(bulk, other, fitted, theirs, tmp_path):
    theirs.to_zarr(tmp_path / "fit.zarr")
    again = xr.open_zarr(tmp_path / "fit.zarr")
    same(xd.test(other, again), xd.test(bulk, fitted))


@pytest.mark.parametrize(
    "call",
    [
        lambda ds, **names: xd.size_factors(ds, **names),
        lambda ds, **names: xd.rank_genes(ds, "batch", **names),
        lambda ds, **names: xd.filter_by_expression(ds, **names),
        lambda ds, **names: xd.normalize(ds, **names),
        lambda ds, **names: xd.pseudobulk(ds, ["batch", "condition"], **names),
        lambda ds, **names: xd.fit(ds, "~ condition", by="batch", **names),
        lambda ds, **names: xd.fit(ds["counts"].assign_coords(age=ds["age"]), "~ age", **names),
    ],
)
def test_verbs_are_told_them(bulk, other, call):
    same(call(other, sample="cell", gene="feature"), call(bulk))


def test_one_of_them(bulk, fitted):
    result = xd.fit(bulk.rename(gene="feature"), "~ batch + condition", gene="feature")
    xr.testing.assert_equal(result, fitted.rename(gene="feature"))


def test_arrays_by_name_have_them_too(bulk, other):
    factors = xd.size_factors(other, sample="cell", gene="feature")
    assert factors.dims == ("cell",)
    result = xd.fit(other, "~ condition", size_factors=factors[::-1], sample="cell", gene="feature")
    same(result, xd.fit(bulk, "~ condition", size_factors=xd.size_factors(bulk)))


def test_tables_and_words_are_the_same(fitted, theirs):
    pd.testing.assert_frame_equal(xd.top_table(theirs), xd.top_table(fitted))
    pd.testing.assert_frame_equal(xd.ranked(theirs), xd.ranked(fitted))
    pd.testing.assert_frame_equal(xd.score_matrix(theirs), xd.score_matrix(fitted))
    assert xd.describe(theirs) == xd.describe(fitted)
    assert list(xd.to_anndata(theirs).var_names) == list(fitted["gene"].values)


def test_pictures(theirs):
    pytest.importorskip("matplotlib")
    assert xd.plot.pvalue_histogram(theirs).patches


def test_pictures_of_a_gene(other, theirs):
    """Where ``gene`` is the gene to draw."""
    pytest.importorskip("matplotlib")
    gene = str(theirs["feature"].values[2])
    assert gene in xd.plot.gene_counts(other, theirs, gene=gene, by="condition").get_title()


def test_the_fit_of_sums_knows_them(other, bulk):
    sums = xd.pseudobulk(other, ["batch", "condition", "age"], sample="cell", gene="feature")
    result = xd.fit(sums, "~ condition")
    assert set(result["design"].dims) == {"cell", "coefficient"}


@pytest.mark.parametrize(
    ("change", "names", "kind", "message"),
    [
        (
            {},
            {"sample": "cells"},
            ValueError,
            "sample='cells' is not a dimension of the data, whose dimensions are",
        ),
        ({}, {"gene": 3}, TypeError, "gene is the name of the genes' dimension, received 3"),
        ({}, {"sample": "cell", "gene": "cell"}, ValueError, "sample and gene are both called 'cell'"),
        (
            {"batch": "sample"},
            {"sample": "cell"},
            ValueError,
            "rename the variable, as with data.rename(sample=",
        ),
    ],
)
def test_misuse(other, change, names, kind, message):
    with pytest.raises(kind) as caught:
        xd.fit(other.rename(change), "~ condition", **names)
    assert message in str(caught.value)
