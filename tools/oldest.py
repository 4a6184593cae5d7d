"""Make an environment of the oldest versions that pyproject.toml allows, to run the tests in.

    python tools/oldest.py FOLDER && FOLDER/bin/python -m pytest -m "not slow"

Needs uv. What the package depends on is the oldest; what only the tests need is what fits beside it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("anndata", "plot", "distributed")
# Those of their time: the oldest matplotlib calls what the newest pyparsing warns of, the newest numcodecs warns of
# the checksums that the oldest zarr asks for, and moto is not ready for the newest dateutil.
BESIDE = ("numcodecs==0.16.3", "pyparsing==3.1.4", "python-dateutil==2.9.0.post0")
TESTS = (
    *(
        "array-api-strict",
        "formulaic-contrasts",
        "h5py",
        "hypothesis",
        "ipykernel",
        "moto[server]",
        "mpmath",
        "nbclient",
        "nbformat",
    ),
    *("patsy", "pytest", "pytest-xdist", "pyyaml", "s3fs", "sparse", "statsmodels"),
)


def uv(*arguments: object) -> str:
    """Run uv; return what it printed."""
    command = ["uv", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(folder: str) -> None:
    python = Path(folder).resolve() / "bin" / "python"
    uv("venv", "--python", "3.11", Path(folder).resolve())
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    install = "pip", "install", "--python", python
    uv(*install, "--resolution", "lowest-direct", "-r", "pyproject.toml", *extras, *BESIDE)
    oldest = python.parent.parent / "oldest.txt"
    oldest.write_text(uv("pip", "freeze", "--python", python), encoding="utf-8")
    uv(*install, "--constraint", oldest, *TESTS)
    uv(*install, "--no-deps", "--editable", ".")
    print(oldest.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(*sys.argv[1:])
