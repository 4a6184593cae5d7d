"""The peers: R's packages, several data sets in one process, and Python's, each in its own environment."""

from __future__ import annotations

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
SLOW_ON_CELLS = {"DESeq2": 500, "edgeR": 5_000, "delnx": 0, "edgepython": 0, "pydeseq2": 0, "crispyx": 500}
PYTHON_CELLS = ("3 a group", "5 a group", "14 a group", "5 a group no signal", "500 cells")
SCRIPT = Path(__file__).with_name("peers.R")
ADAPTERS = Path(__file__).parents[2] / "benchmarks" / "adapters"
LIMIT = 3600.0  # seconds for all data sets of a task


def takes_part(peer: str, cell: Cell) -> bool:
    """Whether a peer is run on a cell: not where it takes minutes a data set."""
    if cell.kind == "cells" and cell.group > SLOW_ON_CELLS.get(peer, 5_000):
        return False
    return peer in R_PEERS or cell.name in PYTHON_CELLS


def installed(environments: Path | None) -> tuple[list[str], dict[str, str]]:
    """Peers that can be run, and why others cannot."""
    missing: dict[str, str] = {}
    for peer in R_PEERS:
        if shutil.which("Rscript") is None:
            missing[peer] = "no Rscript"
        elif subprocess.run(
            ["Rscript", "-e", f"library({peer})"], capture_output=True, check=False
        ).returncode:
            missing[peer] = "not installed in R"
    for peer in PYTHON_PEERS:
        if environments is None or not python_of(environments, peer).exists():
            missing[peer] = "no environment (benchmarks/install_peers.sh makes them)"
    return [peer for peer in (*R_PEERS, *PYTHON_PEERS) if peer not in missing], missing


def python_of(environments: Path, peer: str) -> Path:
    """Interpreter of a peer's environment."""
    return environments / peer / "bin" / "python"


def outcomes(peer: str, sets: Sequence[Drawn], environments: Path | None) -> Iterator[Outcome | None]:
    """Outcome of each data set; None where the peer failed."""
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder) / str(i) for i in range(len(sets))]
        for path, drawn in zip(folders, sets, strict=True):
            write_case(as_dataset(drawn).drop_vars("true_factor"), drawn.formula, path)
        if peer in R_PEERS:
            command = ["Rscript", str(SCRIPT), peer, *map(str, folders)]
            subprocess.run(command, capture_output=True, check=False, timeout=LIMIT)
            yield from (_of_r(path / f"{peer}.csv") for path in folders)
        elif environments is not None:
            python = python_of(environments, peer)
            yield from (_of_python(peer, python, path) for path in folders)


def _of_r(path: Path) -> Outcome | None:
    if not path.exists():
        return None
    table = pd.read_csv(path)
    return Outcome(
        table["pval"].to_numpy(float), float(table["seconds"].iloc[0]), table["lfc"].to_numpy(float)
    )


def _of_python(peer: str, python: Path, folder: Path) -> Outcome | None:
    """One run of the benchmarks' adapter of a peer, which gives p-values alone."""
    out = folder / "out"
    out.mkdir()
    command = [str(python), str(ADAPTERS / f"{peer}_adapter.py"), str(folder), str(out)]
    quiet = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, check=False, timeout=LIMIT, env=quiet)
    if done.returncode:
        return None
    timings = json.loads((out / "timings.json").read_text(encoding="utf-8"))
    return Outcome(np.fromfile(out / "pvalues.bin"), timings["again"] or timings["first"])
