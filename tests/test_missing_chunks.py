"""Chunks that are gone: an error in the stores that we write, zeros where they may have been left out."""

import shutil
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import xdelnx as xd
from xdelnx.cli import main
from xdelnx.storage import gene_major
from xdelnx.storage.stores import open_result, write_store, zarr_safe

FORMULA = "~ condition"
N_GENES = 312  # in 15 chunks of 20 and one of 12, each a block of its own


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with dask.config.set(scheduler="threads"):
        yield


def counts_of(seed=1):
    """Counts of which the genes of two chunks, 60 to 79 and 100 to 119, are all zero, as nobody could see."""
    data = xd.simulate(8, N_GENES, seed=seed)
    data["counts"][:, 60:80] = 0
    data["counts"][:, 100:120] = 0
    return data


def written(how):
    """A store of these counts, and the name of one of its chunks (or shards)."""
    if how == "write_store":
        write_store(counts_of(), "counts.zarr")
    else:
        zarr_safe(counts_of()).to_zarr("foreign.zarr", zarr_format=3)
        xd.convert("foreign.zarr", "counts.zarr")
    return Path("counts.zarr/counts/c/0/2")


@pytest.fixture(params=["write_store", "convert", "sharded"])
def chunk(request, monkeypatch):
    """A chunk (or shard) of genes 40 to 59, of a store that each of our writers wrote."""
    if request.param == "sharded":
        monkeypatch.setattr(gene_major, "_layout", lambda shape, dtype: (20, 5))
    found = written(request.param)
    assert (zarr.open_array("counts.zarr/counts").shards is not None) == (request.param == "sharded")
    return found


def test_all_chunks_are_written(chunk):
    """Those of zeros, too, which Zarr leaves out where it is not told otherwise."""
    names = {path.name for path in chunk.parent.iterdir()}
    assert names == {str(i) for i in range(16)}
    left_out = {path.name for path in Path("foreign.zarr/counts/c/0").glob("*")}
    assert not left_out or len(left_out) < 16


@pytest.mark.parametrize("opened", [xd.open_counts, xr.open_zarr, str])
def test_a_missing_chunk_is_named_with_its_genes(chunk, opened):
    names = xd.open_counts("counts.zarr")["gene"].values
    expected = xd.fit("counts.zarr", FORMULA)
    chunk.unlink()
    first, last = (
        (35, 70) if opened is xr.open_zarr and zarr.open_array("counts.zarr/counts").shards else (40, 60)
    )
    words = rf"counts\.zarr/counts, chunk c/0/2, is missing; .*\(genes {names[first]} to {names[last - 1]}, "
    with pytest.raises(OSError, match=words):
        xd.fit(opened("counts.zarr"), FORMULA)
    with pytest.raises(OSError, match=words):
        xd.test(opened("counts.zarr"), expected)


def test_commands_name_it(chunk, capsys):
    fit = ["fit", "counts.zarr", "fit.zarr", "--design", FORMULA]
    assert main(fit) == 0
    shutil.move("fit.zarr", "whole.zarr")
    chunk.unlink()
    for words in (fit, ["test", "counts.zarr", "whole.zarr", "test.zarr"]):
        capsys.readouterr()
        assert main(words) == 1
        said = capsys.readouterr().err
        assert "chunk c/0/2, is missing" in said
        assert "20 of them" in said
    assert main(["convert", "counts.zarr", "again.zarr"]) == 1
    assert "chunk c/0/2, is missing" in capsys.readouterr().err
    assert not Path("again.zarr").exists()


def test_a_part_of_a_store_is_as_strict(chunk):
    chunk.unlink()
    part = xd.open_counts("counts.zarr").isel(gene=slice(45, 300))  # in blocks of 15, 20, 20, ...
    with pytest.raises(OSError, match=r"chunk c/0/2, is missing; .*genes g45 to g59, 15 of them"):
        xd.fit(part, FORMULA)
    with pytest.raises(FileNotFoundError, match=r"counts\.zarr/counts, chunk c/0/2, is missing"):
        part["counts"].values  # noqa: B018


def test_what_is_gone_of_labels_and_results_is_told():
    write_store(xd.fit(xd.simulate(8, 60, seed=1), FORMULA), "fit.zarr")
    Path("fit.zarr/dispersion_trend/c/0").unlink()
    with pytest.raises(FileNotFoundError, match=r"fit\.zarr/dispersion_trend, chunk c/0, is missing"):
        open_result("fit.zarr")
    write_store(xd.simulate(8, 60, seed=1), "counts.zarr")
    Path("counts.zarr/condition/c/0").unlink()
    with pytest.raises(FileNotFoundError, match=r"counts\.zarr/condition, chunk c/0, is missing"):
        xd.open_counts("counts.zarr")


@pytest.mark.parametrize("consolidated", [True, False])
def test_other_stores_leave_out_chunks_of_zeros(consolidated):
    data = counts_of()
    stored = zarr_safe(data)
    stored["counts"] = stored["counts"].chunk(gene=20)
    stored.to_zarr("counts.zarr", zarr_format=3, consolidated=consolidated)
    assert not Path("counts.zarr/counts/c/0/3").exists()
    xr.testing.assert_equal(xd.fit("counts.zarr", FORMULA), xd.fit(data, FORMULA))


@pytest.mark.parametrize("opened", [xd.open_counts, xr.open_zarr])
def test_a_copy_by_xarray_is_another_store(opened):
    """It leaves out chunks of zeros again, and must not claim that it has them all."""
    write_store(counts_of(), "counts.zarr")
    opened("counts.zarr").drop_encoding().to_zarr("copy.zarr", zarr_format=3)
    assert not Path("copy.zarr/counts/c/0/3").exists()
    xr.testing.assert_equal(xd.fit("copy.zarr", FORMULA), xd.fit("counts.zarr", FORMULA))


def test_genes_that_were_appended_may_be_left_out():
    """Chunks of zeros among them, that is; what was there before is known still."""
    write_store(counts_of(), "counts.zarr")
    more = counts_of(seed=2).isel(gene=slice(0, 128)).assign_coords(gene=[f"new{i}" for i in range(128)])
    more["counts"][:, 68:88] = 0  # chunk 19
    for name, values in ((name, more[name].values) for name in more.variables if "gene" in more[name].dims):
        array = zarr.open_array(f"counts.zarr/{name}", mode="r+")
        axis = array.ndim - 1
        array.resize((*array.shape[:axis], N_GENES + 128))
        array[..., N_GENES:] = values.astype(array.dtype) if axis else values
    zarr.consolidate_metadata("counts.zarr", zarr_format=3)
    assert not Path("counts.zarr/counts/c/0/19").exists()
    fit = xd.fit("counts.zarr", FORMULA)
    assert fit.sizes["gene"] == N_GENES + 128
    Path("counts.zarr/counts/c/0/2").unlink()
    with pytest.raises(OSError, match=r"chunk c/0/2, is missing"):
        xd.fit("counts.zarr", FORMULA)


def test_a_cluster_is_as_strict():
    distributed = pytest.importorskip("distributed")
    written("convert").unlink()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as c,
        distributed.Client(c),
        pytest.raises(OSError, match=r"chunk c/0/2, is missing; .*20 of them"),
    ):
        xd.fit("counts.zarr", FORMULA)


def test_nothing_but_the_chunks_is_read(monkeypatch):
    """A store says at no further read that a chunk is there."""
    from xdelnx.chunks.strict import StrictStore

    keys = []
    get = StrictStore.get

    async def counted(self, key, prototype, byte_range=None):
        keys.append(key)
        return await get(self, key, prototype, byte_range)

    monkeypatch.setattr(StrictStore, "get", counted)
    written("convert")
    np.asarray(xd.open_counts("counts.zarr")["counts"])
    assert sorted(key for key in keys if key.startswith("counts/")) == sorted(
        f"counts/c/0/{i}" for i in range(16)
    )


# ---- names and metadata ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["condition", "gene"])
def test_damaged_metadata_is_told_by_file(name, capsys):
    """Its chunks are decoded as a store is opened, by every command that takes it."""
    write_store(counts_of(), "counts.zarr")
    assert main(["fit", "counts.zarr", "fit.zarr", "--design", FORMULA]) == 0
    Path(f"counts.zarr/{name}/c/0").write_bytes(b"garbage")
    Path("fit.zarr/beta/c/0/0").write_bytes(b"garbage")
    what = r"counts\.zarr: .* cannot be read, so the file is damaged or not complete; copy it again"
    with pytest.raises(OSError, match=what):
        xd.fit("counts.zarr", FORMULA)
    with pytest.raises(OSError, match=what):
        xd.convert("counts.zarr", "again.zarr")
    with pytest.raises(OSError, match=r"fit\.zarr: beta cannot be read, so the file is damaged"):
        open_result("fit.zarr")
    assert main(["fit", "counts.zarr", "other.zarr", "--design", FORMULA]) == 1
    assert "--debug" not in capsys.readouterr().err.splitlines()[-1]
