"""The examples run, and what they write is there."""

import importlib
import os
import re
import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

import xdelnx as xd

EXAMPLES = Path(__file__).parent.parent / "examples"
# what an example prints is read by people: a warning in it is a fault, wherever it comes from
STRICT = {"PYTHONWARNINGS": "error", "MPLBACKEND": "Agg"}


def run(code, folder):
    """Run code in a fresh interpreter beside the examples; return what it printed."""
    environment = os.environ | STRICT | {"PYTHONPATH": str(EXAMPLES)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_walkthrough(tmp_path):
    printed = run("import gli3_walkthrough; gli3_walkthrough.main('out', n_genes=2_000)", tmp_path)
    assert "nan" not in printed.split("Dispersion range:")[1].splitlines()[0]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "gli3.zarr", "fit.zarr", "GLI3_KO.csv", "dispersions.png", "volcano.png",
    }  # fmt: skip
    table = pd.read_csv(tmp_path / "out" / "GLI3_KO.csv")
    assert list(table.columns) == ["feature", "log2fc", "coef", "stat", "pval", "padj"]
    assert table["pval"].dropna().is_monotonic_increasing
    assert len(table) == 2_000


def test_demo(tmp_path):
    printed = run("import demo; demo.main('out', n_genes=2_000)", tmp_path)
    assert "false discovery rate" in printed
    assert len(list((tmp_path / "out").glob("*.png"))) == 6
    assert (tmp_path / "out" / "top_table.csv").stat().st_size > 0
    run("import demo; demo.main('out', n_genes=500)", tmp_path)  # a second run replaces the first


def test_gpu_cluster(tmp_path):
    """On the processor where there is no card."""
    xd.simulate(8, 200, seed=1, chunks=50).to_zarr(tmp_path / "counts.zarr", consolidated=False)
    code = "import gpu_cluster\nif __name__ == '__main__': gpu_cluster.main('counts.zarr', 'fit.zarr', '~ condition')"
    printed = run(code, tmp_path)
    assert "computed on" in printed
    assert (tmp_path / "fit.zarr" / "beta").exists()


def test_recipe_for_kubernetes():
    """One card a worker, threads that read ahead, commands that there are, and amounts as text: 1 is refused."""
    kubernetes = yaml.safe_load((EXAMPLES / "gpu_kubernetes.yaml").read_text())
    scheduler, worker = (
        kubernetes["spec"][part]["spec"]["containers"][0] for part in ("scheduler", "worker")
    )
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert all(isinstance(amount, str) for amount in worker["resources"]["limits"].values())
    assert worker["args"][:5] == ["dask", "cuda", "worker", "--nthreads", "4"]
    dask, command = scheduler["args"]
    assert dask == "dask"
    assert command in {point.name for point in metadata.entry_points(group="dask_cli")}


def test_recipe_for_slurm():
    """The job that is submitted: one card, one worker, four threads."""
    jobqueue = pytest.importorskip("dask_jobqueue")
    options = runpy.run_path(str(EXAMPLES / "gpu_slurm.py"))["WORKER"]
    here = {"dashboard_address": ":0", "host": "127.0.0.1"}
    with jobqueue.SLURMCluster(**options, scheduler_options=here) as cluster:
        script = cluster.job_script()
    assert {"#SBATCH -n 1", "#SBATCH --cpus-per-task=4", "#SBATCH --gpus=1"} <= set(script.splitlines())
    (worker,) = (line for line in script.splitlines() if "dask_worker" in line)
    assert "--nthreads 4" in worker
    assert "--nworkers" not in worker


def test_cluster(tmp_path):
    code = "import cluster\nif __name__ == '__main__': cluster.main('.', n_genes=500)"
    printed = run(code, tmp_path)
    assert "2 worker processes" in printed
    assert "those of one process" in printed


def test_readme_prints_what_it_says(tmp_path):
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    code, output = re.search(
        r"## Quickstart\n\n```python\n(.*?)```\n\n```text\n(.*?)```", readme, re.S
    ).groups()
    assert len(code.splitlines()) <= 10
    for line, expected in zip(run(code, tmp_path).splitlines(), output.splitlines(), strict=True):
        for word, wanted in zip(line.split(), expected.split(), strict=True):
            try:  # the last digits shown may differ between machines
                assert float(word.strip(",")) == pytest.approx(float(wanted.strip(",")), rel=2e-3), line
            except ValueError:
                assert word == wanted
    assert (tmp_path / "volcano.png").is_file()


@pytest.fixture
def cells(tmp_path):
    """An AnnData file of cells as the README and the batch job have it."""
    anndata = pytest.importorskip("anndata")
    data = xd.simulate(240, 250, levels=("control", "A", "B"), kind="cells", seed=5)
    obs = data[["condition"]].to_dataframe()
    obs["donor"] = [f"d{i % 4}" for i in range(len(obs))]
    adata = anndata.AnnData(np.log1p(data["counts"].values + 2.0), obs=obs)
    adata.layers["counts"] = data["counts"].values + 2
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path


def test_five_commands_of_the_readme(cells, monkeypatch):
    monkeypatch.chdir(cells)
    monkeypatch.syspath_prepend(str(EXAMPLES.parent / "tools"))
    blocks = importlib.import_module("documentation.blocks")
    text = re.search(
        r"```console\n\$ xdelnx.*?```", (EXAMPLES.parent / "README.md").read_text(encoding="utf-8"), re.S
    ).group()
    assert text.count("$ xdelnx") == 5
    assert len(list(blocks.run(text, "README.md"))) == 1
    assert (cells / "report.html").read_text(encoding="utf-8").startswith("<!")
    table = pd.read_csv(cells / "B_A.csv")
    assert len(table) == 250
    assert (table["contrast"] == "condition[T.B] - condition[T.A]").all()


def test_batch_job(cells):
    """The script and its twin in Python find the same; a second run makes nothing again."""
    python = f"{sys.executable} -m xdelnx"
    environment = os.environ | STRICT | {"XDELNX": python, "PYTHONPATH": str(EXAMPLES.parent)}
    job = ["sh", EXAMPLES / "batch_job.sh", "cells.h5ad", "out", "~ condition"]
    for run_number in (1, 2):
        done = subprocess.run(job, cwd=cells, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert ("wrote" in done.stderr) == (run_number == 1)
    table = pd.read_csv(cells / "out" / "genes.csv")
    code = f"import sys; sys.path.insert(0, {str(EXAMPLES.parent)!r}); import batch_job\n"
    run(code + "batch_job.main('cells.h5ad', 'again', '~ condition')", cells)
    again = pd.read_csv(cells / "again" / "condition_T_B_.csv")
    assert again["pval"].tolist() == pytest.approx(
        table.query("contrast == 'condition[T.B]'")["pval"].tolist()
    )


NOTEBOOKS = {"gli3_walkthrough": 5, "airway": 3, "cells": 0}  # and their pictures


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook(name, tmp_path):
    pytest.importorskip("nbclient")
    code = (  # in a process of its own: a client leaves its event loop behind
        "import nbclient, nbformat\n"
        f"notebook = nbformat.read({str(EXAMPLES / name)!r} + '.ipynb', as_version=4)\n"
        "nbclient.NotebookClient(notebook, timeout=300).execute()\n"
        "nbformat.write(notebook, 'run.ipynb')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=400)
    notebook = nbformat.read(tmp_path / "run.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == NOTEBOOKS[name]
    assert not [output for output in outputs if "Warning" in "".join(output.get("text", ""))]


def test_every_notebook_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(NOTEBOOKS)
