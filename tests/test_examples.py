"""The examples run, and what they write is there."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
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


def test_recipes_for_clusters_of_cards():
    """They ask for one card a worker, and for threads that read ahead."""
    kubernetes = yaml.safe_load((EXAMPLES / "gpu_kubernetes.yaml").read_text())
    worker = kubernetes["spec"]["worker"]["spec"]["containers"][0]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert worker["args"][:5] == ["dask", "cuda", "worker", "--nthreads", "4"]
    slurm = runpy.run_path(str(EXAMPLES / "gpu_slurm.py"))["WORKER"]
    assert slurm["processes"] == 1
    assert "--gpus=1" in slurm["job_extra_directives"]


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


@pytest.mark.slow
def test_notebook(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "gli3_walkthrough.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    pictures = [
        o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})
    ]
    assert len(pictures) == 5
    assert (tmp_path / "fit.zarr").is_dir()
