"""Error rates of a fit by its size factors: reference cases, cells and bulk data whose totals mislead.

    python validation/size_factors_study.py [--reference REFERENCE_DIR] [--seeds 3] [--write FILE]

For each data set and method: genes found at a nominal 5 %, the fraction of these that are false, and the fraction of
the changed genes that are found. The true size factors are the yardstick.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from reference_cases import cases

import xdelnx as xd

METHODS = ("normed_sum", "ratio", "poscounts", "tmm", "invariant", "true")
TRUE_FACTOR = {"reference": "sf_true", "simulated": "size_factor_true"}


def found(data: xr.Dataset, formula: str, method: str, truth: np.ndarray, true_factor: str) -> str:
    """Genes found in the test of the last coefficient, how many of them falsely, and power; or why there are none."""
    factors = true_factor if method == "true" else method
    with warnings.catch_warnings():  # that the totals mislead is what is measured here
        warnings.filterwarnings("ignore", "size_factors=.* disagree", xd.XdelnxWarning)
        try:
            fit = xd.fit(data, formula, size_factors=factors, contrasts=None)
        except ValueError:
            if method != "ratio":  # which needs a gene without a zero, and says so
                raise
            return "no gene without a zero"
        result = xd.test(data, fit, str(fit["coefficient"].values[-1]))
    hits = result["padj"].values[0] < 0.05
    false, power = (hits & ~truth).sum() / max(hits.sum(), 1), (hits & truth).sum() / truth.sum()
    return f"{hits.sum()}, {false:.3f}, {power:.3f}"


def high_genes(seed: int) -> xr.Dataset:
    """14 against 14 samples, six of the most abundant genes tripled in the second group."""
    data = xd.simulate(28, 16_000, seed=seed)
    high = np.argsort(-data["base_mean"].values)[:6]
    counts, changed = data["counts"].values.copy(), data["is_de"].values.copy()
    counts[14:, high] *= 3
    changed[high] = True
    return data.assign(counts=(("sample", "gene"), counts), is_de=("gene", changed))


def problems(reference: Path | None, seeds: int) -> Iterator[tuple[str, xr.Dataset, str, np.ndarray, str]]:
    """Name, data, design, changed genes and the column of the true size factors."""
    for case in [] if reference is None else cases(reference):
        path = case.folder / "truth.csv.gz"
        if path.exists():
            truth = pd.read_csv(path)["is_de"].to_numpy(bool)
            yield case.name, case.data, case.spec.formula, truth, TRUE_FACTOR["reference"]
    for seed in range(seeds):
        made = {
            "50,000 x 2,000 cells": xd.simulate(50_000, 2_000, kind="cells", seed=seed),
            "28 x 16,000, six high genes tripled": high_genes(seed),
        }
        for name, data in made.items():
            yield f"{name}, seed {seed}", data, "~ condition", data["is_de"].values, TRUE_FACTOR["simulated"]


def table(reference: Path | None, seeds: int) -> Iterator[str]:
    """Lines of the table."""
    yield f"# Error rates by size factors, {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, xdelnx {xd.__version__}"
    yield ""
    yield "At a nominal false discovery rate of 5 %: genes found, false discovery rate, power."
    yield ""
    yield f"| data | {' | '.join(METHODS)} |"
    yield "|---" * (len(METHODS) + 1) + "|"
    for name, data, formula, truth, true_factor in problems(reference, seeds):
        print(name, file=sys.stderr)
        cells = [found(data, formula, method, truth, true_factor) for method in METHODS]
        yield (f"| {name} | " + " | ".join(cells) + " |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", type=Path, help="folder of the reference cases")
    parser.add_argument(
        "--seeds", type=int, default=3, help="simulated data sets of each kind (default: %(default)s)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the table there")
    options = parser.parse_args(arguments)
    text = "\n".join(table(options.reference, options.seeds)) + "\n"
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
