"""`xdelnx doctor`: what works, what does not, and that it says so without optional packages."""

import subprocess
import sys
from importlib import metadata

import pytest

from xdelnx.cli import health, main


def test_all_works(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert all(topic in printed for topic in ("Packages", "Machine", "Scheduler", "Kernels"))
    assert f"numpy {metadata.version('numpy')}\n" in printed
    assert "from its closed form\n" in printed
    assert "a small fit ran" in printed
    assert "!" not in printed
    assert printed.endswith("All works.\n")


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"zarr": None}, ["! zarr: not installed", "pip install 'zarr>="]),
        ({"numpy": "1.20.0"}, ["! numpy 1.20.0: needs >=", "pip install 'numpy>="]),
    ],
)
def test_a_package_that_is_missing_or_old(versions, words, capsys, monkeypatch):
    found = health._version
    monkeypatch.setattr(health, "_version", lambda name: versions.get(name, found(name)))
    monkeypatch.setattr(health, "kernels", lambda: iter(()))
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert all(word in out for word in words)
    assert "1 problem, marked ! above" in err


def test_wrong_numbers_are_a_problem(capsys, monkeypatch):
    monkeypatch.setattr(health, "_poisson_test_is_off_by", lambda: float("nan"))
    assert main(["doctor"]) == 1
    assert "cannot be relied on" in capsys.readouterr().out


def test_what_fails_is_a_finding(capsys, monkeypatch):
    def nothing_works():
        msg = "no compiler"
        raise RuntimeError(msg)

    monkeypatch.setattr(health, "_poisson_test_is_off_by", nothing_works)
    assert main(["doctor"]) == 1
    assert "! RuntimeError: no compiler" in capsys.readouterr().out


def test_a_scheduler_that_does_not_answer(capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("xdelnx.cli.jobs.CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(health, "kernels", lambda: iter(()))
    assert main(["doctor", "--scheduler", "tcp://127.0.0.1:9"]) == 1
    assert "! ConnectionError: no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().out


def test_without_optional_packages():
    """None of them can be imported, and none of them is installed, as far as it can tell."""
    code = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("anndata", "matplotlib", "distributed", "cupy", "psutil"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
from xdelnx.cli import health, main
found = health._version
health._version = lambda name: None if name in ("anndata", "matplotlib", "distributed") else found(name)
sys.exit(main(["doctor"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not installed: anndata\n      for AnnData files: pip install 'xdelnx[anndata]'" in done.stdout


def test_it_takes_no_options_that_do_nothing(capsys):
    assert main(["doctor", "--overwrite"]) == 2
    assert main(["doctor", "--no-progress"]) == 2
