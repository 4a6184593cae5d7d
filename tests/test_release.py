"""What goes with a release says the same everywhere: versions, Pythons, oldest packages."""

import re
import tomllib
from pathlib import Path

import pytest

import xdelnx

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))


def read(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_citation():
    """The fields that the Citation File Format, version 1.2.0, requires, and ours."""
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"] == xdelnx.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == [{"name": PROJECT["authors"][0]["name"]}]


def test_workflow_runs_every_python_and_commands_that_exist():
    jobs = read(".github/workflows/ci.yml")["jobs"]
    assert {"newest", "oldest", "card-kernels", "no-optional-packages", "docs"} == set(jobs)
    for job in ("newest", "no-optional-packages"):
        assert jobs[job]["strategy"]["matrix"]["python"] == PYTHONS
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = [target for command in commands for target in re.findall(r"make ([\w-]+)", command)]
    assert set(targets) == {"test", "docs", "release-check"}
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)
    scripts = [script for command in commands for script in re.findall(r"tools/\w+\.py", command)]
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)


CUDA = {  # by pip for one version of CUDA, by conda for any
    **dict.fromkeys(("cupy-cuda12x[ctk]", "cupy-cuda13x[ctk]"), "cupy"),
    **dict.fromkeys(("dask-cuda[cu12]", "dask-cuda[cu13]"), "dask-cuda"),
    **dict.fromkeys(("rmm-cu12", "rmm-cu13"), "rmm"),
}


@pytest.mark.parametrize("file", ["environment.yml", "environment-gpu.yml"])
def test_conda_asks_for_the_same_versions(file):
    names = {"dask[array]": "dask-core", "matplotlib": "matplotlib-base"} | CUDA
    extras = ["anndata", "plot", "distributed"]
    extras += ["gpu-cuda12", "gpu-cuda13"] if "gpu" in file else []
    wanted = [*PROJECT["dependencies"]]
    wanted += [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    conda = {line.split(" ")[0]: line.split(" ")[1] for line in read(file)["dependencies"] if " " in line}
    for line in wanted:
        name, version = line.split(">=")
        assert conda[names.get(name, name)] == f">={version}", line


def test_the_project_is_typed():
    assert (ROOT / "xdelnx" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]
