"""The command line: options named as the arguments, whole outputs or none, exit status 0, 1 and 2."""

import errno
import importlib
import inspect
import os
import shlex
import signal
import subprocess
import sys
import time
import types

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xdelnx as xd
from xdelnx import __version__
from xdelnx.algorithms.adjustment import METHODS
from xdelnx.cli import main
from xdelnx.cli.option_groups import ADJUSTMENTS
from xdelnx.cli.option_types import as_scheduler
from xdelnx.cli.options import parser
from xdelnx.kernels.devices import DEVICES
from xdelnx.schema import Status
from xdelnx.steps.fit_residuals import KINDS
from xdelnx.storage.stores import open_counts, write_store

COMMANDS = {
    # command: (module, function, arguments that are positional on the command line or have no option)
    "simulate": ("xdelnx.verbs.simulation", "simulate", set()),
    "convert": ("xdelnx.storage.conversion", "convert", {"source", "store", "progress"}),
    "pseudobulk": ("xdelnx.verbs.aggregation", "pseudobulk", {"data"}),
    "rank-genes": ("xdelnx.verbs.markers", "rank_genes", {"data"}),
    "fit": ("xdelnx.verbs.fitting", "fit", {"data", "compute"}),
    "test": ("xdelnx.verbs.testing", "test", {"data", "fit", "compute"}),
    "filter-by-expression": ("xdelnx.verbs.filtering", "filter_by_expression", {"data"}),
    "shrink-lfc": ("xdelnx.verbs.fold_changes", "shrink_lfc", {"result"}),
    "covariance": ("xdelnx.verbs.inference", "covariance", {"data", "fit", "compute"}),
    "report": ("xdelnx.reporting.writing", "report", {"fit", "path"}),
    "residuals": ("xdelnx.verbs.looking", "residuals", {"data", "fit", "compute"}),
    "goodness-of-fit": ("xdelnx.verbs.looking", "goodness_of_fit", {"data", "fit", "compute"}),
    "predict": ("xdelnx.verbs.predictions", "predict", {"data", "fit"}),
    "normalize": ("xdelnx.verbs.normalizing", "normalize", {"data"}),
    "adjust": ("xdelnx.verbs.adjusting", "adjust", {"result"}),
}
COMMON = {"help", "scheduler", "debug", "overwrite", "table", "progress", "from", "plan"}


def subparsers():
    actions = next(a for a in parser()._actions if a.choices and "fit" in a.choices)
    return actions.choices


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "counts.zarr"
    options = ["--n-samples", "8", "--n-genes", "240", "--condition", "KO", "--levels", "False,True"]
    assert main(["simulate", str(path), *options]) == 0
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_the_arguments(command):
    module, name, left_out = COMMANDS[command]
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    actions = {a.dest: a for a in subparsers()[command]._actions if a.option_strings}
    assert set(actions) - COMMON == set(parameters) - left_out - COMMON
    for dest, action in actions.items():
        assert f"--{dest.replace('_', '-')}" in action.option_strings or dest == "help"
        if dest in parameters and not action.required:
            default = parameters[dest].default
            if default is inspect.Parameter.empty:  # needed, unless another option stands for it
                default = None
            # an option that may be given several times starts as None
            expected = {"last": None}.get(default, default) if dest == "contrasts" else default
            assert action.default == (list(expected) if isinstance(expected, tuple) else expected)


def test_kinds_of_residuals_are_those_there_are():
    kind = next(action for action in subparsers()["residuals"]._actions if action.dest == "kind")
    assert tuple(kind.choices) == KINDS


def test_devices_are_those_there_are():
    for command in ("fit", "test"):
        device = next(action for action in subparsers()[command]._actions if action.dest == "device")
        assert tuple(device.choices) == DEVICES


def test_adjustments_are_those_there_are():
    assert tuple(METHODS) == ADJUSTMENTS


def test_every_option_has_help():
    for command in subparsers().values():
        assert command.description
        assert command.epilog.startswith("example")
        for action in command._actions:
            assert action.help
            # what happens without an option is said where it is not plain
            plain = (
                action.required or action.nargs == 0 or not action.option_strings or action.dest == "table"
            )
            assert plain or "default" in action.help or action.default is None


def test_help_gives_examples_that_parse():
    for command in subparsers().values():
        for line in command.epilog.splitlines()[1:]:
            if line.strip():
                parser().parse_args(shlex.split(line)[1:])


def test_simulate(store):
    ds = open_counts(store)
    assert dict(ds.sizes) == {"sample": 8, "gene": 240}
    assert ds["KO"].dtype == bool


def test_simulate_lazily_gives_the_same(store, tmp_path):
    options = [
        "--n-samples",
        "8",
        "--n-genes",
        "240",
        "--condition",
        "KO",
        "--levels",
        "False,True",
        "--chunks",
        "50",
    ]
    assert main(["simulate", str(tmp_path / "y.zarr"), *options, "--scheduler", "synchronous"]) == 0
    xr.testing.assert_identical(open_counts(tmp_path / "y.zarr").load(), open_counts(store).load())


def test_convert(tmp_path, capsys):
    counts = np.arange(12).reshape(3, 4)
    ad.AnnData(counts.astype("f4"), layers={"raw": 2.0 * counts}).write_h5ad(tmp_path / "a.h5ad")
    arguments = ["convert", str(tmp_path / "a.h5ad"), str(tmp_path / "a.zarr"), "--layer", "raw"]
    assert main(arguments) == 0
    np.testing.assert_array_equal(open_counts(tmp_path / "a.zarr")["counts"], 2 * counts)
    captured = capsys.readouterr()
    assert "3 samples x 4 genes as uint8" in captured.err
    assert captured.out == ""
    assert main(arguments) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def everything(folder):
    """Every file below a folder, with what is in it."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_overwriting_spares_inputs_and_what_is_no_store(tmp_path, store, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "counts.zarr", "f.zarr", "--design", "~ KO"]) == 0
    ad.AnnData(np.arange(12.0).reshape(3, 4)).write_h5ad("a.h5ad")
    (tmp_path / "thesis.txt").write_text("x")
    os.symlink("counts.zarr", "link.zarr")
    before = everything(tmp_path)
    also = "is also an input or another output"
    for words, message in (
        ("fit counts.zarr counts.zarr --design ~KO", f"the output counts.zarr {also}; choose another name"),
        ("fit counts.zarr link.zarr --design ~KO", f"the output link.zarr {also} (counts.zarr)"),
        ("fit link.zarr counts.zarr --design ~KO", f"the output counts.zarr {also} (link.zarr)"),
        ("fit counts.zarr ./counts.zarr/ --design ~KO", f"the output ./counts.zarr/ {also}"),
        (
            "fit counts.zarr counts.zarr/fit --design ~KO",
            "lies inside counts.zarr, an input or another output",
        ),
        ("fit counts.zarr . --design ~KO", "the output . contains counts.zarr, an input or another output"),
        (
            "fit counts.zarr thesis.txt --design ~KO",
            "thesis.txt is a file and not a Zarr store, so it is not",
        ),
        ("fit counts.zarr x.zarr --design ~KO --table x.zarr/t.csv", "x.zarr/t.csv lies inside x.zarr"),
        ("fit counts.zarr t.csv --design ~KO --table t.csv", f"the output t.csv {also}"),
        ("test counts.zarr f.zarr f.zarr", f"the output f.zarr {also}"),
        ("test counts.zarr f.zarr counts.zarr", f"the output counts.zarr {also}"),
        ("test counts.zarr f.zarr t.zarr --table f.zarr/t.csv", "lies inside f.zarr"),
        ("pseudobulk counts.zarr counts.zarr --by KO", f"the output counts.zarr {also}"),
        ("convert a.h5ad a.h5ad", f"the output a.h5ad {also}"),
        ("convert a.h5ad thesis.txt", "thesis.txt is a file and not a Zarr store"),
        ("simulate thesis.txt", "thesis.txt is a file and not a Zarr store"),
    ):
        assert main([*words.split(), "--overwrite"]) == 1, words
        assert message in capsys.readouterr().err.splitlines()[-1]
        assert everything(tmp_path) == before


def test_a_layer_of_a_table_is_refused(tmp_path, capsys):
    pd.DataFrame({"s0": [1, 2], "s1": [3, 4]}, index=["g0", "g1"]).to_csv(tmp_path / "c.csv")
    assert main(["convert", str(tmp_path / "c.csv"), str(tmp_path / "c.zarr"), "--layer", "q"]) == 1
    assert (
        "error: layer='q' names a layer of an AnnData; a table of counts has none" in capsys.readouterr().err
    )
    assert os.listdir(tmp_path) == ["c.csv"]


def test_convert_tables(tmp_path):
    pd.DataFrame({"s0": [1, 2], "s1": [3, 4]}, index=["g0", "g1"]).to_csv(tmp_path / "c.csv")
    pd.DataFrame({"KO": [True, False]}, index=["s1", "s0"]).to_csv(tmp_path / "o.tsv", sep="\t")
    paths = [str(tmp_path / name) for name in ("c.csv", "c.zarr", "o.tsv")]
    assert main(["convert", *paths[:2], "--samples", paths[2]]) == 0
    assert open_counts(paths[1])["KO"].values.tolist() == [False, True]


# ---------------------------------------------------------------- the whole way


def walk(folder, scheduler):
    """Simulate, fit and test on a scheduler, with tables; give what was written."""
    paths = {
        name: str(folder / name)
        for name in ("counts.zarr", "fit.zarr", "test.zarr", "fit.csv", "test.tsv.gz")
    }
    there = ["--scheduler", scheduler]
    size = ["--n-samples", "9", "--n-genes", "300", "--levels", "A,B,C", "--n-batches", "2", "--chunks", "90"]
    assert main(["simulate", paths["counts.zarr"], *size, *there]) == 0
    fit = [
        "fit",
        paths["counts.zarr"],
        paths["fit.zarr"],
        "--design",
        "~ batch + condition",
        "--table",
        paths["fit.csv"],
    ]
    assert main([*fit, "--reference", "condition=B", *there]) == 0
    test = [
        "test",
        paths["counts.zarr"],
        paths["fit.zarr"],
        paths["test.zarr"],
        "--table",
        paths["test.tsv.gz"],
    ]
    question = ["--contrast", "condition[T.A] - condition[T.C]", "--contrast", "condition"]
    assert main([*test, *question, *there]) == 0
    assert sorted(os.listdir(folder)) == sorted(paths)
    return paths


@pytest.fixture(scope="module")
def in_python(tmp_path_factory):
    """The same in Python, in the same blocks: fit and tests."""
    path = tmp_path_factory.mktemp("python") / "counts.zarr"
    write_store(xd.simulate(9, 300, levels=("A", "B", "C"), n_batches=2), path)
    ds = open_counts(path)
    fit = xd.fit(ds, "~ batch + condition", reference={"condition": "B"})
    return fit, xd.test(ds, fit, ["condition[T.A] - condition[T.C]", "condition"])


ENDLESS = ("beta", "standard_error", "coef", "log2fc")


def assert_same(paths, in_python):
    """Stores hold what the functions return, and tables what the stores hold.

    1e-8: rounding of the dispersions, 1e-10, as the p-value of a large statistic multiplies it. Coefficients of
    separated genes have no finite value, so where their search stops is left out.
    """
    finite = in_python[0]["status"] != Status.SEPARATED
    for name, expected in zip(("fit", "test"), in_python, strict=True):
        with xr.open_zarr(paths[f"{name}.zarr"]) as found:
            assert found.keys() == expected.keys()
            assert found.attrs.keys() - {"fingerprint", "counts_store"} == expected.attrs.keys()
            for variable in expected.variables:
                both = found[variable], expected[variable]
                if variable in ENDLESS:
                    both = (values.where(finite) for values in both)
                xr.testing.assert_allclose(*both, rtol=1e-8)
            table = pd.read_csv(
                paths["fit.csv"] if name == "fit" else paths["test.tsv.gz"], sep=None, engine="python"
            )
            labels = list(expected["contrast"].values)
            tables = [xd.top_table(found, label).assign(contrast=label) for label in labels]
            # text has all 17 digits; parsing may cost the last
            pd.testing.assert_frame_equal(
                table, pd.concat(tables, ignore_index=True), rtol=1e-15, check_dtype=False
            )


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_the_whole_way(tmp_path, in_python, scheduler, capsys):
    assert_same(walk(tmp_path, scheduler), in_python)
    err = capsys.readouterr().err
    assert "fitting ~ batch + condition to 9 samples x 300 genes in 16 chunks of genes" in err
    assert "tested genes at a false discovery rate of 5 %" in err
    assert "all_zero" in err


def test_the_whole_way_on_a_cluster(tmp_path, in_python):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        assert_same(walk(tmp_path, cluster.scheduler_address), in_python)


def test_every_option_of_a_fit(tmp_path, store):
    """The options reach the function: the same words in Python give the same."""
    ds = open_counts(store).assign(size=("sample", np.linspace(0.5, 2.0, 8)), depth=("sample", np.zeros(8)))
    ds = ds.assign(trust=("sample", np.linspace(0.5, 1.0, 8)))
    write_store(ds, tmp_path / "sized.zarr")
    words = (
        "--design '~ KO' --reference KO=True --contrasts 'KO[T.False]' --size-factors size --offset depth "
        "--weights trust --overdispersion 0.2 --no-shrinkage --no-cox-reid --ridge 0.5 --device cpu"
    )
    arguments = ["fit", str(tmp_path / "sized.zarr"), str(tmp_path / "fit.zarr"), *shlex.split(words)]
    assert main(arguments) == 0
    expected = xd.fit(
        ds,
        "~ KO",
        reference={"KO": "True"},
        contrasts="KO[T.False]",
        size_factors="size",
        offset="depth",
        weights="trust",
        overdispersion=0.2,
        shrinkage=False,
        cox_reid=False,
        ridge=0.5,
        device="cpu",
    )
    with xr.open_zarr(tmp_path / "fit.zarr") as found:
        xr.testing.assert_equal(found.load(), expected)
        assert found.attrs["options"] == expected.attrs["options"]


def broken(store, path, value):
    ds = open_counts(store).load()
    counts = ds["counts"].values.astype(float)
    counts[2, 5] = value
    ds["counts"] = (("sample", "gene"), counts)
    write_store(ds, path)


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_a_failed_fit_leaves_nothing(tmp_path, store, capsys, scheduler):
    broken(store, tmp_path / "broken.zarr", -1.0)
    before = sorted(os.listdir(tmp_path))
    fit = [
        "fit",
        str(tmp_path / "broken.zarr"),
        str(tmp_path / "fit.zarr"),
        "--table",
        str(tmp_path / "genes.csv"),
    ]
    assert main([*fit, "--design", "~ KO", "--scheduler", scheduler]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "xdelnx: error: negative counts: 1, in 1 gene (g5); pass raw counts, not centred or scaled values"
    )
    assert main([*fit, "--design", "~ K"]) == 1
    assert "'K', which is not a column of the samples; did you mean 'KO'?" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == before


def test_a_failed_test_leaves_nothing(tmp_path, store, capsys):
    fit, test = str(tmp_path / "fit.zarr"), str(tmp_path / "test.zarr")
    assert main(["fit", str(store), fit, "--design", "~ KO"]) == 0
    before = sorted(os.listdir(tmp_path))
    for words, message in (
        (
            ["--contrast", "KO[T.true]"],
            "'KO[T.true]' is not a coefficient of the design; did you mean 'KO[T.True]'?",
        ),
        (["--contrast", "0 * KO[T.True]"], "is zero for every coefficient"),
        (["--contrast", "none"], "'none' is not a coefficient of the design"),
        (["--contrast", "KO[T.True]", "--reduced", "~ 1"], "say what to test twice; give one of them"),
    ):
        assert main(["test", str(store), fit, test, *words, "--table", str(tmp_path / "t.csv")]) == 1
        assert message in capsys.readouterr().err
        assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.filterwarnings("default::xdelnx.XdelnxWarning")
def test_a_warning_is_a_line_and_no_failure(tmp_path, store, capsys):
    ds = open_counts(store).load()
    write_store(ds.assign(counts=np.log1p(ds["counts"])), tmp_path / "logs.zarr")
    assert main(["fit", str(tmp_path / "logs.zarr"), str(tmp_path / "fit.zarr"), "--design", "~ KO"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert (
        sum(line.startswith("xdelnx: warning: these look like log-normalised values") for line in lines) == 1
    )


# ---------------------------------------------------------------- fit and test, the functions replaced


@pytest.fixture
def calls(monkeypatch, store):
    """Record what fit and test are called with; they return a small result."""
    seen = []
    result = xr.Dataset(
        {
            name: (("contrast", "gene"), np.array([[0.5, 0.01, np.nan]]))
            for name in ("log2fc", "coef", "stat", "pval", "padj")
        },
        coords={"gene": ["a", "b", "c"], "contrast": ["KO[T.True]"]},
    )
    result["status"] = ("gene", np.array([0, 0, 1], dtype=np.int8))
    result["beta"] = (("gene", "coefficient"), np.zeros((3, 2)))
    result["design"] = (("sample", "coefficient"), np.zeros((8, 2)))
    result.attrs["options"] = '{"counts": "counts", "shrinkage": true, "cox_reid": true, "ridge": 0.0}'

    def fit(data, design, **options):
        seen.append((design, options))
        return result

    def test(data, fitted, contrast=None, **options):
        assert fitted["beta"].shape == (3, 2)
        seen.append((contrast, options))
        return result.drop_vars(["beta", "design", "status"])

    monkeypatch.setitem(sys.modules, "xdelnx.verbs.fitting", types.SimpleNamespace(fit=fit))
    monkeypatch.setitem(sys.modules, "xdelnx.verbs.testing", types.SimpleNamespace(test=test))
    return seen


def test_fit_forwards_its_options(calls, store, tmp_path, capsys):
    out, table = tmp_path / "fit.zarr", tmp_path / "genes.csv"
    assert main(["fit", str(store), str(out), "--design", "~ KO", "--table", str(table)]) == 0
    design, options = calls.pop()
    assert design == "~ KO"
    assert options == {
        "reference": None,
        "contrasts": "last",
        "size_factors": "normed_sum",
        "offset": None,
        "weights": None,
        "overdispersion": True,
        "shrinkage": True,
        "cox_reid": True,
        "method": "glmgampoi",
        "robust": False,
        "cooks": None,
        "ridge": 0.0,
        "ridge_target": None,
        "subsample": None,
        "adjust": "bh",
        "cluster": None,
        "by": None,
        "counts": "counts",
        "skip_corrupt": False,
        "device": "auto",
    }
    frame = pd.read_csv(table)
    assert list(frame.columns) == ["feature", "log2fc", "coef", "stat", "pval", "padj", "contrast"]
    assert list(frame["feature"]) == ["b", "a", "c"]
    err = capsys.readouterr().err
    assert "fitting ~ KO to 8 samples x 240 genes in 16 chunks of genes" in err
    assert "KO[T.True]: 1 of 2 tested genes at a false discovery rate of 5 %" in err
    assert "status of genes: 1 all_zero (all others ok)" in err
    assert xr.open_zarr(out)["beta"].shape == (3, 2)


def test_fit_forwards_other_options(calls, store, tmp_path):
    words = (
        "--reference KO=True --reference donor=d1 --contrasts a --contrasts b-c --size-factors none --robust "
        "--offset o --weights w --overdispersion 0.5 --no-shrinkage --no-cox-reid --ridge a=2 --adjust holm --by kind "
        "--device cpu --cooks flag --cluster donor --method edger --ridge C(x)[T.b=c]=1 --ridge-target a=-0.5 "
        "--subsample 500 --skip-corrupt"
    )
    assert main(["fit", "--design", "~ KO", *words.split(), str(store), str(tmp_path / "fit.zarr")]) == 0
    _, options = calls.pop()
    assert options == {
        "reference": {"KO": "True", "donor": "d1"},
        "contrasts": ["a", "b-c"],
        "size_factors": None,
        "offset": "o",
        "weights": "w",
        "overdispersion": 0.5,
        "shrinkage": False,
        "cox_reid": False,
        "method": "edger",
        "robust": True,
        "cooks": "flag",
        "ridge": {"a": 2.0, "C(x)[T.b=c]": 1.0},
        "ridge_target": {"a": -0.5},
        "subsample": 500,
        "adjust": "holm",
        "cluster": "donor",
        "by": "kind",
        "counts": "counts",
        "skip_corrupt": True,
        "device": "cpu",
    }


@pytest.mark.parametrize(
    ("word", "value"), [("false", False), ("True", True), ("global", "global"), ("0", 0.0)]
)
def test_overdispersion_words(calls, store, tmp_path, word, value):
    arguments = ["fit", str(store), str(tmp_path / "f.zarr"), "--design", "~ KO", "--overdispersion", word]
    assert main(arguments) == 0
    found = calls.pop()[1]["overdispersion"]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("words", "contrast", "options"),
    [
        ([], None, {}),
        (["--contrast", "KO[T.True]"], "KO[T.True]", {}),
        (["--contrast", "a", "--contrast", "b - a"], ["a", "b - a"], {}),
        (["--reduced", "~ 1"], None, {"reduced": "~ 1"}),
        (["--lfc-threshold", "0.5"], None, {"lfc_threshold": 0.5}),
    ],
)
def test_test_forwards_its_options(calls, store, tmp_path, words, contrast, options):
    fit, out, table = (str(tmp_path / name) for name in ("fit.zarr", "test.zarr", "genes.tsv.gz"))
    assert main(["fit", str(store), fit, "--design", "~ KO"]) == 0
    assert main(["test", str(store), fit, out, "--table", table, *words]) == 0
    defaults = {"reduced": None, "lfc_threshold": 0.0, "adjust": None, "device": "auto"}
    assert calls.pop() == (contrast, defaults | options)
    assert list(pd.read_csv(table, sep="\t")["feature"]) == ["b", "a", "c"]


def test_table_and_store_come_both_or_neither(calls, store, tmp_path, monkeypatch, capsys):
    def full_disk(*args, **kwargs):
        msg = "No space left on device"
        raise OSError(msg)

    monkeypatch.setattr(xr.Dataset, "to_zarr", full_disk)
    arguments = [
        "fit",
        str(store),
        str(tmp_path / "f.zarr"),
        "--design",
        "~ KO",
        "--table",
        str(tmp_path / "t.csv"),
    ]
    assert main(arguments) == 1
    assert capsys.readouterr().err.endswith("xdelnx: error: No space left on device\n")
    assert os.listdir(tmp_path) == ["counts.zarr"]


def test_outputs_are_refused_before_the_work(calls, store, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("mine")
    (tmp_path / "d.csv").mkdir()
    fit = ["fit", str(store), str(tmp_path / "f.zarr"), "--design", "~ KO"]
    for words, message in (
        (["--table", str(tmp_path / "t.csv")], "t.csv exists already"),
        (["--table", str(tmp_path / "t.xlsx")], "expected a name that ends in .csv, .tsv, .txt"),
        (["--table", str(tmp_path / "d.csv"), "--overwrite"], "is a folder"),
        (["--table", str(tmp_path / "u.csv"), "--contrasts", "none"], "--contrasts none asks for no test"),
    ):
        assert main([*fit, *words]) == 1
        assert message in capsys.readouterr().err
    assert main(["fit", str(store), str(store), "--design", "~ KO"]) == 1
    assert calls == []
    assert (tmp_path / "t.csv").read_text() == "mine"
    assert main([*fit, "--table", str(tmp_path / "t.csv"), "--overwrite"]) == 0
    assert (tmp_path / "t.csv").read_text() != "mine"


def test_a_table_needs_something_to_test(calls, store, tmp_path, capsys):
    fit = ["fit", str(store), str(tmp_path / "f.zarr"), "--design", "~ 1"]
    table = ["--table", str(tmp_path / "t.csv")]
    assert main([*fit, *table]) == 1
    assert capsys.readouterr().err == (
        "xdelnx: error: --table lists tested genes, and the design '~ 1' is an intercept alone, which leaves nothing "
        "to test; leave out --table, or add a column to the design\n"
    )
    assert calls == []
    assert os.listdir(tmp_path) == ["counts.zarr"]
    assert main([*fit, *table, "--contrasts", "Intercept"]) == 0
    assert main([*fit, "--overwrite"]) == 0


def test_a_store_that_is_no_fit(calls, store, tmp_path, capsys):
    assert main(["test", str(store), str(store), str(tmp_path / "t.zarr")]) == 1
    assert "is not the result of a fit: it has no variable beta, design" in capsys.readouterr().err


# ---------------------------------------------------------------- exit status


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "xdelnx COMMAND --help tells more of a command"),
        (["dance"], 2, "invalid choice: 'dance'"),
        (["simulate"], 2, "required: OUT"),
        (["fit", "a", "b"], 2, "required: --design"),
        (["fit", "b", "--design", "~ x"], 2, "required: COUNTS"),
        (["fit", "b", "--from", "a", "--robust", "--by", "x"], 2, "leave out --robust, --by"),
        (["fit", "b", "--from", "a"], 1, "error: there is nothing at a"),
        (
            ["fit", "a", "b", "--design", "~ x", "--reference", "KO"],
            2,
            "expected COLUMN=LEVEL, received 'KO'",
        ),
        (
            ["fit", "a", "b", "--design", "~ x", "--overdispersion", "lots"],
            2,
            "expected true, false, global or a",
        ),
        (["fit", "a", "b", "--design", "~ x", "--ridge", "x="], 2, "expected X or NAME=X with a number X"),
        (["fit", "a", "b", "--design", "~ x", "--ridge-target", "1"], 2, "expected NAME=X with a number X"),
        (
            ["fit", "a", "b", "--design", "~ x", "--ridge", "1", "--ridge", "a=2"],
            2,
            "--ridge: give one number, or NAME=X several times",
        ),
        (
            ["simulate", "x", "--scheduler", "dask"],
            2,
            "expected threads, processes, synchronous, cuda or an address",
        ),
        (["simulate", "x", "--n-gen", "3"], 2, "unrecognized arguments"),
        (["simulate", "x.zarr", "--n-genes", "0"], 1, "error: n_genes must be at least 1"),
        (["convert", "absent.csv", "x.zarr"], 1, "error: there is nothing at absent.csv"),
        (["--version"], 0, __version__),
        (["fit", "--help"], 0, "what the counts may depend on"),
    ],
)
def test_exit_status(tmp_path, monkeypatch, capsys, words, status, message):
    monkeypatch.chdir(tmp_path)
    assert main(words) == status
    captured = capsys.readouterr()
    assert message in captured.out + captured.err
    assert "Traceback" not in captured.err
    assert os.listdir(tmp_path) == []


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["convert", "absent.csv", str(tmp_path / "x.zarr"), "--debug"])


def test_unexpected_errors_say_their_kind(tmp_path, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("xdelnx.verbs.simulation.simulate", fail)
    assert main(["simulate", str(tmp_path / "x.zarr")]) == 1
    assert "error: MemoryError:  (--debug shows where)" in capsys.readouterr().err


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("xdelnx.verbs.simulation.simulate", interrupt)
    assert main(["simulate", str(tmp_path / "x.zarr")]) == 130
    assert "interrupted; no output was written" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_the_package_is_the_command():
    done = subprocess.run([sys.executable, "-m", "xdelnx", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"xdelnx {__version__}\n")
    assert subprocess.run([sys.executable, "-m", "xdelnx"], capture_output=True).returncode == 2


def test_ctrl_c_says_one_thing_with_worker_processes(tmp_path):
    """A terminal interrupts every process of the command; only the first has something to say."""
    arguments = ["simulate", str(tmp_path / "x.zarr"), "--n-samples", "500", "--n-genes", "500000"]
    command = [sys.executable, "-m", "xdelnx", *arguments, "--chunks", "512", "--scheduler", "processes"]
    command += ["--no-progress"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as job:
        while not any(path.is_file() for path in tmp_path.rglob("counts/c/**/*")):  # workers are at work
            assert job.poll() is None
            time.sleep(0.05)
        os.killpg(job.pid, signal.SIGINT)
        _, err = job.communicate(timeout=60)
    assert job.returncode == 130
    assert err.splitlines()[1:] == ["xdelnx: interrupted; no output was written"]
    assert os.listdir(tmp_path) == []


def test_warnings_are_one_line(tmp_path, capsys, monkeypatch):
    pd.DataFrame({"s0": [1, 2]}, index=["g0", "g1"]).to_csv(tmp_path / "c.csv")
    pd.DataFrame({"KO": [True, False]}, index=["s0", "s1"]).to_csv(tmp_path / "o.csv")
    arguments = [
        "convert",
        str(tmp_path / "c.csv"),
        str(tmp_path / "x.zarr"),
        "--samples",
        str(tmp_path / "o.csv"),
    ]
    code = f"import sys; from xdelnx.cli import main; sys.exit(main({arguments!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "xdelnx: warning: left out, having no counts: 1 sample (s1)\n" in done.stderr
    assert ".py" not in done.stderr


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from xdelnx.cli import main; main(['--help']); "
        "heavy = {'numpy', 'pandas', 'xarray', 'dask', 'zarr', 'numba'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


# ---------------------------------------------------------------- schedulers


def test_an_address_where_nobody_listens(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("xdelnx.cli.jobs.CONNECT_SECONDS", 1)
    assert main(["simulate", str(tmp_path / "x.zarr"), "--scheduler", "tcp://127.0.0.1:9"]) == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("address", ["tcp://", "tcp://host", "://host:8786", "client"])
def test_words_that_are_no_address(address, capsys):
    assert main(["simulate", "x.zarr", "--scheduler", address]) == 2
    assert f"or an address such as tcp://host:8786, received {address!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["tcp://[::1]:8786", "tls://host:1", "inproc://10.0.0.1/7/1", "gateway://lab:8786/x.1"]
)
def test_addresses_of_distributed(address):
    assert as_scheduler(address) == address


def test_cluster(tmp_path, store):
    """Two worker processes compute the same."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        options = ["--n-samples", "8", "--n-genes", "240", "--condition", "KO", "--levels", "False,True"]
        address = ["--scheduler", cluster.scheduler_address, "--chunks", "60"]
        assert main(["simulate", str(tmp_path / "y.zarr"), *options, *address]) == 0
    xr.testing.assert_identical(open_counts(tmp_path / "y.zarr").load(), open_counts(store).load())


# ---- what is done with counts before, and with a fit after ------------------------------------------------


def test_filter_by_expression_writes_the_genes_that_are_kept(store, tmp_path, capsys):
    out = tmp_path / "kept.zarr"
    assert main(["filter-by-expression", str(store), str(out), "--design", "~ KO"]) == 0
    whole, kept = open_counts(store), open_counts(out)
    keep = xd.filter_by_expression(whole, "~ KO")
    assert 0 < kept.sizes["gene"] < whole.sizes["gene"]
    xr.testing.assert_equal(kept.compute(), whole.isel(gene=keep.values).compute())
    assert f"{kept.sizes['gene']} of {whole.sizes['gene']} genes" in capsys.readouterr().err


def test_filter_by_groups(store, tmp_path):
    out = tmp_path / "kept.zarr"
    options = ["--group", "KO", "--min-count", "30", "--size-factors", "none"]
    assert main(["filter-by-expression", str(store), str(out), *options]) == 0
    data = open_counts(store)
    keep = xd.filter_by_expression(data, group="KO", min_count=30.0, size_factors=None)
    assert list(open_counts(out)["gene"].values) == list(data["gene"].values[keep.values])


def test_shrink_lfc_and_covariance(store, tmp_path):
    fitted, shrunken, covariances = (str(tmp_path / f"{name}.zarr") for name in ("fit", "shrunken", "cov"))
    assert main(["fit", str(store), fitted, "--design", "~ KO"]) == 0
    assert main(["shrink-lfc", fitted, shrunken]) == 0
    result = xr.open_zarr(fitted)
    expected = xd.shrink_lfc(result.compute())
    np.testing.assert_array_equal(xr.open_zarr(shrunken)["log2fc_shrunken"], expected["log2fc_shrunken"])
    genes = [str(name) for name in result["gene"].values[:2]]
    assert (
        main(["covariance", str(store), fitted, covariances, "--genes", genes[0], "--genes", genes[1]]) == 0
    )
    found = xr.open_zarr(covariances)["covariance"]
    assert list(found["gene"].values) == genes
    variance = np.diagonal(found.values, axis1=1, axis2=2)
    # the square of what the fit has: a rounding each
    np.testing.assert_allclose(variance, result["standard_error"].sel(gene=genes).values ** 2, rtol=1e-12)


@pytest.mark.filterwarnings("default::xdelnx.XdelnxWarning")
def test_a_warning_is_said_once(store, tmp_path, capsys):
    """However many steps come upon it."""
    silent = open_counts(store).load()
    silent["counts"][3] = 0
    counts, fit = str(tmp_path / "c.zarr"), str(tmp_path / "f.zarr")
    write_store(silent, counts)
    assert main(["fit", counts, fit, "--design", "~ KO"]) == 0
    assert capsys.readouterr().err.count("have not a single count") == 1


def test_files_that_are_no_stores_say_how_to_become_one(tmp_path, capsys):
    (tmp_path / "c.csv").write_text("gene,s1,s2\ng1,1,2\n")
    assert main(["fit", str(tmp_path / "c.csv"), str(tmp_path / "f.zarr"), "--design", "~ a"]) == 1
    assert f"become one by `xdelnx convert {tmp_path / 'c.csv'} counts.zarr`" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to(store, tmp_path, capsys, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(
        "xdelnx.storage.stores.xr.Dataset.to_zarr", lambda dataset, made, **_: refuse(made.root)
    )
    assert main(["pseudobulk", str(store), str(tmp_path / "p.zarr"), "--by", "KO"]) == 1
    message = f"error: cannot write to {tmp_path} (Permission denied): choose another place for p.zarr"
    assert message in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["counts.zarr"]
