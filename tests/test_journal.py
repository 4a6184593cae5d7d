"""A fit that is stopped goes on: what is computed again, what is not, and that the result is the same bit by bit."""

import os
import threading

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xdelnx import fit
from xdelnx.chunks import blocks
from xdelnx.chunks.journal import Journal, in_force, keeping, read_manifest

FORMULA = "~ batch + age + condition"
BLOCKS = 10


class Stopping:
    """Counts in blocks that know which were read, and fail from some read on, as a process that is killed."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, values.ndim
        self.lock, self.reads, self.left = threading.Lock(), [], np.inf

    def __getitem__(self, index):
        with self.lock:
            if len(self.reads) >= self.left:
                raise KeyboardInterrupt
            self.reads.append(index[1].start)
        return self.values[index]


@pytest.fixture
def stored(bulk):
    counts = Stopping(bulk["counts"].values)
    array = da.from_array(counts, chunks=(16, 400 // BLOCKS))
    counts.reads.clear()  # Dask looks at none of it for its type
    return counts, bulk.assign(counts=(("sample", "gene"), array))


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal", {"job": "this one"}, "2026-01-01T00:00:00+00:00")


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCKS", BLOCKS)
    with dask.config.set(scheduler="synchronous"):
        yield


def kept(journal, data, **options):
    with keeping(journal):
        return fit(data, FORMULA, **options)


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        (FORMULA, {}),
        (FORMULA, {"overdispersion": "global"}),
        (FORMULA, {"size_factors": "tmm"}),
        (FORMULA, {"size_factors": "invariant"}),
        ("~ condition", {"cooks": "replace"}),
        (FORMULA, {"method": "edger"}),
        ("~ age + condition", {"by": "batch"}),
    ],
    ids=["plain", "global", "tmm", "invariant", "replace", "edger", "by"],
)
def test_a_stopped_fit_goes_on(stored, journal, formula, options):
    """Stopped again and again, it reads each block once a pass, but for the reads that were under way."""
    counts, data = stored
    with keeping(journal.part("other")):
        undisturbed = fit(data, formula, **options)
    needed, counts.reads = len(counts.reads), []
    all_to_all = options.get("size_factors") == "tmm"  # a pass over samples, which is begun anew
    stride, stops = 13 if all_to_all else 7, 0
    while True:
        counts.left = len(counts.reads) + stride
        try:
            with keeping(journal):
                result = fit(data, formula, **options)
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops == (len(counts.reads) - 1) // stride
    in_flight = stops + (BLOCKS if all_to_all else 0)
    assert needed <= len(counts.reads) <= needed + in_flight
    xr.testing.assert_identical(undisturbed, result)
    assert result.attrs["history"] == "2026-01-01T00:00:00+00:00 xdelnx.fit"


def test_a_finished_journal_answers_without_a_read(stored, journal):
    counts, data = stored
    first, reads = kept(journal, data), len(counts.reads)
    xr.testing.assert_identical(first, kept(journal, data))
    assert len(counts.reads) == reads == 3 * BLOCKS
    assert read_manifest(journal.folder)["job"] == "this one"
    journal.remove()
    assert not journal.folder.exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "gone"])
def test_a_damaged_result_is_computed_again(stored, journal, damage):
    counts, data = stored
    first, reads = kept(journal, data), len(counts.reads)
    path = journal.path("fit-40:80")
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    path.write_bytes({"cut": whole[:-100], "empty": b"", "changed": bytes(changed), "gone": b""}[damage])
    if damage == "gone":
        path.unlink()
    xr.testing.assert_identical(first, kept(journal, data))
    assert counts.reads[reads:] == [40]
    assert path.read_bytes() == whole


def test_no_half_results(stored, journal, monkeypatch):
    """A full disk while a block's result is written: the error says so, and nothing half is there."""
    _, data = stored

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    journal.folder.mkdir()
    (journal.folder / "manifest.json").write_text("{}")
    with pytest.raises(OSError, match=r"the disk of \S+/journal is full.* nothing half-written is left"):
        kept(journal, data)
    assert [path.name for path in journal.folder.iterdir()] == ["manifest.json"]


def test_without_a_journal_nothing_is_kept(stored, tmp_path):
    _, data = stored
    assert in_force() is None
    fit(data, FORMULA)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_worker_that_keeps_dying_is_told_by_its_genes_and_the_fit_goes_on(bulk, journal):
    """A block that was at the worker is named (no second try, so any of those); what others gave is kept."""
    distributed = pytest.importorskip("distributed")
    mark, counts = journal.folder.with_name("well"), bulk["counts"].values

    def read(block_info=None):
        (_, (start, stop)) = block_info[None]["array-location"]
        if start == 80 and not mark.exists():
            os._exit(1)
        return counts[:, start:stop]

    meta = np.empty((0, 0), counts.dtype)
    array = da.map_blocks(read, chunks=(16, (40,) * BLOCKS), dtype=counts.dtype, meta=meta)
    data = bulk.assign(counts=(("sample", "gene"), array))
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        dask.config.set(scheduler=client),
    ):
        with pytest.raises(
            RuntimeError,
            match=r"died 1 times at the same block.*`xdelnx fit --plan` says.*\(genes g\d+ to g\d+, 40 of them\)",
        ):
            kept(journal, data)
        assert not journal.path("survey-80:120").exists()
        mark.touch()
        result = kept(journal, data)
    assert journal.path("survey-80:120").exists()
    xr.testing.assert_equal(result, fit(bulk.chunk(gene=40), FORMULA))


def test_a_lazy_fit_keeps_none(stored, journal):
    """Whoever computes it later may have left the journal by then."""
    _, data = stored
    kept(journal, data, compute=False).compute()
    assert not journal.folder.exists()
