"""Make the project's own virtual environment, .venv, or leave it as it is where it is up to date.

    python3 tools/environment.py demo     # the package and what the demo needs
    python3 tools/environment.py dev      # and what the tests need

Only the standard library is used. The environment is stale when pyproject.toml, the interpreter or the place
of the project changed, or when an installation was cut short; it is then made anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv"
STAMP = FOLDER / "xdelnx.json"
PYTHON = FOLDER / "bin" / "python"
EXTRAS = {"demo": "anndata,plot,distributed", "dev": "dev"}


def fingerprint() -> str:
    """What the environment was made from."""
    made_from = (ROOT / "pyproject.toml").read_bytes() + f"{ROOT} {sys.version}".encode()
    return hashlib.sha256(made_from).hexdigest()


def installed() -> str | None:
    """Which of the two environments is there, complete and up to date."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        subprocess.run([PYTHON, "-c", "import xdelnx"], check=True, capture_output=True)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return stamp["kind"] if stamp["fingerprint"] == fingerprint() else None


def create() -> list[str]:
    """Make an empty environment; return the command that installs into it."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", FOLDER], capture_output=True, text=True, check=False)
    if made.returncode == 0:
        return [str(PYTHON), "-m", "pip"]
    # Debian's python3 without python3-venv cannot put pip into an environment, but pip works from outside.
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", FOLDER], check=True)
    return [sys.executable, "-m", "pip", "--python", str(PYTHON)]


def install(kind: str) -> None:
    """Install the package, editable, with what the demo or the tests need."""
    print(f"Installing xdelnx[{EXTRAS[kind]}] into {FOLDER} (once; it takes some minutes) ...", flush=True)
    start = time.perf_counter()
    command = [
        *create(),
        "install",
        "-qq",
        "--disable-pip-version-check",
        "--editable",
        f".[{EXTRAS[kind]}]",
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    STAMP.write_text(json.dumps({"kind": kind, "fingerprint": fingerprint()}), encoding="utf-8")
    print(f"Installed in {time.perf_counter() - start:.0f} s.", flush=True)


def main() -> int:
    kind = sys.argv[1] if len(sys.argv) == 2 else ""
    if kind not in EXTRAS:
        print(f"usage: python3 {sys.argv[0]} {'|'.join(EXTRAS)}", file=sys.stderr)
        return 2
    if sys.version_info < (3, 11):  # noqa: UP036
        print(f"xdelnx needs Python 3.11 or newer; this is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    if installed() not in (kind, "dev"):
        try:
            install(kind)
        except subprocess.CalledProcessError as error:
            print(f"The installation failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
