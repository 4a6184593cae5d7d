"""What every Python adapter shares: read a case, time a fit with one test twice, write the outcome.

Needs NumPy and pandas alone, for it runs in the environment of each peer:

    PYTHON ADAPTER.py CASE_FOLDER OUT_FOLDER
    PYTHON ADAPTER.py --each CASE_FOLDER...     each once, in one process; the outcome goes beside the case
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ONCE_ABOVE = 60.0  # seconds: what takes longer is not run a second time in its process


@dataclass(frozen=True)
class Case:
    """Counts (sample, gene) with samples and model matrix; the last coefficient is tested."""

    folder: Path
    counts: np.ndarray
    samples: pd.DataFrame
    design: pd.DataFrame
    formula: str
    coefficient: str

    @property
    def genes(self) -> list[str]:
        """Names."""
        return [f"g{i}" for i in range(self.counts.shape[1])]

    @property
    def last(self) -> np.ndarray:
        """Weights of the contrast (coefficient,)."""
        weights = np.zeros(self.design.shape[1])
        weights[-1] = 1.0
        return weights

    @property
    def factors(self) -> list[str]:
        """Columns of the samples that the formula names, in its order."""
        return [term.strip() for term in self.formula.lstrip("~ ").split("+")]


def read_case(folder: Path) -> Case:
    """Read a case folder."""
    about = dict(line.split(": ", 1) for line in (folder / "case.txt").read_text().splitlines())
    shape = int(about["n_samples"]), int(about["n_genes"])
    return Case(
        folder,
        np.fromfile(folder / "counts.bin", dtype=np.int32).reshape(shape),
        pd.read_csv(folder / "obs.csv", index_col="sample"),
        pd.read_csv(folder / "design.csv"),
        about["formula"],
        about["coefficient"],
    )


def seconds_of(compute: Callable[[Any], Any], prepared: Any) -> tuple[float, float, Any]:
    """Elapsed and processor seconds (all threads) of one call, and its result."""
    start, processor = time.perf_counter(), time.process_time()
    result = compute(prepared)
    return time.perf_counter() - start, time.process_time() - processor, result


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from its sources
        return str(import_module(name).__version__)


def run(
    prepare: Callable[[Case], Any], compute: Callable[[Any], Any], packages: Sequence[str], note: str = ""
) -> None:
    """Time ``compute(prepare(case))``, which gives p-values (gene,); preparing is putting data in memory."""
    if sys.argv[1] == "--each":
        _each(prepare, compute, [Path(name) for name in sys.argv[2:]])
        return
    case, out = read_case(Path(sys.argv[1])), Path(sys.argv[2])
    first, processor, pvalues = seconds_of(compute, prepare(case))
    np.asarray(pvalues, dtype=np.float64).tofile(out / "pvalues.bin")
    del pvalues
    gc.collect()
    again, start = None, time.perf_counter()
    if first < ONCE_ABOVE:
        again, processor = seconds_of(compute, prepare(case))[:2]
    timings = {
        "first": first,
        "again": again,
        "processor": processor,
        "repetition": time.perf_counter() - start,
        "versions": {name: _version(name) for name in packages},
        "python": sys.version.split()[0],
        "note": note,
    }
    (out / "timings.json").write_text(json.dumps(timings))


def _each(prepare: Callable[[Case], Any], compute: Callable[[Any], Any], folders: Sequence[Path]) -> None:
    """P-values of each case, and seconds; a case that fails leaves neither, and the others go on."""
    for folder in folders:
        try:
            seconds, _, pvalues = seconds_of(compute, prepare(read_case(folder)))
        except Exception as error:  # noqa: BLE001, whatever a peer raises is an outcome of its own
            print(f"{folder.name}: {error!r}", file=sys.stderr)
            continue
        np.asarray(pvalues, dtype=np.float64).tofile(folder / "pvalues.bin")
        (folder / "timings.json").write_text(json.dumps({"seconds": seconds}))
