"""What long work shows: on a terminal, in a log, in a notebook, on a cluster; and how an interrupt ends it."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import dask.array as da
import numpy as np
import pytest

import xdelnx as xd
from xdelnx import progress
from xdelnx.chunks import tasks, watching

BLOCKS = 8
SLOW = """
import time
import dask.array as da
import xdelnx as xd

def slowly(block):
    time.sleep(0.05)
    return block

def slow(ds):
    chunks = (ds.sizes["sample"], 50)
    return ds.assign(counts=ds["counts"].copy(data=da.from_array(ds["counts"].values, chunks).map_blocks(slowly)))
"""


def slowly(block):
    time.sleep(0.15)  # long beside what a busy machine takes to ask a cluster
    return block


@pytest.fixture
def slow(bulk):
    """Counts in blocks that take their time to be read."""
    array = da.from_array(bulk["counts"].values, (bulk.sizes["sample"], bulk.sizes["gene"] // BLOCKS))
    return bulk.assign(counts=bulk["counts"].copy(data=array.map_blocks(slowly)))


@pytest.fixture
def impatient(monkeypatch):
    """Show from the beginning, and often."""
    for name in ("PATIENCE", "REDRAW", "LINES"):
        monkeypatch.setattr(progress, name, 0.02)
    monkeypatch.setattr(progress, "SHARE", 0.0)
    monkeypatch.setattr(watching, "POLL", 0.02)


@pytest.fixture
def stages(monkeypatch):
    """The stages of passes, as they are when they are over."""
    seen = []
    plain = watching.stage

    @contextmanager
    def kept(what, total=0):
        with plain(what, total) as at:
            seen.append(at)
            yield at

    monkeypatch.setattr(watching, "stage", kept)
    monkeypatch.setattr(progress, "_screen", lambda *, wanted: progress.Log(io.StringIO()))
    return seen


@contextmanager
def terminal(monkeypatch):
    """A terminal as the error stream; call it for what was written since the last call."""
    ours, theirs = os.openpty()
    read = []

    def keep_reading():  # a terminal that nobody reads fills up
        with contextlib.suppress(OSError):  # the end
            while part := os.read(ours, 4096):
                read.append(part.decode())

    reader = threading.Thread(target=keep_reading)
    reader.start()

    def written():
        time.sleep(0.05)
        text = "".join(read)
        read.clear()
        return text

    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        yield written
    reader.join()
    os.close(ours)


def far(text, stage):
    """Numbers of blocks that a stage was shown at."""
    return [int(done) for done in re.findall(rf"{stage}: (\d+) of {BLOCKS} blocks", text)]


VERBS = {
    "fit": (lambda ds, fit: xd.fit(ds, "~ condition"), ["first look", "size factors", "pass 1", "pass 2"]),
    "replacing": (
        lambda ds, fit: xd.fit(ds, "~ condition", cooks="replace"),
        ["first look", "pass 1", "pass 2", "as replaced", "pass 1", "pass 2"],
    ),
    "global": (
        lambda ds, fit: xd.fit(ds, "~ condition", overdispersion="global"),
        ["first look", "pass 1", "overdispersion", "overdispersion", "pass 2"],
    ),
    "test": (lambda ds, fit: xd.test(ds, fit), ["testing"]),
    "covariance": (lambda ds, fit: xd.covariance(ds, fit), ["covariances"]),
    "residuals": (lambda ds, fit: xd.residuals(ds, fit), ["residuals"]),
    "goodness_of_fit": (lambda ds, fit: xd.goodness_of_fit(ds, fit), ["goodness"]),
    "predict": (lambda ds, fit: xd.predict(ds, fit), ["standard errors"]),
    "rank_genes": (lambda ds, fit: xd.rank_genes(ds, "batch"), ["first look", "ranking"]),
    "filter": (lambda ds, fit: xd.filter_by_expression(ds), ["first look", "filtering"]),
    "normalize": (lambda ds, fit: xd.normalize(ds), ["first look"]),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_block_of_every_pass_is_counted(bulk, stages, verb):
    call, passes = VERBS[verb]
    chunked = bulk.assign(counts=bulk["counts"].chunk(gene=bulk.sizes["gene"] // BLOCKS))
    fit = xd.fit(bulk, "~ condition")
    stages.clear()
    call(chunked, fit)
    counted = [at for at in stages if at.total >= BLOCKS]
    assert [at.done for at in counted] == [BLOCKS] * len(counted)
    assert all(at.done == at.total for at in stages)
    left = iter(at.what for at in stages)
    for name in passes:  # in this order, others between them
        assert any(name in what for what in left), (name, [at.what for at in stages])


def test_blocks_joined_a_few_at_a_time_are_counted_and_give_the_same(bulk, stages, monkeypatch):
    chunked = bulk.assign(counts=bulk["counts"].chunk(gene=bulk.sizes["gene"] // BLOCKS))
    plain = xd.fit(chunked, "~ condition")
    stages.clear()
    monkeypatch.setattr(tasks, "JOINED_AT_ONCE", 3)  # 8 blocks by 3 joins, and those by one
    fit = xd.fit(chunked, "~ condition")
    test = xd.test(chunked, fit)
    totals = [at.total for at in stages if "first look" in at.what or "testing" in at.what]
    assert totals == [BLOCKS, BLOCKS]
    np.testing.assert_array_equal(fit["stat"], plain["stat"])  # whole numbers add up in any order
    np.testing.assert_allclose(
        test["stat"], plain["stat"], rtol=1e-9, atol=1e-9
    )  # from the fit's end, not its start


def test_size_factors_and_stores_are_counted(bulk, stages, tmp_path):
    chunked = bulk.assign(counts=bulk["counts"].chunk(gene=bulk.sizes["gene"] // BLOCKS))
    for method in ("ratio", "tmm", "poscounts"):
        xd.size_factors(chunked, method=method)
    xd.convert(_anndata(bulk), tmp_path / "x.zarr")
    assert len(stages) >= 8
    assert all(at.done == at.total > 0 for at in stages)


def _anndata(ds):
    import anndata
    import pandas as pd

    obs = pd.DataFrame({"condition": ds["condition"].values}, ds["sample"].values)
    return anndata.AnnData(ds["counts"].values, obs, pd.DataFrame(index=ds["gene"].values))


def test_bar_on_a_terminal(slow, impatient, monkeypatch):
    with terminal(monkeypatch) as written:
        xd.fit(slow, "~ condition")
        shown = written()
    for stage in ("first look at the counts", "fit, pass 1 of 2", "fit, pass 2 of 2"):
        numbers = far(shown, stage)
        assert numbers == sorted(numbers)
        assert any(0 < done < BLOCKS for done in numbers)
    assert re.search(r"\[#+\.+\] +\d+% fit, pass 1 of 2: \d of 8 blocks, [\d.]+ blocks/s, \d s left", shown)
    assert "\n" not in shown
    assert re.search(r"\r +\r$", shown)  # and nothing of it stays


def test_a_narrow_terminal_is_not_wrapped(slow, impatient, monkeypatch):
    monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda: os.terminal_size((40, 20)))
    with terminal(monkeypatch) as written:
        xd.fit(slow, "~ condition")
        assert max(map(len, written().split("\r"))) == 39


def test_who_sees_it(slow, impatient, monkeypatch):
    with terminal(monkeypatch) as written:
        xd.fit(slow, "~ condition", progress=False)
        assert written() == ""
        monkeypatch.setenv("TERM", "dumb")
        xd.fit(slow, "~ condition")
        assert written() == ""
        xd.fit(slow, "~ condition", progress=True)
        assert "xdelnx: fit, pass 1 of 2: " in written()


def test_a_quick_verb_shows_nothing(bulk, monkeypatch):
    with terminal(monkeypatch) as written:
        xd.size_factors(bulk)
        assert written() == ""


def test_a_line_takes_the_place_of_the_bar(slow, impatient, monkeypatch):
    from xdelnx.cli.jobs import say

    with terminal(monkeypatch) as written, progress.report("fit", wanted=True):
        time.sleep(0.2)
        say("warning: look at this")
        shown = written()
    assert re.search(r"\r +\rxdelnx: warning: look at this\r\n", shown)


def test_lines_in_a_log(slow, impatient, capsys):
    xd.fit(slow, "~ condition")
    assert capsys.readouterr().err == ""  # nobody watches a script
    xd.fit(slow, "~ condition", progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("xdelnx: ") for line in lines)
    assert any(re.search(r"pass 2 of 2: \d of 8 blocks, [\d.]+ blocks/s, \d s left$", line) for line in lines)


def test_lines_become_rarer():
    log = progress.Log(io.StringIO())
    assert [log.pause(t) for t in (0.0, 60.0, 600.0, 86_400.0)] == [5.0, 5.0, 30.0, 60.0]


def test_one_report_at_a_time(slow, impatient, capsys):
    """What a verb calls reports to that verb's screen, and keeps silent where it does."""
    slow = slow.assign(kind=("sample", np.repeat(["a", "b"], slow.sizes["sample"] // 2)))
    xd.fit(slow, "~ batch", by="kind", progress=False)
    assert capsys.readouterr().err == ""


def test_a_fit_of_groups_says_which(slow, impatient, capsys):
    slow = slow.assign(kind=("sample", np.repeat(["a", "b"], slow.sizes["sample"] // 2)))
    xd.fit(slow, "~ batch", by="kind", progress=True)
    shown = capsys.readouterr().err
    assert "xdelnx: a (1 of 2), fit, pass 1 of 2: " in shown
    assert "xdelnx: b (2 of 2), fit, pass 2 of 2: " in shown


def test_misuse(bulk):
    with pytest.raises(TypeError, match=r"progress is True, False or None .*, received 'yes'"):
        xd.fit(bulk, "~ condition", progress="yes")


def test_the_step_across_genes_is_named(bulk, impatient, capsys, monkeypatch):
    from xdelnx.steps import gathered

    plain = gathered.across_genes
    monkeypatch.setattr(gathered, "across_genes", lambda *a: (time.sleep(0.2), plain(*a))[1])
    xd.fit(bulk, "~ condition", progress=True)
    assert "xdelnx: trend and prior, of all genes: 0 s" in capsys.readouterr().err


def test_compiling_is_told_as_long_as_it_lasts(impatient, capsys):
    """Also of kernels that a kernel calls, which end before it; machine code that is there is not compiled."""
    import numba
    from numba.core import event

    @numba.njit
    def inner(x):
        return x + 1

    @numba.njit
    def outer(x):
        return 2 * inner(x)

    after_inner = []

    class Slow(event.Listener):
        def on_start(self, _):
            time.sleep(0.1)

        def on_end(self, compiled):
            after_inner.append(compiled.data["dispatcher"] is inner)
            time.sleep(0.1)
            shown.append(capsys.readouterr().err.splitlines()[-1])

    shown = []
    with progress.report("fit", wanted=True), progress.stage("fit, pass 1 of 2", 8) as at:
        with event.install_listener("numba:compile", Slow()):
            assert outer(1) == 4
        assert at.aside == ""
        capsys.readouterr()
        assert outer(2) == 6
        time.sleep(0.1)
        compiled = capsys.readouterr().err
    assert after_inner == [True, False]
    assert "fit, pass 1 of 2: 0 of 8 blocks, 0 s, compiling kernels (once per installation)" in shown[0]
    assert "fit, pass 1 of 2: 0 of 8 blocks" in compiled
    assert "compiling" not in compiled


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as made:
        yield made


def test_on_a_cluster(slow, impatient, capsys, cluster):
    from distributed import Client

    with Client(cluster):
        xd.fit(slow, "~ condition", progress=True)
    shown = capsys.readouterr().err
    for stage in ("first look at the counts", "fit, pass 1 of 2", "fit, pass 2 of 2"):
        assert any(0 < done < BLOCKS for done in far(shown, stage)), shown


def test_a_cluster_without_workers_is_waited_for(slow, impatient, capsys):
    """As one whose workers have died, or that is about to grow: the fit says so, and goes on when one comes."""
    distributed = pytest.importorskip("distributed")
    none = {"n_workers": 0, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**none) as cluster, distributed.Client(cluster):
        later = threading.Timer(3.0, cluster.scale, [1])
        later.start()
        assert xd.fit(slow, "~ condition", progress=True).sizes["contrast"] == 1
        later.join()
    shown = capsys.readouterr().err
    assert "first look at the counts" in shown
    assert "waiting for workers, of which the cluster has none" in shown


def test_a_cluster_that_answers_no_questions_still_computes(slow, impatient, cluster, monkeypatch):
    from distributed import Client

    def refuse(*_, **__):
        raise OSError

    with Client(cluster) as client:
        monkeypatch.setattr(client, "run_on_scheduler", refuse)
        assert xd.fit(slow, "~ condition", progress=True).sizes["contrast"] == 1


def test_in_a_notebook():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    states = []

    class Watched(nbclient.NotebookClient):
        def process_message(self, msg, *args):
            if msg["msg_type"] in ("display_data", "update_display_data", "stream"):
                states.append(msg["content"].get("data", msg["content"]).get("text/plain"))
            return super().process_message(msg, *args)

    cells = [SLOW, "import xdelnx.progress as p; p.PATIENCE = p.REDRAW = 0.02"]
    cells += ["xd.fit(slow(xd.simulate(16, 400, seed=3)), '~condition');"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    Watched(notebook, timeout=120, kernel_name="python3").execute()
    assert any(0 < done < BLOCKS for done in far("\n".join(map(str, states)), "fit, pass 1 of 2")), states
    (left,) = notebook.cells[2]["outputs"]
    assert re.fullmatch(r"fit: \d+ s", left["data"]["text/plain"])


# ---- interrupted -------------------------------------------------------------------------------------------


def interrupted(arguments, ready):
    """Exit status and error lines of a command that gets Ctrl-C once it is at work."""
    command = [sys.executable, "-m", "xdelnx", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as job:
        while not ready():
            assert job.poll() is None, job.stderr.read()
            time.sleep(0.05)
        os.killpg(job.pid, signal.SIGINT)
        _, err = job.communicate(timeout=60)
    return job.returncode, err.splitlines()


def test_an_interrupt_stops_threads(tmp_path):
    arguments = ["simulate", str(tmp_path / "x.zarr"), "--n-samples", "500", "--n-genes", "500000"]
    status, lines = interrupted(
        [*arguments, "--chunks", "512"],
        lambda: any(path.is_file() for path in tmp_path.rglob("counts/c/**/*")),
    )
    assert status == 130
    assert lines[-1] == "xdelnx: interrupted; no output was written"
    assert not any("Traceback" in line for line in lines)
    assert os.listdir(tmp_path) == []


def test_an_interrupt_cancels_the_tasks_of_a_cluster(tmp_path):
    distributed = pytest.importorskip("distributed")
    arguments = ["simulate", str(tmp_path / "x.zarr"), "--n-samples", "500", "--n-genes", "500000"]
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        tasks = cluster.scheduler.tasks
        status, lines = interrupted(
            [*arguments, "--chunks", "512", "--scheduler", cluster.scheduler_address],
            lambda: any(path.is_file() for path in tmp_path.rglob("counts/c/**/*")),
        )
        assert status == 130
        assert lines[-1] == "xdelnx: interrupted; no output was written"
        deadline = time.monotonic() + 30
        while tasks and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not tasks
