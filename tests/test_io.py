"""Counts in and out: every way in gives the same counts, and nothing half-written stays behind."""

import gzip
import os

import anndata as ad
import dask
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr

from xdelnx import XdelnxWarning
from xdelnx.schema import VARIABLES, annotate
from xdelnx.storage.conversion import convert
from xdelnx.storage.io import from_anndata, open_counts, open_result, write_store, zarr_safe
from xdelnx.storage.outputs import replacing
from xdelnx.storage.stores import gene_chunk
from xdelnx.verbs.simulation import simulate

N, G = 30, 70


def raising(*args, **kwargs):
    msg = "computed too early"
    raise AssertionError(msg)


@pytest.fixture
def counts():
    rng = np.random.default_rng(1)
    return rng.negative_binomial(0.3, 0.1, (N, G))


@pytest.fixture
def adata(counts):
    obs = pd.DataFrame(
        {
            "condition": pd.Categorical(
                np.repeat(["stim", "ctrl"], N // 2), categories=["stim", "ctrl", "other"]
            ),
            "donor": ["d1", "d2"] * (N // 2),
            "age": np.arange(N) * 1.5,
            "ko": np.arange(N) % 3 == 0,
            "batch": pd.array([1, None] * (N // 2), dtype="Int64"),
            "n": pd.array([1, 2] * (N // 2), dtype="Int64"),
            "flag": pd.array([True, None] * (N // 2), dtype="boolean"),
            "partly": pd.Categorical([None, *["u"] * (N - 1)]),
        },
        index=[f"cell{i}" for i in range(N)],
    )
    var = pd.DataFrame({"symbol": [f"S{i}" for i in range(G)]}, index=[f"gene{i}" for i in range(G)])
    return ad.AnnData(counts.astype(np.float32), obs=obs, var=var, layers={"raw": sp.csr_matrix(counts)})


# ---------------------------------------------------------------- from_anndata

FORMS = {
    "dense": lambda x: x.astype(np.float32),
    "fortran": np.asfortranarray,
    "csr": sp.csr_matrix,
    "csc": sp.csc_matrix,
    "csr_array": sp.csr_array,
    "dask": lambda x: dask.array.from_array(x, chunks=(7, 11)),
    "dask_csr": lambda x: dask.array.from_array(x, chunks=(7, -1)).map_blocks(sp.csr_matrix),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layer", [None, "other"])
def test_every_matrix_gives_the_same_counts(adata, counts, form, layer):
    matrix = FORMS[form](counts)
    if layer is None:
        adata.X = matrix
    else:
        adata.layers["other"] = matrix
    with dask.config.set(scheduler=raising):
        ds = from_anndata(adata, layer=layer)
    np.testing.assert_array_equal(ds["counts"].values, counts)
    assert ds["counts"].dims == ("sample", "gene")
    if form not in ("dense", "fortran"):
        assert ds["counts"].chunks[0] == (N,)
        assert len(ds["counts"].chunks[1]) > 1


def test_sparse_blocks_share_memory(adata):
    ds = from_anndata(adata, layer="raw")
    assert ds["counts"].dtype == adata.layers["raw"].dtype


def test_columns_are_kept(adata):
    ds = from_anndata(adata)
    assert ds["condition"].attrs["categories"] == ["stim", "ctrl", "other"]
    assert list(ds["condition"].values) == list(adata.obs["condition"])
    assert ds["ko"].dtype == bool
    assert ds["age"].dtype == float
    assert ds["n"].dtype == np.int64
    assert ds["batch"].dtype == float
    assert int(np.isnan(ds["batch"]).sum()) == N // 2
    assert list(ds["flag"].values[:1]) == ["True"]
    assert pd.isna(ds["flag"].values[1])
    assert pd.isna(ds["partly"].values[0])
    assert list(ds["symbol"].values) == list(adata.var["symbol"])
    assert ds["symbol"].dims == ("gene",)
    assert list(ds["sample"].values) == list(adata.obs_names)
    assert list(ds["gene"].values) == list(adata.var_names)


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize("layer", [None, "raw"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_files(adata, counts, tmp_path, suffix, layer):
    path = tmp_path / f"a.{suffix}"
    (adata.write_h5ad if suffix == "h5ad" else adata.write_zarr)(path)
    ds = from_anndata(path, layer=layer)
    np.testing.assert_array_equal(ds["counts"].values, counts)
    assert ds["condition"].attrs["categories"] == ["stim", "ctrl", "other"]


def test_dense_file_is_read_block_by_block_also_by_processes(adata, counts, tmp_path):
    path = tmp_path / "a.h5ad"
    adata.write_h5ad(path)
    with dask.config.set(scheduler=raising):
        ds = from_anndata(path)
    np.testing.assert_array_equal(
        ds["counts"].isel(gene=slice(3, 9)).compute(scheduler="processes"), counts[:, 3:9]
    )


MATRICES = {"dense": np.asarray, "csc": sp.csc_matrix, "csr": sp.csr_matrix}


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_of_a_path_only_the_blocks_that_are_computed_are_read(adata, counts, tmp_path, suffix, kind):
    """But for counts stored by cell, which are read at once: without the file they are still there."""
    path = tmp_path / f"a.{suffix}"
    adata.layers["raw"] = MATRICES[kind](counts)
    (adata.write_h5ad if suffix == "h5ad" else adata.write_zarr)(path)
    with dask.config.set(scheduler=raising):
        ds = from_anndata(path, layer="raw")
    assert ds["counts"].data.numblocks[1] > 1
    np.testing.assert_array_equal(ds["counts"].isel(gene=slice(40, 61)), counts[:, 40:61])
    path.rename(tmp_path / "elsewhere")
    if kind == "csr":
        np.testing.assert_array_equal(ds["counts"], counts)
    else:
        with pytest.raises(FileNotFoundError):
            ds["counts"].compute()


def test_nothing_but_the_chosen_matrix_is_read(adata, counts, tmp_path):
    adata.layers["other"] = sp.csr_matrix(counts)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        del file["X"], file["layers/other/data"], file["obsm"]
    np.testing.assert_array_equal(from_anndata(tmp_path / "a.h5ad", layer="raw")["counts"], counts)
    with pytest.raises(ValueError, match=r"a.h5ad: layers/other is damaged: it has no data"):
        from_anndata(tmp_path / "a.h5ad", layer="other")


@pytest.mark.parametrize("kind", ["csc", "csr"])
def test_a_count_outside_of_the_matrix(adata, counts, tmp_path, kind):
    adata.layers["raw"] = MATRICES[kind](counts)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        file["layers/raw/indices"][5] = 1000
    with pytest.raises(
        ValueError, match=r"layers/raw.* is damaged: it has a count at 1,000, and there are places"
    ):
        from_anndata(tmp_path / "a.h5ad", layer="raw")["counts"].compute()


def test_backed_lazy_and_views(adata, counts, tmp_path):
    path = tmp_path / "a.h5ad"
    adata.X = sp.csr_matrix(adata.X)
    adata.write_h5ad(path)
    backed = ad.read_h5ad(path, backed="r")
    np.testing.assert_array_equal(from_anndata(backed)["counts"], counts)
    np.testing.assert_array_equal(from_anndata(backed[:5, 3:8])["counts"], counts[:5, 3:8])
    backed.file.close()
    np.testing.assert_array_equal(from_anndata(adata[5:9])["counts"], counts[5:9])
    lazy = from_anndata(ad.experimental.read_lazy(path))
    np.testing.assert_array_equal(lazy["counts"], counts)
    assert lazy["condition"].attrs["categories"] == ["stim", "ctrl"]  # read_lazy itself drops unused levels


def test_column_names_that_cannot_stay(adata):
    adata.obs["sample"] = "s"
    adata.var["age"] = 1.0
    adata.obs["a/b"] = 1
    lazy = adata.copy()
    lazy.X = dask.array.from_array(adata.X)
    for source in (adata, lazy):
        with pytest.warns(XdelnxWarning) as caught:
            ds = from_anndata(source)
        assert {"sample_sample", "gene_age", "a_b"} <= set(ds.data_vars)
        (warning,) = caught  # one for all columns, at the line that asked
        assert warning.filename == __file__
        assert str(warning.message) == (
            "the sample column 'sample' is called 'sample_sample' here; "
            "the sample column 'a/b' is called 'a_b' here; the gene column 'age' is called 'gene_age' here"
        )


def _duplicate_genes(adata):
    adata.var.index = ["x"] * G
    return adata


@pytest.mark.parametrize(
    ("change", "layer", "error", "message"),
    [
        (lambda a: a, "nope", ValueError, "no layer 'nope'; it has raw"),
        (
            lambda a: ad.AnnData(obs=a.obs, layers={"raw": a.layers["raw"]}),
            None,
            ValueError,
            "no X; pass layer=, one of raw",
        ),
        (lambda a: a.to_df(), None, TypeError, "takes an AnnData or the path of one; received DataFrame"),
        (lambda a: a[:, []], None, ValueError, "there are no genes"),
        (lambda a: a[[]], None, ValueError, "there are no samples"),
        (lambda a: "absent.h5ad", None, FileNotFoundError, "nothing at absent.h5ad"),
        (_duplicate_genes, None, ValueError, r"duplicate gene names: x; give each gene a name of its own"),
    ],
)
@pytest.mark.filterwarnings("ignore:Variable names are not unique:UserWarning")
def test_bad_anndata(adata, change, layer, error, message):
    with pytest.raises(error, match=message):
        from_anndata(change(adata), layer=layer)


# ---------------------------------------------------------------- stores


def test_round_trip_of_a_store(tmp_path):
    ds = simulate(8, 300, condition="GLI3_KO", levels=(False, True), n_batches=2, covariate="age")
    write_store(ds, tmp_path / "x.zarr")
    with dask.config.set(scheduler=raising):
        back = open_counts(tmp_path / "x.zarr")
    xr.testing.assert_identical(back.load(), ds)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "x.zarr").load(), ds)
    assert os.listdir(tmp_path) == ["x.zarr"]


def test_open_counts_is_lazy_and_in_whole_chunks(tmp_path):
    ds = simulate(10, 1600)
    write_store(ds, tmp_path / "x.zarr")
    back = open_counts(tmp_path / "x.zarr")
    assert back["counts"].chunks == ((10,), (100,) * 16)
    small = ds.drop_encoding()
    small["counts"] = small["counts"].chunk({"sample": 5, "gene": 30})
    small.to_zarr(tmp_path / "y.zarr", consolidated=False)
    back = open_counts(str(tmp_path / "y.zarr"))
    assert back["counts"].chunks[0] == (10,)
    assert set(back["counts"].chunks[1][:-1]) == {90}  # three stored chunks of 30, at most 100 genes
    xr.testing.assert_equal(back, ds)


def test_zeros_of_format_2_are_counts(tmp_path):
    """That format has no attribute for missing values, so that xarray takes the fill value for them."""
    data = simulate(6, 40, seed=1)
    data.drop_encoding().to_zarr(tmp_path / "x.zarr", zarr_format=2, encoding={"counts": {"_FillValue": 0}})
    assert np.isnan(xr.open_zarr(tmp_path / "x.zarr")["counts"].values).any()
    back = open_counts(tmp_path / "x.zarr")
    assert back["counts"].dtype == data["counts"].dtype
    np.testing.assert_array_equal(back["counts"].values, data["counts"].values)


def test_gene_chunk():
    assert gene_chunk(28, 16_199, "i4") == 1013  # 16 chunks of a small data set
    assert gene_chunk(100_000, 20_000, "u2") == 80  # 16 MB
    assert gene_chunk(10**9, 5, "i8") == 1
    assert gene_chunk(5, 0, "i8") == 1


def test_transposed_and_other_names(tmp_path):
    ds = simulate(6, 40).rename(counts="umis").transpose("gene", "sample")
    write_store(ds, tmp_path / "x.zarr")
    back = open_counts(tmp_path / "x.zarr", counts="umis")
    assert back["umis"].dims == ("sample", "gene")
    xr.testing.assert_equal(back, ds.transpose("sample", "gene"))


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_what_is_not_a_store_of_counts(tmp_path, adata):
    adata.write_zarr(tmp_path / "a.zarr")
    adata.write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("x")
    write_store(simulate(4, 10).rename(gene="feature"), tmp_path / "dims.zarr")
    table = [
        ("absent.zarr", FileNotFoundError, "nothing at"),
        ("folder", ValueError, "is not a Zarr store"),
        ("file.txt", ValueError, "is a file, .* become one by `xdelnx convert .*file.txt counts.zarr`"),
        ("a.zarr", ValueError, "is an AnnData store; read it with xdelnx.from_anndata.*xdelnx convert"),
        ("a.h5ad", ValueError, "is an AnnData file; read it with xdelnx.from_anndata.*xdelnx convert"),
        (
            "dims.zarr",
            ValueError,
            r"has \('sample', 'feature'\); say what they are by gene='feature'.* \.rename\({'feature': 'gene'}\)",
        ),
    ]
    for name, error, message in table:
        with pytest.raises(error, match=message):
            open_counts(tmp_path / name)
    with pytest.raises(ValueError, match="no variable 'umis'; variables: base_mean, condition, counts"):
        open_counts(tmp_path / "dims.zarr", counts="umis")


def test_existing_outputs_stay(tmp_path):
    first, second = simulate(4, 10, seed=1), simulate(4, 10, seed=2)
    store = tmp_path / "x.zarr"
    write_store(first, store)
    with pytest.raises(FileExistsError, match="exists already; choose another name, or overwrite"):
        write_store(second, store)
    xr.testing.assert_identical(open_counts(store).load(), first)
    write_store(second, store, overwrite=True)
    xr.testing.assert_identical(open_counts(store).load(), second)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="not a Zarr store, so it is not overwritten"):
        write_store(second, tmp_path / "precious", overwrite=True)
    (tmp_path / "thesis.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="is a file and not a Zarr store, so it is not overwritten"):
            write_store(second, tmp_path / "thesis.txt", overwrite=overwrite)
        with pytest.raises(FileExistsError, match=r"cannot be made: .*thesis.txt is a file, not a folder"):
            write_store(second, tmp_path / "thesis.txt" / "x.zarr", overwrite=overwrite)
        with (
            pytest.raises(
                FileExistsError, match=r"x\.zarr is a folder and a table is a file; choose another"
            ),
            replacing(store, overwrite=overwrite, table=True),
        ):
            pass
    assert sorted(os.listdir(tmp_path)) == ["precious", "thesis.txt", "x.zarr"]
    assert (tmp_path / "thesis.txt").read_text() == "x"


def test_an_input_is_no_output(adata, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adata.write_h5ad("a.h5ad")
    os.symlink("a.h5ad", "link.zarr")
    _table().to_csv("c.csv")
    before = {name: (tmp_path / name).read_bytes() for name in ("a.h5ad", "c.csv")}
    same = "is also an input or another output"
    table = [
        ("a.h5ad", "a.h5ad", {}, f"^the output a.h5ad {same}; choose another name$"),
        ("a.h5ad", "link.zarr", {}, rf"the output link.zarr {same} \(a.h5ad\); choose another name"),
        (
            "a.h5ad",
            "a.h5ad/x.zarr",
            {},
            "lies inside a.h5ad, an input or another output; choose another place",
        ),
        ("a.h5ad", str(tmp_path), {}, "contains a.h5ad, an input or another output; choose another name"),
        ("c.csv", "c.csv", {}, same),
        (_table(), "c.csv", {"samples": "c.csv"}, same),
        (ad.read_h5ad("a.h5ad", backed="r"), "a.h5ad", {}, same),
    ]
    for source, store, options, message in table:
        with pytest.raises(ValueError, match=message):
            convert(source, store, overwrite=True, **options)
    table[-1][0].file.close()
    assert before == {name: (tmp_path / name).read_bytes() for name in before}
    assert sorted(os.listdir()) == ["a.h5ad", "c.csv", "link.zarr"]


def test_a_store_can_replace_the_one_it_is_read_from(tmp_path):
    ds = simulate(4, 100)
    write_store(ds, tmp_path / "x.zarr")
    lazy = open_counts(tmp_path / "x.zarr")
    lazy["counts"] = lazy["counts"] + 1
    write_store(lazy, tmp_path / "x.zarr", overwrite=True)
    xr.testing.assert_equal(open_counts(tmp_path / "x.zarr")["counts"], ds["counts"] + 1)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.zarr").symlink_to(tmp_path / "real.zarr")
    write_store(simulate(4, 10), tmp_path / "link.zarr")
    write_store(simulate(4, 10, seed=1), tmp_path / "link.zarr", overwrite=True)
    assert (tmp_path / "link.zarr").is_symlink()
    assert (tmp_path / "real.zarr" / "zarr.json").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_leaves_nothing_behind(tmp_path, overwrite):
    ds = simulate(4, 200, chunks=20)
    if overwrite:
        write_store(ds, tmp_path / "x.zarr")
    broken = ds.copy()
    broken["counts"] = ds["counts"].copy(data=ds["counts"].data.map_blocks(_fail_on_the_last, dtype=np.int32))
    with pytest.raises(OSError, match="disk on fire"):
        write_store(broken, tmp_path / "x.zarr", overwrite=overwrite)
    assert os.listdir(tmp_path) == (["x.zarr"] if overwrite else [])
    if overwrite:
        xr.testing.assert_equal(open_counts(tmp_path / "x.zarr"), ds)


def _fail_on_the_last(block, block_info=None):
    if block_info and block_info[0]["chunk-location"][1] == 9:
        msg = "disk on fire"
        raise OSError(msg)
    return block


def test_outputs_at_urls():
    """In memory here; of an object store in test_remote."""
    ds = simulate(4, 10)
    write_store(ds, "memory://lab/x.zarr")
    xr.testing.assert_equal(open_counts("memory://lab/x.zarr").load(), ds)
    with pytest.raises(FileExistsError, match="exists already"):
        write_store(ds, "memory://lab/x.zarr")
    write_store(ds.isel(gene=slice(5)), "memory://lab/x.zarr", overwrite=True)
    assert open_counts("memory://lab/x.zarr").sizes["gene"] == 5
    with pytest.raises(FileExistsError, match="is a folder but not a Zarr store"):
        write_store(ds, "memory://lab", overwrite=True)


def test_replacing_a_file(tmp_path):
    path = tmp_path / "t.csv"
    with replacing(path, table=True) as partial:
        partial.write_text("a")
    with pytest.raises(FileExistsError), replacing(path, table=True):
        pass
    with pytest.raises(KeyboardInterrupt):
        _interrupted(path)
    assert path.read_text() == "a"
    assert os.listdir(tmp_path) == ["t.csv"]


def _interrupted(path):
    with replacing(path, overwrite=True, table=True) as partial:
        partial.write_text("b")
        raise KeyboardInterrupt


def _strings(*values, dtype=object):
    return xr.Dataset({"v": ("gene", np.array(values, dtype=dtype), {"note": "kept"})})


@pytest.mark.parametrize(
    "dataset",
    [
        _strings("a", "b", dtype="U5"),
        _strings("a", "b", dtype=np.dtypes.StringDType()),
        _strings("a", "", "NA"),
        _strings("a", None, np.nan),
        _strings("a", None, "", "NA"),
        _strings("a", np.nan, dtype=np.dtypes.StringDType(na_object=np.nan)),
        _strings(dtype=object),
        xr.Dataset({"v": ("gene", pd.Categorical(["a", None, "b"]))}),
        xr.Dataset({"v": ("gene", pd.array(["a", None], dtype="string"))}),
        xr.Dataset(coords={"gene": np.array(["a", "b"])}),
        xr.Dataset({"v": ("contrast", np.array(["a"]))}, coords={"contrast": ["a"]}),
        xr.Dataset({"v": ((), "text")}),
        xr.Dataset({"v": ("gene", [True, False])}),
    ],
)
def test_strings_survive_zarr(dataset, tmp_path):
    path = tmp_path / "x.zarr"
    write_store(dataset, path)
    back = xr.open_zarr(path).load()
    write_store(back, path, overwrite=True)  # what was read can be written again
    again = xr.open_zarr(path).load()
    for name in dataset.variables:
        before = np.asarray(dataset[name].values, dtype=object)
        for after in (back, again):
            np.testing.assert_array_equal(pd.isna(after[name].values), pd.isna(before))
            there = ~pd.isna(before)
            assert np.all(np.asarray(after[name].values, dtype=object)[there] == before[there])
            levels = getattr(dataset[name].dtype, "categories", None)
            known = {} if levels is None else {"categories": [*levels]}
            assert after[name].attrs == dataset[name].attrs | known


def test_zarr_safe_makes_plain_to_zarr_silent(tmp_path):
    ds = xr.Dataset({"v": ("gene", np.array(["a", "b"]))}, coords={"gene": np.array(["x", "y"])})
    safe = zarr_safe(ds)
    safe.to_zarr(tmp_path / "x.zarr", consolidated=False)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "x.zarr", consolidated=False).load(), safe)
    xr.testing.assert_equal(safe, ds)


# ---------------------------------------------------------------- convert


def test_convert_h5ad(adata, counts, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    for layer in (None, "raw"):
        ds = convert(tmp_path / "a.h5ad", tmp_path / f"{layer}.zarr", layer=layer)
        np.testing.assert_array_equal(ds["counts"], counts)
        assert ds["counts"].dtype == np.uint8
        assert ds["condition"].attrs["categories"] == ["stim", "ctrl", "other"]
        assert pd.isna(ds["partly"].values[0])
        assert ds["counts"].chunks[0] == (N,)


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(255, "uint8"), (256, "uint16"), (65_535, "uint16"), (65_536, "uint32"), (2**32, "uint64")],
)
def test_integer_type_is_chosen_by_the_data(adata, tmp_path, largest, dtype):
    X = np.zeros((N, G))
    X[3, 4] = largest
    adata.X = X
    ds = convert(adata, tmp_path / "x.zarr")
    assert ds["counts"].dtype == dtype
    np.testing.assert_array_equal(ds["counts"], X)


def test_fractional_counts_keep_their_type(adata, tmp_path):
    adata.X = np.full((N, G), 40.25, dtype=np.float32) + np.arange(N, dtype=np.float32)[:, None]
    ds = convert(adata, tmp_path / "x.zarr")
    assert ds["counts"].dtype == np.float32
    np.testing.assert_array_equal(ds["counts"], adata.X)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".txt.gz"])
def test_convert_table(counts, tmp_path, suffix):
    separator = "," if "csv" in suffix else "\t"
    genes = pd.DataFrame(counts.T, index=[f"g{i}" for i in range(G)], columns=[f"s{i}" for i in range(N)])
    obs = pd.DataFrame({"ko": np.arange(N) % 2 == 0, "who": "me"}, index=genes.columns).iloc[::-1]
    opener = gzip.open if suffix.endswith("gz") else open
    with opener(tmp_path / f"c{suffix}", "wt") as file:
        genes.to_csv(file, sep=separator)
    with opener(tmp_path / f"o{suffix}", "wt") as file:
        obs.to_csv(file, sep=separator)
    ds = convert(tmp_path / f"c{suffix}", tmp_path / "x.zarr", samples=tmp_path / f"o{suffix}")
    np.testing.assert_array_equal(ds["counts"], counts)
    np.testing.assert_array_equal(ds["ko"], np.arange(N) % 2 == 0)
    assert list(ds["gene"].values) == list(genes.index)
    assert list(ds["who"].values) == ["me"] * N
    frame = convert(genes, tmp_path / "y.zarr")
    np.testing.assert_array_equal(frame["counts"], counts)


def test_samples_without_counts_are_named(counts, tmp_path):
    genes = pd.DataFrame(counts.T, columns=[f"s{i}" for i in range(N)])
    obs = pd.DataFrame({"x": range(N + 1)}, index=[f"s{i}" for i in range(N + 1)])
    with pytest.warns(XdelnxWarning, match=r"left out, having no counts: 1 sample \(s30\)") as caught:
        ds = convert(genes, tmp_path / "x.zarr", samples=obs)
    assert caught[0].filename == __file__
    assert ds.sizes["sample"] == N


def _written(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("above_the_names", ["", "gene", None])
def test_names_in_tables_stay_as_they_are_written(tmp_path, above_the_names):
    """None: R's write.table puts no name above those of the rows."""
    first = "" if above_the_names is None else f"{above_the_names},"
    table = _written(tmp_path / "c.csv", f"{first}000,001,NA,1e2\n0.10,1,2,3,4\nNA,5,6,7,8\n007,9,10,11,12\n")
    about = (
        f"{first}treatment,dose,ko,depth\n"
        "001,None,0.50,True,1\n1e2,null,NA,False,2\nNA,NA,2,True,3\n000,,1,False,4\n"
    )
    ds = convert(table, tmp_path / "x.zarr", samples=_written(tmp_path / "o.csv", about))
    assert list(ds["gene"].values) == ["0.10", "NA", "007"]
    assert list(ds["sample"].values) == ["000", "001", "NA", "1e2"]
    np.testing.assert_array_equal(ds["counts"], np.arange(1, 13).reshape(3, 4).T)
    treatment = list(ds["treatment"].values)
    assert treatment[1::2] == ["None", "null"]
    assert pd.isna(treatment[::2]).all()
    np.testing.assert_array_equal(ds["dose"], [1.0, 0.5, 2.0, np.nan])
    assert ds["ko"].values.tolist() == [False, True, True, False]
    assert ds["depth"].dtype.kind == "i"


@pytest.mark.parametrize(
    ("counts", "samples", "message"),
    [
        (",s1,s1\ng,1,2\n", None, "duplicate sample names: s1; give each sample a name of its own"),
        ("s1,s1\ng,1,2\n", None, "duplicate sample names: s1"),
        (",s1,s2\ng,1,2\ng,3,4\n", None, "duplicate gene names: g"),
        (",s1,s2\ng,1,2\n", ",a\ns1,1\ns1,1\ns2,3\n", "duplicate sample names: s1"),
        (",s1,s2\ng,1,2\n", ",a,a\ns1,1,2\ns2,3,4\n", "several columns of one name: a; rename them"),
        (",s1,s2\ng,1,NA\nh,NaN,\n", None, r"NaN or infinite counts: 3, in 2 genes \(g, h\)"),
        (
            ",s1,s2\ng,1,None\n",
            None,
            "columns of the table of counts are not numbers: s2 \\('None' of g\\); leave",
        ),
        ("", None, "c.csv is empty; a table has a header, and a row for each gene or sample"),
        (",s1,s2\n", None, "there are no genes"),
        (",s1\ng,1,2,3\n", None, "c.csv has more fields in a row than names in its header; give each column"),
        ("gene\ng\n", None, "has one column; a table of counts has"),
    ],
)
def test_bad_tables(tmp_path, counts, samples, message):
    table = _written(tmp_path / "c.csv", counts)
    about = None if samples is None else _written(tmp_path / "o.csv", samples)
    with pytest.raises(ValueError, match=message):
        convert(table, tmp_path / "x.zarr", samples=about)
    assert not (tmp_path / "x.zarr").exists()


def _table(**columns):
    return pd.DataFrame({"s0": [1, 2], "s1": [3, 4]} | columns, index=["g0", "g1"])


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (
            _table(s2=[1, -1]),
            {},
            ValueError,
            r"negative counts: 1, in 1 gene \(g1\); pass raw counts",
        ),
        (_table(s2=[1, np.nan]), {}, ValueError, r"NaN or infinite counts: 1, in 1 gene \(g1\)"),
        (_table().mul(0), {}, ValueError, "every count of the 2 genes is zero"),
        (
            _table(s2=[np.inf, np.nan]),
            {},
            ValueError,
            r"NaN or infinite counts: 2, in 2 genes \(g0, g1\)",
        ),
        (
            _table(symbol=["a", "b"]),
            {},
            ValueError,
            "columns of the table of counts are not numbers: symbol \\('a' of g0\\); leave",
        ),
        (
            _table(),
            {"samples": pd.DataFrame({"x": [1]}, index=["s1"])},
            ValueError,
            "1 of the 2 samples in the table of counts are not in the table of samples: s0; it has s1",
        ),
        (
            _table().T,
            {"samples": pd.DataFrame({"x": [1, 2]}, index=["s0", "s1"])},
            ValueError,
            "has its samples in rows; transpose it",
        ),
        (_table().set_axis(["g", "g"]), {}, ValueError, "duplicate gene names: g; give"),
        (_table().iloc[:0], {}, ValueError, "no genes"),
        (_table()[[]], {}, ValueError, "no samples"),
        ("absent.csv", {}, FileNotFoundError, "nothing at absent.csv"),
        ("absent.h5ad", {}, FileNotFoundError, "nothing at absent.h5ad"),
        (__file__, {}, ValueError, "cannot convert .*; known are AnnData"),
        (ad.AnnData(np.ones((2, 2))), {"samples": _table()}, ValueError, "samples= is for tables"),
        (
            _table(),
            {"layer": "raw"},
            ValueError,
            "layer='raw' names a layer of an AnnData; a table of counts has",
        ),
        (42, {}, TypeError, "received int"),
    ],
)
def test_bad_conversions_leave_nothing(tmp_path, source, options, error, message):
    with pytest.raises(error, match=message):
        convert(source, tmp_path / "x.zarr", **options)
    assert os.listdir(tmp_path) == []


def test_convert_refuses_an_existing_store_before_reading(tmp_path):
    convert(_table(), tmp_path / "x.zarr")
    with pytest.raises(FileExistsError):
        convert("absent.csv", tmp_path / "x.zarr")
    convert(_table(s2=[5, 6]), tmp_path / "x.zarr", overwrite=True)
    assert open_counts(tmp_path / "x.zarr").sizes["sample"] == 3


# ---------------------------------------------------------------- results


def test_every_variable_of_the_schema_round_trips(tmp_path):
    """A result with every variable of the schema, NaN and infinities among them, comes back identical."""
    sizes = {
        "sample": 3,
        "gene": 4,
        "coefficient": 2,
        "coefficient2": 2,
        "component": 3,
        "contrast": 1,
        "restriction": 2,
        "group": 2,
    }
    rng = np.random.default_rng(0)
    result = xr.Dataset(coords={dim: [f"{dim} {i}" for i in range(size)] for dim, size in sizes.items()})
    for name, variable in VARIABLES.items():
        result[name] = (variable.dims, rng.normal(size=[sizes[dim] for dim in variable.dims]))
    result["pval"][0, 0] = np.nan
    result["df2"] = np.inf
    result["status"] = result["status"].astype(np.int8)
    result = zarr_safe(
        annotate(result).assign_attrs(title="a fit", options='{"ridge": 0.0}', references=["a", "b"])
    )
    write_store(result, tmp_path / "fit.zarr")
    xr.testing.assert_identical(open_result(tmp_path / "fit.zarr"), result)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "fit.zarr").load(), result)
    with pytest.warns(UserWarning, match="Consolidated metadata") as caught:
        result.to_zarr(tmp_path / "plain.zarr")
    assert len(caught) == 1  # zarr says this of every store of format 3 that xarray writes
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "plain.zarr").load(), result)
