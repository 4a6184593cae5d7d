"""The peers: R's packages, several data sets in one process, and Python's, each in its own environment."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.scenarios import write_case
from validation.study.drawing import Drawn
from validation.study.grid import Cell
from validation.study.methods import Outcome, as_dataset

R_PEERS = ("glmGamPoi", "edgeR", "DESeq2")
PYTHON_PEERS = ("delnx", "edgepython", "pydeseq2", "crispyx")
FACTORS_ALONE = ("crispyx",)  # tests levels of a factor, no numbers and no interactions
SLOW = ("delnx", "pydeseq2")  # four to ten seconds a data set, compiling included
SLOW_KINDS = ("3 a group", "14 a group", "500 cells")  # of which those take part, beside all of five a group
MINUTES_ON_CELLS = ("DESeq2", "delnx", "pydeseq2")  # a data set of 5,000 cells
SETS, SETS_OF_SLOW = 20, 5
SETS_OF_CELLS = {500: 5, 5_000: 3}  # up to half a minute each
SCRIPT = Path(__file__).with_name("peers.R")
ADAPTERS = Path(__file__).parents[2] / "benchmarks" / "adapters"
LIMIT = 3600.0  # seconds for all data sets of a task
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "PEER_CORES": "1",
}


def takes_part(peer: str, cell: Cell) -> bool:
    """Whether a peer can fit the design of a cell, and does not take minutes a data set."""
    if peer in FACTORS_ALONE and cell.design in {"continuous", "interaction"}:
        return False
    if peer in MINUTES_ON_CELLS and cell.kind == "cells" and cell.group > min(SETS_OF_CELLS):
        return False
    return peer not in SLOW or cell.name in SLOW_KINDS or cell.name.startswith("5 a group")


def sets_of(peer: str, cell: Cell) -> int:
    """Most data sets of a cell that a peer is given: fewer where they take long, so that the study ends."""
    most = SETS_OF_SLOW if peer in SLOW else SETS
    return min(most, SETS_OF_CELLS[cell.group]) if cell.kind == "cells" else most


def installed(environments: Path | None) -> tuple[dict[str, str], dict[str, str]]:
    """Versions of the peers that can be run, and why others cannot."""
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for peer in R_PEERS:
        if shutil.which("Rscript") is None:
            missing[peer] = "no Rscript"
            continue
        words = f"suppressMessages(library({peer})); cat(as.character(packageVersion('{peer}')))"
        found[peer] = _said("Rscript", "-e", words)
        missing |= {} if found[peer] else {peer: "not installed in R"}
    for peer in PYTHON_PEERS:
        if environments is None or not python_of(environments, peer).exists():
            missing[peer] = "no environment (benchmarks/install_peers.sh makes them)"
            continue
        words = f"from importlib.metadata import version; print(version('{peer}'))"
        found[peer] = _said(str(python_of(environments, peer)), "-c", words)
        missing |= {} if found[peer] else {peer: "not installed in its environment"}
    return {peer: version for peer, version in found.items() if version}, missing


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, check=False, text=True).stdout.strip()


def python_of(environments: Path, peer: str) -> Path:
    """Interpreter of a peer's environment."""
    return environments / peer / "bin" / "python"


def outcomes(peer: str, sets: Sequence[Drawn], environments: Path | None) -> Iterator[Outcome | None]:
    """Outcome of each data set, all of them in one process; None where the peer failed or ran out of time."""
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder) / str(i) for i in range(len(sets))]
        for path, drawn in zip(folders, sets, strict=True):
            write_case(as_dataset(drawn).drop_vars("true_factor"), drawn.formula, path)
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*_command(peer, environments), *map(str, folders)],
                capture_output=True,
                check=False,
                timeout=LIMIT,
                env=os.environ | ONE_THREAD,
            )
        yield from (_of_r(path / f"{peer}.csv") if peer in R_PEERS else _of_python(path) for path in folders)


def _command(peer: str, environments: Path | None) -> list[str]:
    if peer in R_PEERS:
        return ["Rscript", str(SCRIPT), peer]
    if environments is None:
        msg = f"{peer} runs in an environment of its own, and no folder of environments was given"
        raise ValueError(msg)
    return [str(python_of(environments, peer)), str(ADAPTERS / f"{peer}_adapter.py"), "--each"]


def _of_r(path: Path) -> Outcome | None:
    if not path.exists():
        return None
    table = pd.read_csv(path)
    found = {name: table[name].to_numpy(float) for name in ("lfc", "low", "high") if name in table}
    return Outcome(table["pval"].to_numpy(float), float(table["seconds"].iloc[0]), **found)


def _of_python(folder: Path) -> Outcome | None:
    """P-values alone, as the benchmarks' adapters give them."""
    timings = folder / "timings.json"
    if not timings.exists():
        return None
    seconds = json.loads(timings.read_text(encoding="utf-8"))["seconds"]
    return Outcome(np.fromfile(folder / "pvalues.bin"), seconds)
