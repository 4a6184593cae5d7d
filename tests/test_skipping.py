"""Genes whose chunks are damaged, left out of a fit: all others are fitted as if the store did not have them."""

import json
import os
import warnings
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.chunks import reading
from xdelnx.chunks.skipping import runs
from xdelnx.cli import main
from xdelnx.status import Status
from xdelnx.storage.stores import open_result, write_store
from xdelnx.storage.unfinished import folder_of
from xdelnx.verbs.skipped import NUMBER, REASON

FORMULA = "~ batch + condition"
N_GENES = 640  # in 16 chunks of 40
LOST = [*range(120, 160), *range(360, 400)]  # of chunks 3 and 9
KEPT = [i for i in range(N_GENES) if i not in LOST]
WARNED = pytest.warns(xd.XdelnxWarning, match="80 genes of 640 cannot be read and were left out")


def whole():
    data = xd.simulate(12, N_GENES, n_batches=2, seed=4)
    rng = np.random.default_rng(0)
    shape = data["counts"].shape
    return data.assign(
        shift=(("sample", "gene"), rng.normal(0.0, 0.1, shape)),
        weight=(("sample", "gene"), rng.uniform(0.5, 1.5, shape)),
        donor=("sample", np.repeat([f"d{i}" for i in range(6)], 2).astype(object)),
    )


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store in which one chunk of the counts has another bit, and one is gone; and what it held before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "WAITS", (0.0, 0.0))
    data = whole()
    write_store(data, "counts.zarr")
    damage("counts.zarr/counts/c/0/3")
    Path("counts.zarr/counts/c/0/9").unlink()
    with dask.config.set(scheduler="threads"):
        yield data


def damage(path):
    found = bytearray(Path(path).read_bytes())
    found[len(found) // 2] ^= 1
    Path(path).write_bytes(found)


OPTIONS = {
    "plain": {},
    "ratio": {"size_factors": "ratio", "robust": True},
    "poscounts": {"size_factors": "poscounts", "cooks": "replace"},
    "tmm": {"size_factors": "tmm", "shrinkage": False},
    "invariant": {"size_factors": "invariant", "adjust": "storey"},
    "edger": {"method": "edger"},
    "global": {"overdispersion": "global", "subsample": 8},
    "offset": {"offset": "shift"},
    "weights": {"weights": "weight"},
    "cluster": {"cluster": "donor", "design": "~ condition"},
    "by": {"by": "batch", "design": "~ condition"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_all_others_are_fitted_as_if_they_were_alone(store, name):
    """To the last bit but where sums over genes are made by block: size factors, and what follows from these."""
    options = {"design": FORMULA} | OPTIONS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xd.XdelnxWarning)  # that genes are left out, and of few samples
        found = xd.fit("counts.zarr", **options, skip_corrupt=True)
        write_store(store.isel(gene=KEPT), "alone.zarr")
        expected = xd.fit("alone.zarr", **options)
    xr.testing.assert_allclose(found.isel(gene=KEPT), expected, rtol=1e-10)
    lost = found.isel(gene=LOST)
    assert (lost["status"] == Status.UNREADABLE).all()
    for key in ("beta", "pval", "padj", "dispersion", "mean", "stat", "log2fc"):
        assert lost[key].isnull().all(), key
    assert found.attrs[NUMBER] == 80


def test_the_result_says_which_chunks_and_genes(store):
    with WARNED:
        found = xd.fit(xd.open_counts("counts.zarr"), FORMULA, skip_corrupt=True)
    said = found.attrs[REASON]
    assert "counts.zarr/counts, chunk c/0/3, is damaged and cannot be decoded" in said
    assert "(genes g120 to g159); " in said
    assert "counts.zarr/counts, chunk c/0/9, is missing (genes g360 to g399)" in said
    assert json.loads(found.attrs["options"])["skip_corrupt"] is True
    assert "80 unreadable" in xd.describe(found)
    assert "caution: 80 genes could not be read: " in xd.describe(found)
    assert "skip_corrupt" in found["status"].attrs["flag_advice"][Status.UNREADABLE]


def test_without_damage_nothing_changes(store):
    write_store(store, "fine.zarr")
    found = xd.fit("fine.zarr", FORMULA, skip_corrupt=True)
    expected = xd.fit("fine.zarr", FORMULA)
    xr.testing.assert_equal(found, expected)
    assert found.attrs[NUMBER] == 0
    assert NUMBER not in expected.attrs
    xr.testing.assert_equal(xd.fit(store, FORMULA, skip_corrupt=True), expected)


def test_of_a_block_of_several_chunks_the_others_are_kept(store):
    """Chunks of 10 genes, merged to blocks of 80; those of 40 in the store that are damaged are genes 120 to 159."""
    write_store(store, "fine.zarr")
    damage("fine.zarr/counts/c/0/3")
    data = xd.open_counts("fine.zarr").chunk(gene=20)
    with pytest.warns(xd.XdelnxWarning, match="40 genes of 640"):
        found = xd.fit(data, FORMULA, skip_corrupt=True)
    assert runs(found["status"].values == Status.UNREADABLE) == [slice(120, 160)]


def test_offsets_and_weights_have_chunks_too(store):
    write_store(store, "fine.zarr")
    Path("fine.zarr/shift/c/0/0").unlink()
    with pytest.warns(xd.XdelnxWarning, match=r"40 genes of 640 .*fine\.zarr/shift, chunk c/0/0, is missing"):
        found = xd.fit("fine.zarr", FORMULA, offset="shift", skip_corrupt=True)
    write_store(store.isel(gene=slice(40, None)), "alone.zarr")
    expected = xd.fit("alone.zarr", FORMULA, offset="shift")
    xr.testing.assert_allclose(found.isel(gene=slice(40, None)), expected, rtol=1e-10)
    again = xd.test("fine.zarr", found, "condition[T.B]")
    np.testing.assert_allclose(again["pval"][0], found.sel(contrast="condition[T.B]")["pval"], rtol=1e-10)


def test_sparse_blocks(store):
    """Whose chunks are not cut out of the block that they were merged to."""
    import scipy.sparse as sp

    dense = xd.open_counts("counts.zarr")
    sparse = dense.assign(counts=(("sample", "gene"), da.map_blocks(sp.csr_matrix, dense["counts"].data)))
    with pytest.warns(xd.XdelnxWarning, match="160 genes of 640"):
        found = xd.fit(sparse, FORMULA, skip_corrupt=True)
    lost = found["status"].values == Status.UNREADABLE
    assert runs(lost) == [slice(80, 160), slice(320, 400)]
    expected = xd.fit(store.isel(gene=~lost), FORMULA)
    xr.testing.assert_allclose(
        found.isel(gene=~lost), expected, rtol=1e-7
    )  # zeros are visited on another path


@pytest.mark.parametrize("form", ["csc", "dense"])
def test_annotated_data_files(store, capsys, form):
    """A damaged chunk of HDF5 is told by file and genes, and these are left out."""
    lost = stored_by_gene(store, form)
    with pytest.raises(
        OSError, match=rf"{form}\.h5ad: X, genes .*; copy it again; xdelnx.fit leaves .*\(genes g"
    ):
        xd.fit(f"{form}.h5ad", FORMULA)
    with pytest.warns(xd.XdelnxWarning, match=f"{len(lost)} genes of 640 cannot be read"):
        found = xd.fit(f"{form}.h5ad", FORMULA, skip_corrupt=True)
    np.testing.assert_array_equal(np.flatnonzero(found["status"] == Status.UNREADABLE), lost)
    kept = np.setdiff1d(range(N_GENES), lost)
    expected = xd.fit(store.isel(gene=kept), FORMULA)
    close = {"rtol": 1e-7}  # zeros are visited on another path
    xr.testing.assert_allclose(found["pval"].isel(gene=kept), expected["pval"], **close)


def stored_by_gene(data, form):
    """Write an `.h5ad` with a chunk in the middle that has other bits; give the blocks' genes that meet it."""
    anndata, h5py = pytest.importorskip("anndata"), pytest.importorskip("h5py")
    import scipy.sparse as sp

    counts = data["counts"].values
    made = anndata.AnnData(sp.csc_matrix(counts), obs=data[["batch", "condition"]].to_dataframe())
    made.var_names = data["gene"].values
    made.write_h5ad(f"{form}.h5ad", compression="gzip")
    with h5py.File(f"{form}.h5ad", "r+") as file:
        if form == "dense":
            del file["X"]
            file.create_dataset("X", data=counts, chunks=(12, 40), compression="gzip")
        part = file["X"] if form == "dense" else file["X/data"]
        chunk = part.id.get_chunk_info(part.id.get_num_chunks() // 2)
        starts = np.arange(0, 641) * 12 if form == "dense" else file["X/indptr"][:]
        first = chunk.chunk_offset[0] if form == "csc" else chunk.chunk_offset[1] * 12
        last = first + np.prod(part.chunks)
    with Path(f"{form}.h5ad").open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(b"\xff" * 16)
    width = 40 if form == "dense" else 80  # sparse blocks are not cut
    met = [i for i in range(0, N_GENES, width) if starts[i] < last and starts[i + width] > first]
    return np.concatenate([np.arange(i, i + width) for i in met])


# ---- what is made of such a fit --------------------------------------------------------------------------


def test_other_verbs_leave_the_same_genes_out(store):
    write_store(store.isel(gene=KEPT), "alone.zarr")
    with WARNED:
        fit = xd.fit("counts.zarr", FORMULA, skip_corrupt=True)
    alone = xd.fit("alone.zarr", FORMULA)
    verbs = {
        "test": lambda data, fit: xd.test(data, fit, "batch"),
        "threshold": lambda data, fit: xd.test(data, fit, "condition[T.B]", lfc_threshold=0.5),
        "residuals": lambda data, fit: xd.residuals(data, fit).to_dataset(),
        "covariance": lambda data, fit: xd.covariance(data, fit).to_dataset(name="covariance"),
        "goodness": xd.goodness_of_fit,
        "predict": lambda data, fit: xd.predict(data, fit),
        "shrink": lambda data, fit: xd.shrink_lfc(fit),
        "adjust": lambda data, fit: xd.adjust(fit, "holm", filter_by="mean"),
    }
    for name, verb in verbs.items():
        found, expected = verb("counts.zarr", fit), verb("alone.zarr", alone)
        found, expected = (
            value.to_dataset(name="one") if isinstance(value, xr.DataArray) else value
            for value in (found, expected)
        )
        xr.testing.assert_allclose(found.isel(gene=KEPT), expected, rtol=1e-8)
        for key, variable in found.isel(gene=LOST).data_vars.items():
            if "gene" in variable.dims and variable.dtype.kind == "f":
                assert variable.isnull().all(), f"{name}: {key}"
    again = xd.test("counts.zarr", fit)
    assert (again["status"].isel(gene=LOST) == Status.UNREADABLE).all()
    assert again.attrs[NUMBER] == 80
    write_store(fit, "fit.zarr")
    xr.testing.assert_equal(xd.test("counts.zarr", xr.open_zarr("fit.zarr")), again)
    xr.testing.assert_allclose(xd.test(store, fit), again, rtol=1e-10)  # counts that are whole again


# ---- commands --------------------------------------------------------------------------------------------

FIT = ["fit", "counts.zarr", "fit.zarr", "--design", FORMULA]


@pytest.mark.filterwarnings("default::xdelnx.XdelnxWarning")
def test_commands(store, capsys, monkeypatch, stopping):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert main([*FIT, "--scheduler", "synchronous"]) == 1
    said = capsys.readouterr().err
    assert "xdelnx.fit leaves its genes out with skip_corrupt=True (--skip-corrupt)" in said
    assert main([*FIT, "--skip-corrupt", "--plan", "--overwrite"]) == 0
    assert "passes: 4 (check of the chunks, first look, fit, pass 1, fit, pass 2)" in capsys.readouterr().out
    assert main([*FIT, "--skip-corrupt", "--overwrite", "--table", "genes.csv"]) == 0
    said = capsys.readouterr().err
    assert "warning: 80 genes of 640 cannot be read" in said
    assert "80 unreadable" in said
    expected = open_result("fit.zarr")
    os.rename("fit.zarr", "whole.zarr")
    with stopping(20):
        assert main([*FIT, "--skip-corrupt", "--scheduler", "synchronous"]) == 130
    assert list(folder_of("fit.zarr").glob("check-*.npz"))
    assert main([*FIT, "--skip-corrupt"]) == 0
    assert "going on with the fit" in capsys.readouterr().err
    xr.testing.assert_identical(open_result("fit.zarr"), expected)
    assert main(["test", "counts.zarr", "fit.zarr", "test.zarr", "--contrast", "batch"]) == 0
    assert main(["report", "fit.zarr", "report.html"]) == 0
    assert "whose chunks are damaged or gone" in Path("report.html").read_text()
    assert main(["fit", "again.zarr", "--from", "fit.zarr"]) == 0
    xr.testing.assert_equal(open_result("again.zarr"), expected)


def test_a_chunk_that_is_damaged_while_it_runs(store, monkeypatch):
    """Nothing may change under a fit: it says so, and how to begin anew."""
    from xdelnx.verbs import running

    found = running.skipping.damaged

    def then_damaged(*arguments):
        result = found(*arguments)
        damage("counts.zarr/counts/c/0/5")
        return result

    monkeypatch.setattr(running.skipping, "damaged", then_damaged)
    with pytest.raises(OSError, match=r"chunk c/0/5, .*could be read when this fit began: begin it anew"):
        xd.fit("counts.zarr", FORMULA, skip_corrupt=True)


# ---- what is refused -------------------------------------------------------------------------------------


def test_not_without_reading(store):
    with pytest.raises(ValueError, match="compute=False reads none; leave out one of them"):
        xd.fit("counts.zarr", FORMULA, skip_corrupt=True, compute=False)


def test_not_where_nothing_is_left(store):
    for chunk in Path("counts.zarr/counts/c/0").iterdir():
        chunk.unlink()
    with pytest.raises(OSError, match=r"no gene can be read: .*chunk c/0/0, is missing; copy it anew"):
        xd.fit("counts.zarr", FORMULA, skip_corrupt=True)


def test_a_store_that_does_not_answer_is_not_damaged(store, monkeypatch):
    from xdelnx.chunks.strict import StrictStore

    async def broken(self, key, prototype, byte_range=None):
        raise ConnectionError("the connection was reset")

    data = xd.open_counts("counts.zarr")
    monkeypatch.setattr(StrictStore, "get", broken)
    with pytest.raises(OSError, match="did not answer in 3 tries"):
        xd.fit(data, FORMULA, skip_corrupt=True)


def test_runs():
    assert runs(np.array([1, 1, 0, 1, 0, 0, 1], dtype=bool)) == [slice(0, 2), slice(3, 4), slice(6, 7)]
    assert runs(np.zeros(3, dtype=bool)) == []
