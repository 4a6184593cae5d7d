"""Counts and results on an object store: a local server of S3's protocol, which fails now and then."""

import contextlib
import re
import shutil
import socket
import time
from pathlib import Path

import dask
import fsspec
import pytest
import scipy.sparse as sp
import xarray as xr

import xdelnx as xd
from xdelnx.chunks import reading
from xdelnx.cli import main
from xdelnx.storage.remote import is_url, local_name
from xdelnx.storage.stores import open_result, write_store
from xdelnx.storage.unfinished import folder_of

moto = pytest.importorskip("moto.server", reason="needs moto[server] and s3fs, of the extra dev")
s3fs = pytest.importorskip("s3fs", reason="needs moto[server] and s3fs, of the extra dev")

FORMULA = "~ condition"
FIT = ["fit", "s3://lab/counts.zarr", "s3://lab/fit.zarr", "--design", FORMULA]
PATIENCE = 2.0  # seconds that a client waits for an answer which does not come


class Failing:
    """A server that may fail at a request before it looks at it."""

    def __init__(self, app):
        self.app, self.fail = app, None

    def __call__(self, environ, start_response):
        how = self.fail(environ["REQUEST_METHOD"], environ["PATH_INFO"]) if self.fail else None
        if how == "reset":
            with contextlib.suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if how == "slow":
            time.sleep(1.5 * PATIENCE)
        if how in ("500", "503"):
            start_response(f"{how} failed", [("Content-Length", "0")])
            return [b""]
        return self.app(environ, start_response)


@pytest.fixture(scope="module")
def server():
    found = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    found.start()
    host, port = found.get_host_and_port()
    app = found._server.app = Failing(found._server.app)
    before = dict(fsspec.config.conf)
    fsspec.config.conf["s3"] = {
        "endpoint_url": f"http://{host}:{port}",
        "key": "key",
        "secret": "secret",
        "client_kwargs": {"region_name": "eu-west-1"},
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    yield app
    fsspec.config.conf.clear()
    fsspec.config.conf.update(before)
    found.stop()


@pytest.fixture
def s3(server, tmp_path, monkeypatch):
    """The server, with an empty bucket and a store of counts in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    server.fail = None
    files = fsspec.filesystem("s3")
    if files.exists("lab"):
        files.rm("lab", recursive=True)
    files.mkdir("lab")
    write_store(counts(), "s3://lab/counts.zarr")
    with dask.config.set(scheduler="threads"):
        yield server
    server.fail = None


def counts():
    return xd.simulate(8, 312, seed=2)  # in 16 chunks of 20


def at_first(times, how, part="counts.zarr/counts/c/", method="GET"):
    """Fail at the first requests for each object of which the path has this part."""
    asked = {}

    def fail(verb, path):
        if verb != method or part not in path:
            return None
        asked[path] = asked.get(path, 0) + 1
        return how if asked[path] <= times else None

    fail.asked = asked
    return fail


def test_counts_and_fits_at_urls(s3):
    assert xd.open_counts("s3://lab/counts.zarr")["counts"].chunks is not None
    found = xd.fit("s3://lab/counts.zarr", FORMULA)
    xr.testing.assert_equal(found, xd.fit(counts(), FORMULA))
    assert main([*FIT, "--table", "s3://lab/genes.csv"]) == 0
    xr.testing.assert_equal(open_result("s3://lab/fit.zarr"), found)
    assert fsspec.filesystem("s3").cat("lab/genes.csv").startswith(b"feature,")
    assert main(["test", "s3://lab/counts.zarr", "s3://lab/fit.zarr", "s3://lab/test.zarr"]) == 0
    assert "pval" in open_result("s3://lab/test.zarr", needed=("pval",))
    assert main(["convert", "s3://lab/counts.zarr", "s3://lab/again.zarr"]) == 0
    xr.testing.assert_equal(
        xd.open_counts("s3://lab/again.zarr").load(), xd.open_counts("s3://lab/counts.zarr").load()
    )
    assert not list(Path().iterdir())


def test_what_is_there_is_known(s3, capsys):
    assert main(FIT) == 0
    capsys.readouterr()
    assert main(FIT) == 0
    assert "s3://lab/fit.zarr is complete already" in capsys.readouterr().err
    assert main([*FIT, "--robust"]) == 1
    assert "is the fit of another job: option robust" in capsys.readouterr().err
    assert main([*FIT, "--robust", "--overwrite"]) == 0
    assert '"robust": true' in open_result("s3://lab/fit.zarr").attrs["options"]
    assert (
        main(["fit", "s3://lab/counts.zarr", "s3://lab/counts.zarr", "--design", FORMULA, "--overwrite"]) == 1
    )
    assert "is also an input" in capsys.readouterr().err
    fsspec.filesystem("s3").pipe("lab/notes/readme.txt", b"mine")
    assert main(["fit", "s3://lab/counts.zarr", "s3://lab/notes", "--design", FORMULA, "--overwrite"]) == 1
    assert "is a folder but not a Zarr store" in capsys.readouterr().err
    with pytest.raises(FileExistsError, match="exists already"):
        write_store(counts(), "s3://lab/counts.zarr")


@pytest.mark.parametrize("how", ["reset", "500", "503", "slow"])
def test_reads_that_fail_at_first(s3, how, monkeypatch):
    if how == "slow":
        config = {"retries": {"max_attempts": 0}, "read_timeout": PATIENCE}
        monkeypatch.setitem(fsspec.config.conf["s3"], "config_kwargs", config)
    s3.fail = at_first(2, how, part="counts/c/0/3" if how == "slow" else "counts/c/0/")
    found = xd.fit(xd.open_counts("s3://lab/counts.zarr"), FORMULA)
    assert max(s3.fail.asked.values()) > 3
    xr.testing.assert_equal(found, xd.fit(counts(), FORMULA))


def test_writes_that_fail_at_first(s3):
    s3.fail = at_first(2, "500", "fit.zarr/", "PUT")
    assert main(FIT) == 0
    assert max(s3.fail.asked.values()) == 3
    xr.testing.assert_equal(open_result("s3://lab/fit.zarr"), xd.fit(counts(), FORMULA))


def test_a_store_that_is_gone_for_good(s3, capsys):
    """The command ends in words, and goes on when it is back; the result is the same."""
    assert main(FIT) == 0
    expected = open_result("s3://lab/fit.zarr")
    fsspec.filesystem("s3").rm("lab/fit.zarr", recursive=True)
    s3.fail = at_first(10**9, "500", "counts/c/0/9")
    capsys.readouterr()
    assert main([*FIT, "--scheduler", "synchronous"]) == 1
    said = capsys.readouterr().err
    assert "s3://lab/counts.zarr/counts did not answer in 3 tries" in said
    assert "(genes " in said
    assert "the same command goes on from there" in said
    assert list(folder_of("s3://lab/fit.zarr").glob("*.npz"))
    s3.fail = None
    assert main(FIT) == 0
    assert "going on with the fit" in capsys.readouterr().err
    xr.testing.assert_identical(open_result("s3://lab/fit.zarr"), expected)
    assert not list(Path().iterdir())


def test_an_output_that_cannot_be_written(s3, capsys):
    """What was copied of it is removed, and the job is kept."""
    s3.fail = at_first(10**9, "500", "fit.zarr/pval", "PUT")
    assert main(FIT) == 1
    said = capsys.readouterr().err
    assert "s3://lab/fit.zarr did not answer in 3 tries" in said
    assert "the same command goes on from there" in said
    fsspec.filesystem("s3").invalidate_cache()
    assert not fsspec.filesystem("s3").exists("lab/fit.zarr")
    s3.fail = None
    assert main(FIT) == 0
    assert "going on with the fit" in capsys.readouterr().err


def test_a_server_that_is_down_is_no_store_that_is_none(s3, capsys):
    s3.fail = lambda method, path: "500"
    with pytest.raises(OSError, match=r"counts\.zarr did not answer in 3 tries"):
        xd.open_counts("s3://lab/counts.zarr")
    assert main(FIT) == 1
    assert "did not answer in 3 tries" in capsys.readouterr().err
    s3.fail = None
    with pytest.raises(ValueError, match="is not a Zarr store"):
        xd.open_counts("s3://lab/nothing.zarr")


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("form", ["xarray", "csr", "dense"])
def test_conversions(s3, capsys, form):
    """A server that fails now and then is asked again, and one that does not answer is no damaged file."""
    part = put_source(form)
    convert = ["convert", "s3://lab/source.zarr", "s3://lab/again.zarr", "--overwrite"]
    s3.fail = at_first(2, "500", part)
    assert main(convert) == 0
    assert max(s3.fail.asked.values()) >= 3
    xr.testing.assert_equal(xd.open_counts("s3://lab/again.zarr")["counts"].load(), counts()["counts"])
    s3.fail = at_first(10**9, "reset", part)
    capsys.readouterr()
    assert main(convert) == 1
    said = capsys.readouterr().err
    assert "did not answer in 3 tries" in said
    assert "damaged" not in said
    s3.fail = None
    files = fsspec.filesystem("s3").find("lab/source.zarr")
    (labels,) = (
        path for path in files if re.search("condition/(codes/)?(c/)?0$", path)
    )  # AnnData of any age
    s3.fail = at_first(2, "503", labels)
    assert main(convert) == 0
    assert max(s3.fail.asked.values()) >= 3


def put_source(form):
    """Put counts on the server in another form; give the part of the paths that its numbers are at."""
    data, files = counts(), fsspec.filesystem("s3")
    if form == "xarray":
        write_store(data, "s3://lab/source.zarr")
        return "source.zarr/counts/c/"
    anndata = pytest.importorskip("anndata")
    matrix = sp.csr_matrix(data["counts"].values) if form == "csr" else data["counts"].values
    made = anndata.AnnData(matrix, obs=data[["condition"]].to_dataframe())
    made.obs_names, made.var_names = data["sample"].values, data["gene"].values
    made.write_zarr("source.zarr")
    files.put("source.zarr", "lab/source.zarr", recursive=True)
    shutil.rmtree("source.zarr")
    return "source.zarr/X/data" if form == "csr" else "source.zarr/X/"


def test_a_missing_chunk_of_an_object_store(s3):
    fsspec.filesystem("s3").rm("lab/counts.zarr/counts/c/0/2")
    with pytest.raises(OSError, match=r"chunk c/0/2, is missing; .*genes g40 to g59, 20 of them"):
        xd.fit("s3://lab/counts.zarr", FORMULA)
    with pytest.warns(xd.XdelnxWarning, match="20 genes of 312"):
        xd.fit("s3://lab/counts.zarr", FORMULA, skip_corrupt=True)


def test_names():
    assert is_url("s3://lab/fit.zarr")
    assert not is_url(Path("fit.zarr"))
    assert local_name("s3://lab/fit.zarr/").startswith("fit.zarr-")
    assert local_name("s3://lab/fit.zarr") != local_name("s3://other/fit.zarr")
