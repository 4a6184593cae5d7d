"""Why peers err where they do: their steps replaced one at a time, by the truth or by another of their own.

    python -m validation.replaced_steps OUT.md [--peers DIR] [--sets 5]

edgeR and DESeq2 on 500 cells of the study; crispyx on 5 samples a group, with and without a batch, where its
p-values are read once more as those of a t statistic.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.scenarios import write_case
from validation.study import peers
from validation.study.drawing import Drawn, draw
from validation.study.grid import GRID
from validation.study.measures import discovery_measures, null_measures
from validation.study.methods import as_dataset

SCRIPT = Path(__file__).with_suffix(".R")
SHOWN = {
    "null below 0.05": "null p < 0.05",
    "null below 0.001": "null p < 0.001",
    "fdr": "FDR at 5 %",
    "power": "power",
}


def data(name: str, sets: int) -> list[Drawn]:
    """Draw the first data sets of a cell of the study."""
    cell = next(cell for cell in GRID if cell.name == name)
    return [draw(cell, seed) for seed in range(sets)]


def variants_of_r(drawn: Drawn) -> pd.DataFrame:
    """P-values (gene, variant) of edgeR and DESeq2."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_case(as_dataset(drawn).drop_vars("true_factor"), drawn.formula, path)
        pd.DataFrame({"factor": drawn.factors}).to_csv(path / "truth.csv")
        pd.DataFrame({"theta": drawn.dispersion}).to_csv(path / "theta.csv")
        subprocess.run(["Rscript", str(SCRIPT), folder], check=True, capture_output=True)
        return pd.read_csv(path / "variants.csv")


def variants_of_crispyx(drawn: Drawn, environments: Path) -> pd.DataFrame:
    """P-values (gene, variant) of crispyx, and the same statistics referred to Student's distribution."""
    (outcome,) = peers.outcomes("crispyx", [drawn], environments)
    if outcome is None:
        return pd.DataFrame()
    z = stats.norm.isf(0.5 * np.clip(outcome.pval, 1e-300, 1.0))
    freedom = len(drawn.samples) - 1 - drawn.formula.count("+") - 1
    as_t = 2.0 * stats.t.sf(z, freedom)
    return pd.DataFrame(
        {
            "crispyx: as it is": outcome.pval,
            f"crispyx: its statistic as t on {freedom} degrees of freedom": as_t,
        }
    )


def measured(drawn: Drawn, pvalues: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Error rates of each variant."""
    for name, p in pvalues.items():
        values = p.to_numpy(float)
        found = null_measures(values, ~drawn.changed) | discovery_measures(values, drawn.changed)
        yield {"variant": name} | {title: found[measure] for measure, title in SHOWN.items()}


def lines(title: str, rows: Sequence[dict[str, object]]) -> Iterator[str]:
    """Table of the means over the data sets, with Monte Carlo errors."""
    groups = pd.DataFrame(rows).groupby("variant", sort=False)
    mean, error = groups.mean(), groups.sem()
    yield from ["", f"## {title}", "", f"| | {' | '.join(mean.columns)} |", "|---|" + "---:|" * mean.shape[1]]
    for name in mean.index:
        cells = [f"{m:.3f} ({e:.3f})" for m, e in zip(mean.loc[name], error.loc[name], strict=True)]
        yield f"| {name} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the variants, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("out", type=Path)
    parser.add_argument("--peers", type=Path, metavar="DIR", help="environments of the Python peers")
    parser.add_argument("--sets", type=int, default=5)
    options = parser.parse_args(arguments)
    cells = data("500 cells", options.sets)
    text = [
        "# Peers with a step replaced",
        "",
        f"Means of {options.sets} data sets of the study (Monte Carlo errors).",
    ]
    text += lines("500 cells x 2,000 genes", [row for d in cells for row in measured(d, variants_of_r(d))])
    if options.peers is not None:
        for name in ("5 a group", "5 a group batch"):
            bulk = data(name, options.sets)
            rows = [row for d in bulk for row in measured(d, variants_of_crispyx(d, options.peers))]
            text += lines(name, rows)
    options.out.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
