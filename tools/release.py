"""Build the sdist and the wheel into dist/, and try the wheel in an environment of its own, without extras.

python tools/release.py      # make release-check
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
NEEDED_BY_TESTS = (
    *("tests/conftest.py", "tests/data/golden12/counts.csv.gz", "docs/index.md", "examples/demo.py"),
    *(
        "tools/documentation/__init__.py",
        "validation/results",
        "benchmarks/results",
        "pyproject.toml",
        "README.md",
    ),
    *("CITATION.cff", "Makefile", ".github/workflows/ci.yml", "CONTRIBUTING.md", "environment.yml"),
)


def run(*command: object, cwd: Path = ROOT) -> str:
    """Run a command, that of another folder without our sources in its way; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def build() -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it; return their paths."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    return sdist, wheel


def check_contents(sdist: Path, wheel: Path) -> None:
    """Raise SystemExit if the sdist lacks what tests need, or the wheel has too little or too much."""
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    absent = [path for path in NEEDED_BY_TESTS if not any(name.startswith(path) for name in names)]
    absent += [f"{name} (generated)" for name in names if "/generated/" in name or "/_build/" in name]
    packed = zipfile.ZipFile(wheel).namelist()
    absent += [] if "xdelnx/py.typed" in packed else ["xdelnx/py.typed in the wheel"]
    absent += [name for name in packed if not re.match(r"xdelnx(-[\d.]+\.dist-info)?/", name)]
    if absent:
        sys.exit(f"not as they should be: {', '.join(absent)}")


def try_wheel(wheel: Path, folder: Path) -> None:
    """Install the wheel alone and run the main job with it."""
    run(sys.executable, "-m", "venv", folder / "venv")
    python, xdelnx = folder / "venv" / "bin" / "python", folder / "venv" / "bin" / "xdelnx"
    run(python, "-m", "pip", "install", "--quiet", wheel)
    run(python, "-m", "pip", "check")
    print(run(xdelnx, "--version", cwd=folder).strip())
    print(run(xdelnx, "doctor", cwd=folder))
    run(xdelnx, "simulate", "counts.zarr", "--n-samples", 8, "--n-genes", 500, cwd=folder)
    fit = "fit", "counts.zarr", "fit.zarr", "--design", "~ condition", "--table", "genes.csv"
    run(xdelnx, *fit, cwd=folder)
    rows = (folder / "genes.csv").read_text(encoding="utf-8").splitlines()
    if len(rows) != 501:
        sys.exit(f"genes.csv has {len(rows)} lines, not 501")
    print(rows[0], rows[1], sep="\n")


def main() -> None:
    sdist, wheel = build()
    check_contents(sdist, wheel)
    with tempfile.TemporaryDirectory() as folder:
        try_wheel(wheel, Path(folder))
    print(f"{sdist.name} and {wheel.name} are in dist/, and the wheel works.")


if __name__ == "__main__":
    main()
