"""Shrunken fold changes beside DESeq2's own (lfcShrink, type "normal") and the truth, on simulated reference cases.

    python validation/compare_shrinkage.py REFERENCE_DIR [--write FILE]

Root mean square error of log2 fold changes, and the slope of the shrunken on the true ones: 1 where nothing is lost.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from reference_cases import Case, cases

import xdelnx as xd

SCRIPT = Path(__file__).with_name("deseq2_shrinkage.R")
CASES = ("pb28", "bulk12")


def deseq2(case: Case) -> tuple[str, pd.DataFrame]:
    """DESeq2's version, and its fold changes (gene) estimated and shrunken."""
    with tempfile.TemporaryDirectory() as folder:
        counts, obs, out = (Path(folder) / name for name in ("counts.csv", "obs.csv", "out.csv"))
        case.data["counts"].to_pandas().T.to_csv(counts)
        case.data[[name for name in case.data if name != "counts"]].to_pandas().to_csv(obs)
        command = ["Rscript", str(SCRIPT), str(counts), str(obs), case.spec.formula, str(out)]
        version = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        return version, pd.read_csv(out)


def rows(case: Case) -> Iterator[str]:
    """Lines of the table, for all genes, those of few counts, and large effects that are well measured."""
    version, theirs = deseq2(case)
    truth = pd.read_csv(case.folder / "truth.csv.gz")
    fit = xd.fit(case.data, case.spec.formula)
    raw, ours = fit["log2fc"].values[-1], xd.shrink_lfc(fit)["log2fc_shrunken"].values[-1]
    lfc = truth["lfc"].to_numpy()
    known = np.isfinite(ours) & np.isfinite(theirs["shrunken"])
    groups = {
        "all genes": known,
        "mean below 20": known & (truth["base_mean"] < 20),
        "mean above 100, change above 1.5": known & (truth["base_mean"] > 100) & (abs(lfc) > 1.5),
    }
    for name, part in groups.items():
        estimates = raw, ours, theirs["estimated"].to_numpy(), theirs["shrunken"].to_numpy()
        errors = [np.sqrt(np.mean((values[part] - lfc[part]) ** 2)) for values in estimates]
        slopes = [np.polyfit(lfc[part], estimates[i][part], 1)[0] for i in (1, 3)]
        numbers = [f"{number:.3f}" for number in (*errors, *slopes)]
        yield f"| {case.name} ({version}) | {name} | {part.sum():,} | {' | '.join(numbers)} |"


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reference", type=Path, help="folder of the reference cases")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the table there")
    options = parser.parse_args()
    columns = (
        "case",
        "genes",
        "n",
        "error",
        "error shrunken",
        "DESeq2's",
        "DESeq2's shrunken",
        "slope",
        "DESeq2's",
    )
    lines = ["# Shrunken fold changes beside DESeq2's and the truth", "", f"| {' | '.join(columns)} |"]
    lines += ["|---" * len(columns) + "|"]
    lines += [line for case in cases(options.reference) if case.name in CASES for line in rows(case)]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
