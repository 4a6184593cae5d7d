"""What ``xdelnx fit --plan`` says, against the reads that a fit makes."""

import threading

import dask
import dask.array as da
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.chunks import blocks
from xdelnx.messages import megabytes
from xdelnx.verbs.planning import estimate, report

BLOCKS = 5
FORMULA = "~ batch + condition"


class Counting:
    """Counts that say how many parts of them were read, and how many bytes."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, values.ndim
        self.lock, self.reads, self.bytes = threading.Lock(), 0, 0

    def __getitem__(self, index):
        part = self.values[index]
        with self.lock:
            self.reads, self.bytes = self.reads + 1, self.bytes + part.nbytes
        return part


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        (FORMULA, {}),
        (FORMULA, {"size_factors": "ratio"}),
        (FORMULA, {"size_factors": "poscounts"}),
        (FORMULA, {"size_factors": "tmm"}),
        (FORMULA, {"size_factors": "invariant"}),
        (FORMULA, {"overdispersion": "global"}),
        ("~ condition", {"cooks": "replace"}),
        ("~ condition", {"cooks": "flag"}),
        (FORMULA, {"method": "edger"}),
        ("~ condition", {"by": "batch"}),
    ],
    ids=["plain", "ratio", "poscounts", "tmm", "invariant", "global", "replace", "flag", "edger", "by"],
)
def test_reads_are_as_many_as_planned(bulk, monkeypatch, formula, options):
    """Each pass reads every block once; a group's passes read its samples alone, so bytes are those of all."""
    monkeypatch.setattr(blocks, "BLOCKS", BLOCKS)
    counts = Counting(bulk["counts"].values)
    array = da.from_array(counts, chunks=(16, 400 // BLOCKS))
    data = bulk.assign(counts=(("sample", "gene"), array))
    planned = estimate(data, {"design": formula, "contrasts": "last", **options})
    counts.reads = counts.bytes = 0
    with dask.config.set(scheduler="synchronous"):
        xd.fit(data, formula, **options)
    assert planned.n_blocks == BLOCKS
    assert counts.reads == planned.n_tasks == BLOCKS * len(planned.passes)
    if "by" not in options:
        assert counts.bytes == planned.read_bytes * len(planned.passes)


def test_a_larger_store_takes_more_blocks_and_not_more_memory_a_thread(monkeypatch):
    """Five times the cells in stored chunks of the same size: blocks of the same bytes."""
    monkeypatch.setattr(blocks, "BLOCK_ENTRIES", 40_000)
    few, many = (
        estimate(zeros(n_samples), {"design": "~ 1", "contrasts": None}) for n_samples in (200, 1000)
    )
    assert many.n_blocks == 5 * few.n_blocks
    assert many.thread_bytes == few.thread_bytes
    assert many.memory(4) - many.memory(2) == 2 * many.thread_bytes
    assert many.memory(4, 2) - many.memory(4) == many.process_bytes


def test_smaller_chunks_take_no_less_memory_unless_they_are_larger_than_blocks(monkeypatch):
    """As the words about workers that run out of it have it: they are merged into blocks."""
    monkeypatch.setattr(blocks, "BLOCK_ENTRIES", 40_000)
    small, usual, large = (
        estimate(zeros(1000, width), {"design": "~ 1", "contrasts": None}).thread_bytes
        for width in (5, 40, 80)
    )
    assert small == usual == large // 2


def test_the_report_says_what_a_thread_takes():
    found = estimate(zeros(200), {"design": "~ 1", "contrasts": None})
    said = "\n".join(report(found, 4, 1, None))
    each = f"{megabytes(found.process_bytes)}, and {megabytes(found.thread_bytes)} for each thread"
    assert f"memory of a worker: {megabytes(found.memory(4))} at most: {each}\n" in said


def test_the_report_says_what_takes_all_genes_of_a_sample():
    plain, ratio = (
        "\n".join(report(estimate(zeros(200), {"design": "~ 1", "contrasts": None} | more), 4, 1, None))
        for more in ({}, {"size_factors": "ratio"})
    )
    assert "size factors: 1.28 MB of that, as this method puts all genes of a sample together" in ratio
    assert "together" not in plain


def zeros(n_samples, width=None):
    width = 40_000 // n_samples if width is None else width
    counts = da.zeros((n_samples, 400), dtype="u1", chunks=(n_samples, width))
    names = {"sample": [f"s{i}" for i in range(n_samples)], "gene": [f"g{i}" for i in range(400)]}
    return xr.Dataset({"counts": (("sample", "gene"), counts)}, names)
