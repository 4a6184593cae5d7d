"""``xdelnx fit`` given again: it goes on, has nothing to do, or refuses; killed at any moment, it ends the same."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.chunks.journal import MANIFEST
from xdelnx.cli import main
from xdelnx.storage.stores import open_result
from xdelnx.storage.unfinished import differences, folder_of, hold
from xdelnx.verbs.planning import estimate

DESIGN = ["--design", "~ batch + condition"]
FIT = ["fit", "counts.zarr", "fit.zarr", *DESIGN, "--table", "genes.csv"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a store of counts, in which the commands run, all at the same time of day."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    simulate("counts.zarr")
    return tmp_path


def simulate(name, *more, n_genes=600):
    size = ["--n-samples", "10", "--n-genes", str(n_genes), "--n-batches", "2", "--overwrite"]
    assert main(["simulate", name, *size, *more]) == 0


def contents(path):
    """Every file of a store with what is in it."""
    return {
        file.relative_to(path): file.read_bytes() for file in sorted(Path(path).rglob("*")) if file.is_file()
    }


@pytest.fixture
def stopped(here, stopping):
    """Function that lets the fit end as by Ctrl-C when it has written so many results of blocks."""

    def stop(at):
        with stopping(at):
            assert main([*FIT, "--scheduler", "synchronous"]) == 130

    return stop


def test_it_goes_on_and_then_has_nothing_to_do(here, stopped, capsys):
    assert main(FIT) == 0
    expected, table = contents("fit.zarr"), Path("genes.csv").read_bytes()
    moment = os.stat("fit.zarr/zarr.json").st_mtime_ns
    capsys.readouterr()
    assert main(FIT) == 0
    assert "fit.zarr is complete already" in capsys.readouterr().err
    assert os.stat("fit.zarr/zarr.json").st_mtime_ns == moment
    Path("genes.csv").unlink()
    assert main(FIT) == 0
    assert Path("genes.csv").read_bytes() == table
    for path in ("fit.zarr", "genes.csv"):
        os.rename(path, f"first.{path}")
    stopped(at=20)
    assert "what is finished is kept: the same command goes on from there" in capsys.readouterr().err
    assert not Path("fit.zarr").exists()
    assert folder_of("fit.zarr").is_dir()
    assert main([*FIT, "--scheduler", "processes"]) == 0  # where it goes on does not matter
    assert (
        "going on with the fit begun 2023-11-14T22:13:20+00:00: 20 results of blocks"
        in capsys.readouterr().err
    )
    assert contents("fit.zarr") == expected
    assert Path("genes.csv").read_bytes() == table
    assert sorted(os.listdir()) == [
        "counts.zarr",
        "first.fit.zarr",
        "first.genes.csv",
        "fit.zarr",
        "genes.csv",
    ]


def test_an_unfinished_fit_says_so_to_its_readers(here, stopped, capsys):
    stopped(at=5)
    with pytest.raises(
        FileNotFoundError, match=r"nothing at fit\.zarr; the fit to be written there is unfinished"
    ):
        open_result("fit.zarr")
    assert main(["test", "counts.zarr", "fit.zarr", "test.zarr"]) == 1
    assert "give the same `xdelnx fit` again and it goes on" in capsys.readouterr().err


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        ([*FIT[:4], "~ condition", *FIT[5:]], "option design was '~ batch + condition' and is '~ condition'"),
        ([*FIT, "--robust"], "option robust was 'False' and is 'True'"),
        ([*FIT, "--reference", "condition=B"], "option reference was 'None' and is \"{'condition': 'B'}\""),
        ("counts", "input counts was '17 files, "),
    ],
)
def test_another_job_is_refused(here, stopped, capsys, complete, change, what):
    if complete:
        assert main(FIT) == 0
        before = contents("fit.zarr")
    else:
        stopped(at=12)
        before = contents(folder_of("fit.zarr"))
    words = change
    if change == "counts":
        words = FIT
        simulate("counts.zarr", "--seed", "5")
    assert main(words) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert what in last
    assert "--overwrite" in last
    assert contents("fit.zarr" if complete else folder_of("fit.zarr")) == before
    assert main([*words, "--overwrite"]) == 0
    anew = contents("fit.zarr")
    assert not folder_of("fit.zarr").exists()
    os.rename("fit.zarr", "other.zarr")
    assert main([*words, "--overwrite"]) == 0
    assert contents("fit.zarr") == anew


def test_other_versions_are_another_job_while_it_is_unfinished(here, stopped, capsys):
    stopped(at=12)
    manifest = folder_of("fit.zarr") / "manifest.json"
    there = json.loads(manifest.read_text())
    there["version"]["numpy"] = "1.0"
    manifest.write_text(json.dumps(there))
    assert main(FIT) == 1
    assert "version numpy was '1.0' and is " in capsys.readouterr().err
    manifest.write_text("{")
    assert main(FIT) == 1
    assert "manifest.json is damaged; remove that folder" in capsys.readouterr().err


def test_one_process_at_a_time(here, stopped, capsys):
    stopped(at=5)
    with hold(folder_of("fit.zarr")):
        assert main(FIT) == 1
    assert f"process {os.getpid()} on " in capsys.readouterr().err
    assert main(FIT) == 0


def test_killed_between_the_store_and_the_table(here, capsys):
    """The store has its name, the table not yet: the same command writes it, and clears up."""
    assert main(FIT) == 0
    table = Path("genes.csv").read_bytes()
    os.rename("genes.csv", ".genes.csv.123-0a1b2c3d.partial")
    with hold(folder_of("fit.zarr")):
        assert main(FIT) == 1
        assert "is at work on this output" in capsys.readouterr().err
    assert main(FIT) == 0
    assert Path("genes.csv").read_bytes() == table
    assert sorted(os.listdir()) == ["counts.zarr", "fit.zarr", "genes.csv"]


def test_a_table_of_an_unknown_kind_is_refused_of_a_fit_that_is_complete(here, capsys):
    assert main(FIT[:-2]) == 0
    for name in ("genes.xlsx", "."):
        assert main([*FIT[:-1], name]) == 1
        assert f"--table {name}: expected a name that ends in .csv, " in capsys.readouterr().err


def test_a_misuse_leaves_no_folder(here):
    assert main(["fit", "counts.zarr", "fit.zarr", "--design", "~ nothing"]) == 1
    assert os.listdir() == ["counts.zarr"]


def test_from_repeats_a_fit(here, capsys):
    options = ["--contrasts", "condition[T.B]", "--contrasts", "batch", "--robust", "--ridge", "0.1"]
    assert main(["fit", "counts.zarr", "fit.zarr", *DESIGN, "--reference", "batch=batch2", *options]) == 0
    assert main(["fit", "again.zarr", "--from", "fit.zarr"]) == 0
    first, again = (xr.open_zarr(f"{name}.zarr").load() for name in ("fit", "again"))
    xr.testing.assert_equal(first, again)
    assert first.attrs["options"] == again.attrs["options"]
    assert main(["fit", "again.zarr", "--from", "fit.zarr"]) == 0
    assert "again.zarr is complete already" in capsys.readouterr().err
    simulate("others.zarr", "--seed", "3")
    assert main(["fit", "others.zarr", "others_fit.zarr", "--from", "fit.zarr"]) == 0
    assert xr.open_zarr("others_fit.zarr").attrs["options"] == first.attrs["options"]


def test_attributes_say_what_made_it(here):
    assert main(FIT) == 0
    attributes = xr.open_zarr("fit.zarr").attrs
    assert {"numpy", "numba", "dask", "zarr", "xarray", "xdelnx"} <= set(json.loads(attributes["versions"]))
    said = json.loads(attributes["fingerprint"])
    assert said["option"]["design"] == DESIGN[1]
    assert said["input"]["counts"].startswith("17 files, ")
    assert attributes["counts_store"] == str(here / "counts.zarr")


# ---- killed ----------------------------------------------------------------------------------------------

PARTS = {"start": 1, "blocks": 8, "end": 3}  # of a job, and how often it is killed in each


class Job:
    """The command in a process of its own."""

    def __init__(self):
        self.started = time.monotonic()
        self.process = subprocess.Popen([sys.executable, "-m", "xdelnx", *FIT], stderr=subprocess.DEVNULL)

    def until_begun(self):
        """Seconds until its fit begins or goes on, when it takes its folder for itself."""
        lock, mine = folder_of("fit.zarr") / "in-use", f"process {self.process.pid} on"
        while self.process.poll() is None and not (lock.exists() and mine in lock.read_text()):
            time.sleep(0.002)
        return time.monotonic() - self.started

    def until_over(self, seconds=None):
        """Whether it ends within so many seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        assert self.process.returncode == 0
        return True

    def kill(self, part, share, usual):
        """Kill it when a share of a part of its way is done, if it has not ended before; where it was, or None.

        Of the ``start`` and the ``end``, before and after the results of ``blocks``, it is a share of the usual time.
        """
        there, left = count(), usual.results - count()
        if part == "start":
            over = self.until_over(share * usual.start)
        else:
            self.until_begun()
            while self.process.poll() is None and count() < there + (
                left * share if part == "blocks" else left
            ):
                time.sleep(0.002)
            over = self.until_over(0.0 if part == "blocks" and left else 1.2 * share * usual.end)
        if over:
            return None
        self.process.kill()
        self.process.wait()
        return place()


@dataclass(frozen=True)
class Usual:
    """An undisturbed job: seconds until the fit begins, results of blocks, and seconds after the last of them."""

    start: float
    results: int
    end: float


def count():
    """Results of blocks that are there."""
    return len(list(folder_of("fit.zarr").glob("*.npz")))


def place():
    """What a killed job was at, by what it left."""
    if Path("fit.zarr").exists():
        return "store complete"
    folder = folder_of("fit.zarr")
    if not (folder / MANIFEST).exists():
        return "not begun"
    done = Counter(path.name.partition("-")[0] for path in folder.glob("*.npz"))
    blocks = estimate(xd.open_counts("counts.zarr"), {"design": DESIGN[1], "contrasts": "last"}).n_blocks
    parts = {"first look": "survey", "pass 1": "fit", "pass 2": "refit"}
    return next((name for name, part in parts.items() if done[part] < blocks), "writing")


def survive(kills, seed, n_genes):
    """Kill jobs until so many kills hit a fit that had begun: how many hit what, and how many results came of it.

    Every job goes on until it is complete, and the result is that of an undisturbed one, byte by byte.
    """
    simulate("counts.zarr", "--chunks", "256", n_genes=n_genes)
    usual = undisturbed()
    expected, table = contents("fit.zarr"), Path("genes.csv").read_bytes()
    rng, hits = random.Random(seed), Counter()
    while hits.total() - hits["not begun"] - hits["results"] < kills:
        discard()
        while where := Job().kill(*rng.choices(list(PARTS), PARTS.values()), rng.random(), usual):
            hits[where] += 1
            if hits.total() % 25 == 0:
                print(f"so far {dict(hits)}", flush=True)
            if where == "store complete":  # it has its name only then
                assert contents("fit.zarr") == expected
        assert contents("fit.zarr") == expected
        assert Path("genes.csv").read_bytes() == table
        assert sorted(os.listdir()) == ["counts.zarr", "fit.zarr", "genes.csv"]
        hits["results"] += 1
    return dict(hits)


def undisturbed():
    """What is usual, once everything is compiled."""
    assert main([*FIT, "--no-progress"]) == 0
    discard()
    job, results = Job(), 0
    start, last = job.until_begun(), 0.0
    while not job.until_over(0.005):
        if count() > results:
            results, last = count(), time.monotonic()
    return Usual(start, results, time.monotonic() - last)


def discard():
    shutil.rmtree("fit.zarr")
    os.remove("genes.csv")


def test_killed_at_any_moment(here):
    survive(2, seed=0, n_genes=3000)


@pytest.mark.stress
def test_killed_two_hundred_times(here):
    hits = survive(200, seed=1, n_genes=20_000)
    print(f"\nkilled 200 times in a fit that had begun, every result identical byte by byte: {hits}")
    assert {"first look", "pass 1", "pass 2", "writing"} <= set(hits)


def test_counts_of_another_kind_are_another_job():
    """Of a file and of a store not one name is the same, so none is listed."""
    before, now = {"input": {"a.h5ad": "1 file"}}, {"input": {"counts": "9 files", "age": "1 file"}}
    assert differences(before, now) == ["input was another store or file"]
