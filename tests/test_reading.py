"""Stores with damaged chunks, and stores that fail now and then: what is said, and what is tried again."""

import os
import random
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore, WrapperStore

import xdelnx as xd
from xdelnx.chunks import reading
from xdelnx.cli import main
from xdelnx.storage.stores import zarr_safe
from xdelnx.storage.unfinished import folder_of

FORMULA = "~ batch + condition"
FIT = ["fit", "counts.zarr", "fit.zarr", "--design", FORMULA]
SIZE = ["--n-samples", "10", "--n-genes", "600", "--n-batches", "2"]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "counts.zarr", *SIZE]) == 0
    return Path("counts.zarr")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Tries follow each other without a wait."""
    monkeypatch.setattr(reading, "WAITS", (0.0, 0.0))
    with dask.config.set(scheduler="threads"):
        yield


def damage(path, how):
    whole = path.read_bytes()
    middle = len(whole) // 2
    changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"cut": whole[:-20], "empty": b"", "flipped": changed}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "flipped"])
def test_a_damaged_chunk_is_named_with_its_genes(store, how):
    """Chunk 3 of 38 genes each holds genes 114 to 151, and each is a block of its own."""
    data = xd.open_counts(store)
    names = data["gene"].values
    damage(store / "counts" / "c" / "0" / "3", how)
    words = (
        rf"counts\.zarr/counts, chunk c/0/3, is damaged .*\(genes {names[114]} to {names[151]}, 38 of them\)"
    )
    with pytest.raises(OSError, match=words):
        xd.fit(data, FORMULA)


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_every_bit_of_a_converted_store_is_checked(tmp_path, how):
    counts = np.random.default_rng(0).poisson(5.0, (6, 200))
    names = {"sample": [f"s{i}" for i in range(6)], "gene": [f"g{i}" for i in range(200)]}
    zarr_safe(xr.Dataset({"counts": (("sample", "gene"), counts)}, names)).to_zarr(
        tmp_path / "in.zarr", zarr_format=3
    )
    assert main(["convert", str(tmp_path / "in.zarr"), str(tmp_path / "out.zarr")]) == 0
    damage(tmp_path / "out.zarr" / "counts" / "c" / "0" / "2", how)
    with pytest.raises(RuntimeError):
        xd.open_counts(tmp_path / "out.zarr")["counts"].values  # noqa: B018


def test_a_fit_of_a_damaged_store_keeps_what_is_finished(store, capsys):
    chunk = store / "counts" / "c" / "0" / "9"
    whole, moment = chunk.read_bytes(), os.stat(chunk)
    damage(chunk, "flipped")  # by the disk, which keeps the time
    os.utime(chunk, ns=(moment.st_atime_ns, moment.st_mtime_ns))
    assert main([*FIT, "--scheduler", "synchronous"]) == 1
    said = capsys.readouterr().err
    assert "chunk c/0/9" in said
    assert "the same command goes on from there" in said
    assert list(folder_of("fit.zarr").glob("*.npz"))
    chunk.write_bytes(whole)  # from a copy, with its time
    os.utime(chunk, ns=(moment.st_atime_ns, moment.st_mtime_ns))
    assert main(FIT) == 0
    assert "going on with the fit" in capsys.readouterr().err
    xr.testing.assert_equal(xd.fit(xd.open_counts(store), FORMULA), xr.open_zarr("fit.zarr").load())


def test_other_verbs_say_it_too(store):
    data = xd.open_counts(store)
    fit = xd.fit(data, FORMULA)
    damage(store / "counts" / "c" / "0" / "0", "cut")
    with pytest.raises(OSError, match=r"chunk c/0/0, .*38 of them"):
        xd.test(data, fit, "condition")
    with pytest.raises(RuntimeError, match=r"chunk c/0/0, .*\(38 genes, from number 1 on\)"):
        xd.size_factors(data)


def test_blocks_of_several_chunks_name_the_one(store):
    data = xd.open_counts(store)
    names = data["gene"].values
    array = da.from_zarr(str(store / "counts"), chunks=(10, 76))
    damage(store / "counts" / "c" / "0" / "3", "cut")
    with pytest.raises(OSError, match=rf"chunk c/0/3, .*\(genes {names[76]} to {names[151]}, 76 of them\)"):
        xd.fit(data.assign(counts=(("sample", "gene"), array)), FORMULA)


def test_a_part_of_a_store_names_its_genes_alone(store):
    """Which chunk it is would have to be reckoned from the part."""
    data = xd.open_counts(store).isel(gene=slice(76, None))
    damage(store / "counts" / "c" / "0" / "3", "cut")
    with pytest.raises(OSError, match=r"is damaged .*genes \S+ to \S+, 38 of them") as caught:
        xd.fit(data, FORMULA)
    assert data["gene"].values[38] in str(caught.value)


def test_what_a_user_computes_raises_what_it_raises(store):
    def broken(block):
        if block.size:
            raise ValueError("this is mine")
        return block

    data = xd.open_counts(store)
    counts = da.map_blocks(broken, data["counts"].data, dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(ValueError, match=r"^this is mine$"):
        xd.fit(data.assign(counts=(("sample", "gene"), counts)), FORMULA)


# ---- errors that pass ------------------------------------------------------------------------------------


class Flaky(WrapperStore):
    """A store of which some reads of chunks fail, by chance, but at most so many times in a row."""

    def __init__(self, store):
        super().__init__(store)
        self.in_a_row, self.error = 0, ConnectionError
        self.random, self.failed, self.failures = random.Random(0), {}, 0

    @classmethod
    def of(cls, store, in_a_row, error=ConnectionError):
        made = cls(store)  # Zarr makes one for reading alone with the same call
        made.in_a_row, made.error = in_a_row, error
        return made

    def with_read_only(self, read_only=False):
        return self

    async def get(self, key, prototype, byte_range=None):
        if "counts/c/" in key and self.failed.get(key, 0) < self.in_a_row and self.random.random() < 0.7:
            self.failed[key] = self.failed.get(key, 0) + 1
            self.failures += 1
            raise self.error("the connection was reset")
        self.failed[key] = 0
        return await self._store.get(key, prototype, byte_range)


@pytest.fixture
def in_memory(bulk):
    memory = MemoryStore()
    stored = zarr_safe(bulk[["counts", "batch", "condition"]])
    stored["counts"] = stored["counts"].chunk(gene=50)
    stored.to_zarr(memory, zarr_format=3, consolidated=False)
    return memory


@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, OSError])
def test_a_flaky_store_is_asked_again(in_memory, error):
    flaky = Flaky.of(in_memory, 2, error)
    again = xd.fit(xd.open_counts(flaky), FORMULA)
    assert flaky.failures > 3
    xr.testing.assert_equal(again, xd.fit(xd.open_counts(in_memory), FORMULA))


def test_a_store_that_is_gone_is_named(in_memory):
    flaky = Flaky.of(in_memory, 10**9)
    flaky.random.random = lambda: 0.0
    data = xd.open_counts(flaky)
    with pytest.raises(
        OSError, match=r"counts did not answer in 3 tries \(ConnectionError: the .*50 of them"
    ):
        xd.fit(data, FORMULA)
    tries = [failed for key, failed in flaky.failed.items() if "counts/c/" in key]
    assert max(tries) == 3


def test_what_is_not_there_is_not_asked_for_again(in_memory):
    flaky = Flaky.of(in_memory, 10**9, FileNotFoundError)
    flaky.random.random = lambda: 0.0
    with pytest.raises(FileNotFoundError), dask.config.set(scheduler="synchronous"):
        xd.fit(xd.open_counts(flaky), FORMULA)
    assert flaky.failures == 1


def test_zarr_names_the_array(store):
    """What is asked of Zarr's arrays, which is public there."""
    array = zarr.open_array(store / "counts")
    assert str(array.store_path).endswith("counts.zarr/counts")
    assert array.metadata.encode_chunk_key((0, 3)) == "c/0/3"
