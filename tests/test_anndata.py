"""Results where scanpy, decoupler and pertpy look for them, compared with what they were made of."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr

import xdelnx as xd
from xdelnx.cli import main


@pytest.fixture(scope="module")
def cells():
    """Cells of three types and four donors."""
    ds = xd.simulate(60, 120, levels=("B", "NK", "T"), condition="kind", seed=4)
    return ds.assign(donor=("sample", np.resize(["d1", "d2", "d3", "d4"], 60)))


@pytest.fixture(scope="module")
def fitted(cells):
    return xd.fit(cells, "~ kind")


@pytest.fixture
def adata(cells):
    obs = pd.DataFrame({"kind": cells["kind"].values, "donor": cells["donor"].values}, cells["sample"].values)
    return anndata.AnnData(cells["counts"].values, obs, pd.DataFrame(index=cells["gene"].values))


def test_results_by_gene_and_contrast(fitted, adata):
    before = adata.copy()
    found = xd.to_anndata(fitted, adata)
    assert not adata.varm  # the input is as it was
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    for contrast in fitted["contrast"].values:
        table, expected = found.varm[f"xdelnx:{contrast}"], fitted.sel(contrast=contrast)
        for name in ("log2fc", "coef", "lfc_se", "stat", "pval", "padj"):
            np.testing.assert_array_equal(table[name], expected[name])
    np.testing.assert_array_equal(found.varm["xdelnx"]["dispersion"], fitted["dispersion"])
    zero = found.varm["xdelnx"]["status"] == "all_zero"
    np.testing.assert_array_equal(zero, np.isnan(fitted["mean"]))
    np.testing.assert_array_equal(found.obs["xdelnx_size_factor"], fitted["size_factor"])
    np.testing.assert_array_equal(found.obsm["xdelnx_design"], fitted["design"])


def test_into_the_input_if_that_is_asked(fitted, adata):
    assert xd.to_anndata(fitted, adata, key="a/b", copy=False) is adata
    assert {"a_b", "a_b:kind[T.NK]"} <= set(adata.varm)


def test_other_genes_and_samples(fitted, adata):
    """Genes go by name; samples that are others get nothing."""
    more = anndata.AnnData(np.zeros((2, 3)), var=pd.DataFrame(index=["g7", "unknown", "g2"]))
    found = xd.to_anndata(fitted, more)
    table = found.varm["xdelnx:kind[T.T]"]
    expected = fitted["coef"].sel(contrast="kind[T.T]", gene=["g7", "g2"]).values
    np.testing.assert_array_equal(table["coef"].iloc[[0, 2]], expected)
    assert table.iloc[1].isna().all()
    assert not found.obs.shape[1]
    assert not found.obsm


def test_h5ad_round_trip(fitted, adata, tmp_path):
    found = xd.to_anndata(fitted, adata)
    found.write_h5ad(tmp_path / "x.h5ad")
    again = anndata.read_h5ad(tmp_path / "x.h5ad")
    for name in found.varm:
        pd.testing.assert_frame_equal(again.varm[name], found.varm[name], check_names=False)
    assert again.uns["xdelnx"]["names"].dtype.names == tuple(fitted["contrast"].values)
    assert again.uns["xdelnx"]["attrs"]["design_formula"] == "~ kind"


def test_records_are_in_order(fitted):
    found = xd.to_anndata(fitted).uns["xdelnx"]
    contrast = "kind[T.NK]"
    order = xd.ranked(fitted, contrast)
    np.testing.assert_array_equal(found["names"][contrast][: len(order)], order["feature"])
    np.testing.assert_allclose(found["scores"][contrast][: len(order)], order["score"], rtol=1e-15)
    joint = found["scores"]["kind"]
    assert (np.diff(joint[np.isfinite(joint)]) <= 0).all()
    by_name = pd.Series(found["pvals_adj"][contrast], found["names"][contrast])
    expected = fitted["padj"].sel(contrast=contrast).to_series()
    pd.testing.assert_series_equal(
        by_name.loc[expected.index], expected, check_names=False, check_index_type=False
    )


def test_scanpy_reads_them(fitted, cells, adata, tmp_path):
    scanpy = pytest.importorskip("scanpy", reason="scanpy is not installed")
    table = scanpy.get.rank_genes_groups_df(xd.to_anndata(fitted), group="kind[T.NK]", key="xdelnx")
    expected = (
        fitted[["pval", "padj", "log2fc"]].sel(contrast="kind[T.NK]").to_dataframe().loc[table["names"]]
    )
    np.testing.assert_array_equal(table["pvals"], expected["pval"])
    np.testing.assert_array_equal(table["logfoldchanges"], expected["log2fc"])
    markers = xd.rank_genes(cells, "kind")
    found = xd.to_anndata(markers, adata)
    table = scanpy.get.rank_genes_groups_df(found, group=None, key="xdelnx").set_index(["group", "names"])
    share = table["pct_nz_group"].loc["T"]
    np.testing.assert_array_equal(share, markers["fraction"].sel(contrast="T", gene=share.index))
    scanpy.pl.rank_genes_groups(found, key="xdelnx", show=False)


def test_scanpy_agrees_on_marker_genes(cells, adata):
    """Wilcoxon scores of the same normalised values, with ties corrected, up to our correction for continuity."""
    scanpy = pytest.importorskip("scanpy", reason="scanpy is not installed")
    found = xd.to_anndata(xd.rank_genes(cells, "kind", size_factors="normed_sum"), adata)
    factors = xd.size_factors(cells).values
    adata.X = np.log1p(adata.X / factors[:, None])  # which it expects; ranks stay
    adata = adata[:, adata.X.sum(axis=0) > 0].copy()  # of others it divides 0 by 0
    scanpy.tl.rank_genes_groups(adata, "kind", method="wilcoxon", tie_correct=True, use_raw=False)
    theirs = scanpy.get.rank_genes_groups_df(adata, "T").set_index("names")["scores"]
    ours = scanpy.get.rank_genes_groups_df(found, "T", key="xdelnx").set_index("names")["scores"].dropna()
    # half a rank of continuity, over a standard deviation of 20 (most cells tied) to 80
    np.testing.assert_allclose(ours, theirs.loc[ours.index], atol=0.03, rtol=0)


def test_fits_of_groups(cells):
    found = xd.to_anndata(xd.fit(cells, "~ kind", by="donor", size_factors=None))
    assert "xdelnx:d2: kind[T.T]" in found.varm
    assert "d2: kind[T.T]" in found.uns["xdelnx"]["names"].dtype.names


def test_pseudobulk_round_trip(cells):
    sums = xd.pseudobulk(cells, ["kind", "donor"])
    found = xd.to_anndata(sums)
    assert list(found.obs) == ["n_cells", "kind", "donor"]
    again = xd.fit(found, "~ kind")
    np.testing.assert_array_equal(again["beta"], xd.fit(sums, "~ kind")["beta"])


def test_factor_levels_survive(adata):
    adata.obs["kind"] = pd.Categorical(adata.obs["kind"], ["T", "B", "NK"])
    found = xd.to_anndata(xd.pseudobulk(adata, ["kind", "donor"]))
    assert list(found.obs["kind"].cat.categories) == ["T", "B", "NK"]
    data = xd.from_anndata(adata)  # as xarray keeps a Categorical, too
    given = data.assign(kind=("sample", pd.Categorical(data["kind"].values, ["T", "B", "NK"])))
    assert list(xd.to_anndata(given).obs["kind"].cat.categories) == ["T", "B", "NK"]


def test_score_matrix(fitted):
    scores = xd.score_matrix(fitted)
    assert list(scores.index) == ["kind[T.NK]", "kind[T.T]"]  # not the joint test
    for contrast in scores.index:
        expected = xd.ranked(fitted, contrast).set_index("feature")["score"]
        pd.testing.assert_series_equal(
            scores.loc[contrast],
            expected.loc[scores.columns],
            check_names=False,
            check_index_type=False,
            rtol=1e-15,
        )
    changes = xd.score_matrix(fitted, by="log2fc").loc["kind[T.T]"]
    expected = fitted["log2fc"].sel(contrast="kind[T.T]", gene=changes.index)
    np.testing.assert_array_equal(changes, expected)


def test_ranks_have_their_own_sign(cells):
    markers = xd.rank_genes(cells, "kind")
    expected = markers["stat"].sel(contrast="T").to_series().dropna().sort_values(ascending=False)
    np.testing.assert_array_equal(xd.ranked(markers, "T")["score"], expected)


def test_to_pertpy(fitted):
    table = xd.to_pertpy(fitted)
    assert set(table) == {"variable", "log_fc", "p_value", "adj_p_value", "stat", "contrast"}
    one = table[table["contrast"] == "kind[T.T]"].set_index("variable")
    expected = fitted[["pval", "padj", "log2fc"]].sel(contrast="kind[T.T]").to_dataframe().loc[one.index]
    np.testing.assert_array_equal(one["adj_p_value"], expected["padj"])
    assert one["p_value"].dropna().is_monotonic_increasing


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda fit, a: xd.to_anndata(3),
            TypeError,
            "result is a Dataset that xdelnx returned, received int",
        ),
        (lambda fit, a: xd.to_anndata(fit, {}), TypeError, "adata is an AnnData, received dict"),
        (lambda fit, a: xd.to_anndata(fit[["size_factor"]]), ValueError, "neither tests nor counts"),
        (lambda fit, a: xd.to_anndata(fit, a[:, :0].copy()), ValueError, "adata has none of the genes"),
        (lambda fit, a: xd.to_anndata(xd.pseudobulk(a, "kind"), a), ValueError, "AnnData of their own"),
        (lambda fit, a: xd.to_pertpy(fit[["beta"]]), ValueError, "the result has no tests"),
        (lambda fit, a: xd.score_matrix(fit, by="stats"), ValueError, "did you mean 'stat'"),
        (
            lambda fit, a: xd.score_matrix(fit.sel(contrast=["kind"])),
            ValueError,
            "joint tests have no direct",
        ),
    ],
)
def test_misuse(fitted, adata, call, kind, message):
    with pytest.raises(kind, match=message):
        call(fitted, adata)


# ---- AnnData and paths of it in the place of a Dataset -------------------------------------------------------


def ways(adata, folder):
    """The same counts: dense, sparse, in a layer beside other values in X, in files of both kinds."""
    sparse = adata.copy()
    sparse.X = sp.csr_matrix(adata.X)
    layered = anndata.AnnData(np.log1p(adata.X), adata.obs, adata.var, layers={"counts": sparse.X})
    layered.layers["raw"] = layered.layers["counts"]
    yield adata, "counts"
    yield sparse, "X"
    yield layered, "raw"
    layered.write_h5ad(folder / "a.h5ad")
    yield folder / "a.h5ad", "counts"
    yield str(folder / "a.h5ad"), "raw"
    sparse.write_zarr(folder / "a.zarr")
    yield folder / "a.zarr", "counts"
    xd.convert(adata, folder / "own.zarr")
    yield folder / "own.zarr", "counts"


@pytest.mark.filterwarnings("ignore:.*[Zz]arr.*format")  # AnnData writes the second
def test_every_verb_takes_them(cells, fitted, adata, tmp_path):
    kept = xd.filter_by_expression(cells, "~ kind")
    sums = xd.pseudobulk(cells, ["kind", "donor"])
    markers, values = xd.rank_genes(cells, "kind"), xd.normalize(cells)
    tested = xd.test(cells, fitted, "kind[T.T] - kind[T.NK]")
    left, means = xd.residuals(cells, fitted), xd.predict(cells, fitted)
    for data, counts in ways(adata, tmp_path):
        fit = xd.fit(data, "~ kind", counts=counts)
        xr.testing.assert_equal(fit.drop_vars("kind", errors="ignore"), fitted)
        again = xd.test(data, fit, "kind[T.T] - kind[T.NK]")
        np.testing.assert_array_equal(again["pval"], tested["pval"])
        np.testing.assert_array_equal(xd.residuals(data, fit), left)
        np.testing.assert_array_equal(xd.predict(data, fit)["prediction_se"], means["prediction_se"])
        assert xd.goodness_of_fit(data, fit).sizes == {"gene": 120}
        assert xd.covariance(data, fit, "g7").sizes["gene"] == 1
        np.testing.assert_array_equal(xd.filter_by_expression(data, "~ kind", counts=counts), kept)
        np.testing.assert_array_equal(xd.size_factors(data, counts=counts), fitted["size_factor"])
        np.testing.assert_array_equal(xd.rank_genes(data, "kind", counts=counts)["stat"], markers["stat"])
        np.testing.assert_array_equal(xd.normalize(data, counts=counts), values)
        found = xd.pseudobulk(data, ["kind", "donor"], counts=counts)
        np.testing.assert_array_equal(found[counts], sums["counts"])


def test_from_the_command_line(cells, fitted, adata, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layered = anndata.AnnData(np.log1p(adata.X), adata.obs, adata.var)
    layered.layers["raw"] = sp.csr_matrix(adata.X)
    layered.write_h5ad("cells.h5ad")
    raw = ["--counts", "raw"]
    assert main(["fit", "cells.h5ad", "fit.zarr", "--design", "~ kind", *raw]) == 0
    assert main(["test", "cells.h5ad", "fit.zarr", "test.zarr", "--contrast", "kind[T.T]"]) == 0
    result = xr.open_zarr("test.zarr")
    expected = xd.test(cells, fitted, "kind[T.T]")
    np.testing.assert_array_equal(result["pval"], expected["pval"])
    assert main(["pseudobulk", "cells.h5ad", "sums.zarr", "--by", "kind", "--by", "donor", *raw]) == 0
    assert main(["rank-genes", "cells.h5ad", "m.zarr", "--by", "kind", *raw]) == 0
    assert main(["normalize", "cells.h5ad", "n.zarr", *raw]) == 0
    assert main(["filter-by-expression", "cells.h5ad", "kept.zarr", "--design", "~ kind", *raw]) == 0
    keep = xd.filter_by_expression(cells, "~ kind").values
    np.testing.assert_array_equal(xr.open_zarr("kept.zarr")["raw"], cells["counts"][:, keep])


def test_layers_that_are_not_there(adata, tmp_path, capsys):
    with pytest.raises(ValueError, match="has no layer 'raw'; it has none"):
        xd.fit(adata, "~ kind", counts="raw")
    adata.layers["kind"] = adata.X
    with pytest.raises(ValueError, match="names a layer, and obs or var has a column of that name"):
        xd.fit(adata, "~ kind", counts="kind")
    adata.write_h5ad(tmp_path / "a.h5ad")
    arguments = ["fit", str(tmp_path / "a.h5ad"), str(tmp_path / "f.zarr"), "--design", "~ kind"]
    assert main([*arguments, "--counts", "raw"]) == 1
    assert "error: the AnnData has no layer 'raw'; it has kind" in capsys.readouterr().err


def test_read_lazily(adata, fitted, tmp_path):
    adata.X = sp.csr_matrix(adata.X)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad") as file:
        lazy = anndata.experimental.read_lazy(file)
        result = xd.fit(lazy, "~ kind")
    np.testing.assert_array_equal(result["pval"], fitted["pval"])
