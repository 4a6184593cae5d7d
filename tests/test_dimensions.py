"""Dimensions of other names: the same numbers under the names that the data has."""

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.cli import main

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


# ---- stores and the command line ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(other, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "cells.zarr"
    other.to_zarr(path)
    return path


DIMS = ["--sample", "cell", "--gene", "feature"]


def test_a_store_is_opened_in_blocks_under_its_names(store, other):
    opened = xd.open_counts(store, sample="cell", gene="feature")
    assert opened["counts"].dims == ("cell", "feature")
    assert opened["counts"].chunks[0] == (other.sizes["cell"],)
    xr.testing.assert_equal(opened.load(), other)
    same(xd.fit(opened, "~ condition"), xd.fit(other.rename(cell="sample", feature="gene"), "~ condition"))


def test_paths(store, other, theirs, tmp_path):
    """A verb opens a path with the names it is told, that its fit has, or that the store remembers."""
    xr.testing.assert_equal(xd.fit(store, "~ batch + condition", sample="cell", gene="feature"), theirs)
    xr.testing.assert_equal(xd.test(str(store), theirs), xd.test(other, theirs))
    sums = xd.pseudobulk(other, ["batch", "condition", "age"], sample="cell", gene="feature")
    sums.to_zarr(tmp_path / "sums.zarr")
    assert xd.size_factors(tmp_path / "sums.zarr").dims == ("cell",)


def test_an_annotated_path_gives_results_of_these_names(bulk, fitted, tmp_path):
    anndata = pytest.importorskip("anndata")
    obs = pd.DataFrame({name: bulk[name].values for name in ("batch", "condition")}, bulk["sample"].values)
    adata = anndata.AnnData(bulk["counts"].values, obs, pd.DataFrame(index=bulk["gene"].values))
    adata.write_h5ad(tmp_path / "x.h5ad")
    for data in (adata, tmp_path / "x.h5ad"):
        same(xd.fit(data, "~ batch + condition", sample="cell", gene="feature"), fitted)


def test_commands(store, bulk, fitted, theirs, tmp_path):
    """Every command that reads counts, against the function."""
    again, tested, sums, kept, marks, left, logs = (
        str(tmp_path / f"{name}.zarr") for name in ("fit", "test", "sums", "kept", "marks", "left", "logs")
    )
    counts = str(store)
    table = ["--table", str(tmp_path / "genes.csv")]
    assert main(["fit", counts, again, "--design", "~ batch + condition", *DIMS, *table]) == 0
    same(xr.open_zarr(again), fitted)
    expected = xd.top_table(fitted)["feature"].tolist()
    assert pd.read_csv(tmp_path / "genes.csv")["feature"].tolist() == expected
    assert main(["test", counts, again, tested, "--contrast", "batch[T.batch2]"]) == 0
    same(xr.open_zarr(tested), xd.test(bulk, fitted, "batch[T.batch2]"))
    assert main(["residuals", counts, again, left]) == 0
    residuals = xr.open_zarr(left)["residual"]
    xr.testing.assert_equal(residuals.rename(cell="sample", feature="gene"), xd.residuals(bulk, fitted))
    assert main(["pseudobulk", counts, sums, "--by", "batch", *DIMS]) == 0
    same(xr.open_zarr(sums), xd.pseudobulk(bulk, "batch"))
    assert main(["filter-by-expression", counts, kept, "--design", "~ condition", *DIMS]) == 0
    same(xr.open_zarr(kept), bulk.isel(gene=xd.filter_by_expression(bulk, "~ condition").values))
    assert main(["rank-genes", counts, marks, "--by", "condition", *DIMS]) == 0
    same(xr.open_zarr(marks), xd.rank_genes(bulk, "condition"))
    assert main(["normalize", counts, logs, *DIMS]) == 0
    values = xr.open_zarr(logs)["log_cpm"]
    xr.testing.assert_equal(values.rename(cell="sample", feature="gene"), xd.normalize(bulk))


def test_a_fit_is_repeated_with_its_names(store, theirs, tmp_path, capsys):
    first, second = str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")
    command = ["fit", str(store), first, "--design", "~ batch + condition", *DIMS]
    assert main([*command, "--plan"]) == main(command) == 0
    assert main(["fit", second, "--from", first]) == 0
    xr.testing.assert_equal(xr.open_zarr(second).load(), xr.open_zarr(first).load())
    assert main(command) == 0
    assert "is complete already" in capsys.readouterr().err
    assert main(["fit", str(tmp_path / "c.zarr"), "--from", first, *DIMS]) == 2


def test_convert_gives_ours(store, bulk, tmp_path):
    assert main(["convert", str(store), str(tmp_path / "x.zarr"), *DIMS]) == 0
    xr.testing.assert_equal(xd.open_counts(tmp_path / "x.zarr")["counts"], bulk["counts"])


def test_a_report_has_the_page_of_the_same_fit_and_says_the_names(bulk, other, fitted, theirs, tmp_path):
    pytest.importorskip("matplotlib")
    texts = [
        xd.report(fit, tmp_path / f"{k}.html", data).read_text(encoding="utf-8")
        for k, (fit, data) in enumerate([(fitted, bulk), (theirs, other)])
    ]
    blocks = [
        re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S) for text in texts
    ]
    assert blocks[0] == blocks[1]
    assert "--sample cell --gene feature" in texts[1]
    assert "--sample" not in texts[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "'counts' needs the dimensions 'sample' and 'gene' and has ('cell', 'feature'); say what they are by "
         "sample='cell', gene='feature' (--sample cell --gene feature)"),
        (["--sample", "cells"], "sample='cells' is not a dimension of the data, whose dimensions are cell"),
        (["--sample", "cell", "--gene", "cell"], "sample and gene are both called 'cell'"),
    ],
)  # fmt: skip
def test_misuse_on_the_command_line(store, tmp_path, capsys, options, message):
    for command in (["fit", "--design", "~ condition"], ["convert"]):
        assert main([command[0], str(store), str(tmp_path / "x.zarr"), *command[1:], *options]) == 1
        assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_damaged_attribute(bulk):
    for value in ("[1]", '{"sample": 3}', '{"genes": "feature"}'):
        with pytest.raises(ValueError, match=r"the attribute 'dimensions' .*is damaged"):
            xd.fit(bulk.assign_attrs(dimensions=value), "~ condition")


def test_samples_named_by_several_levels():
    data = xd.simulate(8, 40, seed=3)
    levels = pd.MultiIndex.from_product([["d1", "d2"], range(4)], names=["donor", "replicate"])
    several = data.drop_vars("sample").assign_coords(xr.Coordinates.from_pandas_multiindex(levels, "sample"))
    design = "~ donor + condition"
    several["condition"] = ("sample", np.array(["A", "B"] * 4, dtype=object))
    data = data.assign(condition=several["condition"].variable, donor=("sample", ["d1"] * 4 + ["d2"] * 4))
    fit = xd.fit(several, design)
    assert fit["sample"].values[1] == "('d1', 1)"
    tested = xd.test(several, fit, "condition[T.B]")  # which knows the samples by the names the fit has
    np.testing.assert_array_equal(
        tested["pval"], xd.test(data, xd.fit(data, design), "condition[T.B]")["pval"]
    )
    assert xd.predict(several, fit).sizes["sample"] == 8
    with pytest.raises(ValueError, match="in another order than those of the fit"):
        xd.test(several[{"sample": slice(None, None, -1)}], fit)
