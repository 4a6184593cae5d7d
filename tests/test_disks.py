"""A full disk: which one it is, that nothing half-written stays, and that the same command ends well afterwards."""

import errno
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import xarray as xr

import xdelnx as xd
from xdelnx.chunks.disks import full_disk_told
from xdelnx.cli import main
from xdelnx.storage.outputs import replacing
from xdelnx.storage.stores import open_lazily, write_store
from xdelnx.storage.unfinished import folder_of


@pytest.fixture
def counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "counts.zarr", "--n-samples", "10", "--n-genes", "3000"]) == 0
    return "counts.zarr"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_the_disk_is_named_and_nothing_stays(tmp_path, code):
    target = tmp_path / "new" / "table.csv"
    words = rf"the disk of {tmp_path}/new is full.*free now, and 5 MB at most"
    with (
        pytest.raises(OSError, match=words) as caught,
        replacing(target, table=True, needed=5_000_000) as half,
    ):
        fill(half, code)
    assert caught.value.errno == code
    assert not list(target.parent.iterdir())


def fill(path, code):
    path.write_text("half")
    raise OSError(code, os.strerror(code))


def test_other_errors_are_left_alone(tmp_path):
    with pytest.raises(PermissionError, match=r"^\[Errno 13\] no$"), full_disk_told(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_a_store_that_does_not_fit_says_how_much_it_needs(tmp_path, monkeypatch):
    from zarr.storage import LocalStore

    async def full(*_arguments, **_named):
        raise OSError(errno.ENOSPC, "No space left on device")

    data = xd.simulate(n_samples=6, n_genes=50)
    monkeypatch.setattr(LocalStore, "set", full)
    with pytest.raises(OSError, match=r"MB are free now, and 0\.\d+ MB at most are needed"):
        write_store(data, tmp_path / "out.zarr")
    assert not list(tmp_path.iterdir())


@contextmanager
def small_disk(path, size):
    """A disk of that size in memory, which the body may make larger."""
    path.mkdir()
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("making a small disk takes root, and mount")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True)
    if made.returncode:
        pytest.skip(f"no small disk can be made here: {made.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def left_after(seconds, folder):
    """Half-written results in a folder, after that time at most: another thread may be at one still."""
    end = time.monotonic() + seconds
    while (left := sorted(folder.glob(".*"))) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def enlarge(path, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", path], check=True)


@pytest.mark.parametrize("size", ["64k", "256k", "640k", "1m"])
def test_a_fit_whose_disk_is_full_goes_on_when_there_is_room(counts, tmp_path, capsys, size):
    """Full at the first results of blocks, later ones, or the store itself."""
    command = ["fit", counts, "disk/fit.zarr", "--design", "~ condition"]
    with small_disk(tmp_path / "disk", size):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert f"the disk of {tmp_path}/disk" in said
        assert "the same command goes on from there" in said
        assert os.listdir("disk") == [".fit.zarr.unfinished"]
        assert not left_after(60, folder_of("disk/fit.zarr"))
        enlarge("disk", "64m")
        assert main(command) == 0
        assert "going on with the fit" in capsys.readouterr().err
        xr.testing.assert_equal(
            xd.fit(xd.open_counts(counts), "~ condition"), open_lazily("disk/fit.zarr").load()
        )


def test_a_conversion_whose_disk_is_full_ends_well_afterwards(counts, tmp_path):
    with small_disk(tmp_path / "disk", "32k"):
        # a process of its own: threads that still write as it fails are over when it has ended
        command = [sys.executable, "-m", "xdelnx", "convert", counts, "disk/out.zarr"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        assert f"the disk of {tmp_path}/disk is full" in ended.stderr
        assert not os.listdir("disk")
        enlarge("disk", "64m")
        assert main(["convert", counts, "disk/out.zarr"]) == 0
        assert Path("disk/out.zarr").is_dir()
        there, given = (open_lazily(path)["counts"].values for path in ("disk/out.zarr", counts))
        assert (there == given).all()
