"""Hostile files and words: every command and every public function refuses in words, in time, and writes nothing else.

Public functions are found by their signatures, so that new ones are met, too: arguments without a default get data, a
fit and so on by their names; one or two of all arguments are then replaced by something hostile.
"""

import faulthandler
import inspect
import os
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import xdelnx as xd
from xdelnx.cli import main
from xdelnx.storage.stores import open_counts, write_store

SECONDS = 120
DS = xd.simulate(10, 40, n_batches=2, covariate="age", seed=1)
FIT = xd.fit(DS, "~ batch + condition")
GOOD = {
    "data": DS,
    "fit": FIT,
    "result": FIT,
    "by": "batch",
    "design": "~ condition",
    "lengths": np.ones((10, 40)),
}
HOSTILE = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    10,
    2**31,
    2**53,
    2**63,
    10**30,
    0.5,
    -0.5,
    1e-300,
    1e300,
    float("nan"),
    float("inf"),
    1j,
    "",
    "x",
    "batch",
    "condition",
    "~ batch",
    "~ {1}",
    "\u00fc\u4e2d\U0001f9ec",
    "\ud800",
    "a/b/../c",
    "x" * 5000,
    "\0",
    b"x",
    [],
    [None],
    ["batch"],
    ["g1", "g1"],
    ["g1", "nothing"],
    [1, 2],
    (),
    {},
    {"a": 1},
    {1: 2},
    set(),
    object(),
    len,
    int,
    np.array(3),
    np.zeros(0),
    np.zeros((0, 0)),
    np.ones(10),
    np.ones(40),
    np.full(10, np.nan),
    np.ones((2, 2, 2)),
    np.array(["a"]),
    np.array([object()]),
    np.datetime64("2020"),
    pd.DataFrame(),
    pd.DataFrame({"batch": ["batch1"], "condition": ["A"]}),
    pd.Series(dtype=float),
    pd.Index([]),
    xr.Dataset(),
    xr.DataArray(np.ones(10), dims="sample"),
    xr.DataArray(3),
    DS,
    FIT,
    DS.isel(gene=[]),
    DS.isel(sample=[0]),
    DS.drop_vars(["sample", "gene"]),
    FIT.drop_attrs(),
    FIT.isel(gene=[0]),
    Path("."),
    Path("nothing"),
    range(5),
    iter([1]),
    slice(None),
    type,
    ...,
    np.float32(2),
    np.int8(3),
    "g1",
    "last",
    "bh",
]
VERBS = {name: getattr(xd, name) for name in xd.__all__ if inspect.isfunction(getattr(xd, name))}
SIZES = {
    "n_samples",
    "n_genes",
    "n_batches",
    "chunks",
}  # of simulate: a large one is a wish, and takes memory
UNIT = ("pval", "padj", "s_value", "auroc", "fraction", "fraction_reference", "deviance_pval", "pearson_pval")


def arguments(name):
    """Strategy of hostile keyword arguments of a public function."""
    parameters = [p for p in inspect.signature(VERBS[name]).parameters if p not in ("store", "path")]
    one = st.tuples(st.sampled_from(parameters), st.sampled_from(range(len(HOSTILE))))
    return st.tuples(st.just(name), st.lists(one, min_size=1, max_size=2))


CALLS = st.sampled_from(sorted(VERBS)).flatmap(arguments)


def check_refusal(error):
    assert isinstance(error, ValueError | TypeError | OSError | ImportError), repr(error)
    assert any("/xdelnx/" in frame.filename for frame in traceback.extract_tb(error.__traceback__))
    words = str(error)
    assert 10 < len(words) < 20_000
    assert not any(noise in words for noise in ("Traceback", "site-packages")), words


def check_answer(found):
    for name, values in found.data_vars.items() if isinstance(found, xr.Dataset) else ():
        if name in UNIT:
            values = values.values[~np.isnan(values.values)]
            assert ((values >= 0) & (values <= 1)).all(), name


def call(case, folder, figures):
    """One call: refused in words, or answered; nothing is written but the store that was asked for."""
    name, hostile = case
    verb = VERBS[name]
    given = {
        p: GOOD[p] for p in inspect.signature(verb).parameters if p in GOOD and name != "filter_by_expression"
    }
    given |= {"data": DS} if name == "filter_by_expression" else {}
    given |= {p: HOSTILE[i] for p, i in hostile}
    if "store" in inspect.signature(verb).parameters:
        given["store"] = folder / "out.zarr"
    if "path" in inspect.signature(verb).parameters:
        given["path"] = folder / "out.html"
    if name == "simulate":
        given = {p: min(v, 9) if p in SIZES and isinstance(v, int | float) else v for p, v in given.items()}
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xd.XdelnxWarning)
            found = verb(**given)
            check_answer(found.compute() if hasattr(found, "compute") else found)
            figures["answered"] += 1
    except Exception as error:
        if isinstance(error, AssertionError):
            raise
        figures["refused"] += 1
        if not (isinstance(error, TypeError) and "required" in str(error)):  # an argument that has no default
            check_refusal(error)
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert set(os.listdir(folder)) <= {"out.zarr", "out.html"}


# ---------------------------------------------------------------- files


def garbage(kind, path, rng):
    """Something that is no store, table or AnnData, at a path."""
    raw = rng.integers(0, 256, 3000, dtype=np.uint8).tobytes()
    head = {
        ".h5ad": b"\x89HDF\r\n\x1a\n",
        ".gz": b"\x1f\x8b\x08",
        ".csv": b"gene,a,b\n",
        ".mtx": b"%%MatrixMarket matrix",
    }
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "random":
        path.write_bytes(raw)
    elif kind == "begun":
        path.write_bytes(head.get(path.suffix, b"{") + raw)
    elif kind == "folder":
        path.mkdir()
    elif kind == "broken link":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "random store":
        path.mkdir()
        (path / "zarr.json").write_bytes(raw)
    elif kind == "empty store":
        path.mkdir()
        (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    elif kind == "no store":
        path.mkdir()
        (path / "zarr.json").write_text('{"zarr_format": 99, "node_type": "group"}')


KINDS = [
    "empty",
    "random",
    "begun",
    "folder",
    "broken link",
    "loop",
    "random store",
    "empty store",
    "no store",
]
NAMES = [
    "in.zarr",
    "in.h5ad",
    "in.csv",
    "in.tsv.gz",
    "in.h5",
    "in.mtx",
    "in \u00fc\u4e2d's.zarr",
    "in",
    "-in.zarr",
]


@pytest.fixture
def fits(tmp_path, monkeypatch):
    """A folder with good counts and a good fit, as the current one."""
    monkeypatch.chdir(tmp_path)
    write_store(DS, "counts.zarr")
    write_store(FIT, "fit.zarr")
    return tmp_path


def commands(path):
    """Each command with this as its input."""
    yield ["convert", path, "out.zarr"]
    for verb, *more in (
        ["fit", "--design", "~ condition"],
        ["pseudobulk", "--by", "batch"],
        ["rank-genes", "--by", "batch"],
    ):
        yield [verb, path, "out.zarr", *more]
    yield ["filter-by-expression", path, "out.zarr"]
    for verb in ("test", "covariance"):
        yield [verb, "counts.zarr", path, "out.zarr"]
        yield [verb, path, "fit.zarr", "out.zarr"]
    yield ["shrink-lfc", path, "out.zarr"]
    yield ["convert", "counts.csv", "out.zarr", "--samples", path]


@pytest.mark.parametrize("kind", KINDS)
def test_commands_refuse_what_is_no_store(kind, fits, capsys):
    rng = np.random.default_rng(1)
    for name in NAMES if kind in ("random", "begun") else NAMES[:3]:
        path = fits / name
        garbage(kind, path, rng)
        before = sorted(os.listdir())
        for command in commands(f"./{name}"):
            assert main(command) in (1, 2)
            last = capsys.readouterr().err.strip().splitlines()[-1]
            assert len(last) > 15
            assert not any(noise in last for noise in ("--debug shows", "Traceback", "site-packages")), (
                command,
                last,
            )
            assert sorted(os.listdir()) == before, command
        path.rmdir() if path.is_dir() and not any(path.iterdir()) else None
        if path.is_dir() and not path.is_symlink():
            (path / "zarr.json").unlink()
            path.rmdir()
        path.unlink(missing_ok=True)


def test_missing_chunks_are_not_zeros_silently(fits, capsys):
    """As Zarr would take them; how they are told is in test_missing_chunks."""
    chunk = sorted(p for p in Path("counts.zarr/counts/c").rglob("*") if p.is_file())[0]
    chunk.unlink()
    assert main(["test", "counts.zarr", "fit.zarr", "out.zarr"]) == 1
    assert "chunk c/0/0, is missing" in capsys.readouterr().err
    assert not Path("out.zarr").exists()


def test_links_are_followed_and_stay(fits, capsys):
    """As input, as output, and inside of a store that is replaced."""
    Path("elsewhere").mkdir()
    Path("elsewhere/precious.txt").write_text("x")
    Path("link.zarr").symlink_to("counts.zarr")
    Path("out.zarr").symlink_to("elsewhere/real.zarr")
    assert main(["fit", "link.zarr", "out.zarr", "--design", "~ condition"]) == 0
    assert Path("out.zarr").is_symlink()
    assert sorted(os.listdir("elsewhere")) == ["precious.txt", "real.zarr"]
    (Path("elsewhere/real.zarr") / "inside").symlink_to("../../elsewhere")
    assert main(["fit", "link.zarr", "out.zarr", "--design", "~ condition", "--overwrite"]) == 0
    assert sorted(os.listdir("elsewhere")) == ["precious.txt", "real.zarr"]
    for output in (
        "link.zarr",
        "counts.zarr",
        "./counts.zarr/../counts.zarr",
        "counts.zarr/inside.zarr",
        ".",
    ):
        assert main(["fit", "link.zarr", output, "--design", "~ condition", "--overwrite"]) == 1
    capsys.readouterr()
    xr.testing.assert_identical(open_counts("counts.zarr").load(), DS)


@pytest.mark.parametrize(
    "name",
    ["a b.zarr", "\u00fc\u4e2d\U0001f9ec.zarr", "'\"$(touch x);.zarr", "#%?.zarr", "a\nb.zarr", "d/e/f.zarr"],
)
def test_outputs_may_be_called_anything(name, fits):
    before, counts = sorted(os.listdir()), f"of {name}"
    assert main(["convert", "counts.zarr", counts]) == 0
    for _ in range(2):  # the second time it is found to be done
        assert main(["fit", counts, name, "--design", "~ condition"]) == 0
    assert sorted(os.listdir()) == sorted([*before, *(path.split("/")[0] for path in (counts, name))])
    assert main(["test", counts, name, "test.zarr"]) == 0


@pytest.mark.parametrize(
    "name", ["x" * 300 + ".zarr", "a\0b.zarr", "", "https://example.org/x.zarr", "/proc/nothing/x.zarr"]
)
def test_outputs_that_cannot_be(name, fits, capsys):
    before = sorted(os.listdir())
    assert main(["fit", "counts.zarr", name, "--design", "~ condition"]) == 1
    assert "--debug shows" not in capsys.readouterr().err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("form", ["short", pytest.param("full", marks=pytest.mark.stress)])
def test_hostile_arguments(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    n = 150 if form == "short" else 3000
    decorate = settings(max_examples=n, suppress_health_check=list(HealthCheck), print_blob=True)
    figures, seen = Counter(), set()

    def examine(case):
        seen.add(repr(case))
        call(case, tmp_path, figures)

    seed(3)(decorate(given(CALLS)(examine)))()
    print(f"\n{len(seen)} different hostile calls of {len(VERBS)} functions: {dict(figures)}")
    assert len(seen) > 0.8 * n


@pytest.mark.stress
def test_a_million_genes():
    """5 samples x 1,000,000 genes: one fit, in a time that is bounded by pytest's patience alone."""
    ds = xd.simulate(6, 1_000_000, seed=1, chunks=50_000)
    fit = xd.fit(ds.isel(sample=slice(0, 5)), "~ condition")
    assert fit.sizes["gene"] == 1_000_000
    assert np.isfinite(fit["pval"].values[0, fit["status"].values == 0]).all()
