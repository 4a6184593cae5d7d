"""Machine code is kept for the next process, also where the package lies in a folder that cannot be written to."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import xdelnx

PROBE = """
import numpy as np, xdelnx
from xdelnx.kernels.dense import kind_totals
assert kind_totals(np.ones((2, 3)), np.array([0, 3])).sum() == 6.0
print(xdelnx.__file__, sum(kind_totals.stats.cache_hits.values()), sum(kind_totals.stats.cache_misses.values()))
"""


def probe(site, home):
    """Where the package was, and how many kernels it found compiled, and had to compile."""
    env = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    env |= {"PYTHONPATH": str(site), "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE], env=env, cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    where, found, compiled = done.stdout.split()
    assert Path(where).is_relative_to(site)
    return int(found), int(compiled)


def test_compiled_kernels_outlive_the_process_of_a_package_that_is_read_only(tmp_path):
    site, home = tmp_path / "site", tmp_path / "home"
    home.mkdir()
    package = Path(xdelnx.__file__).parent
    shutil.copytree(package, site / "xdelnx", ignore=shutil.ignore_patterns("__pycache__"))
    # Permissions do not stop root, but a file where the folder would be does.
    (site / "xdelnx" / "kernels" / "__pycache__").write_text("no folder")
    assert probe(site, home) == (0, 1)
    assert list(home.rglob("*.nbi")), "kept in the user's own cache"
    assert probe(site, home) == (1, 0)
