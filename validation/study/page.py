"""Tables and pictures of the study's results."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import xdelnx as xd
from validation.study import pictures, real
from validation.study.grid import GRID

NOMINAL = {"fdr": (0.0, 0.05), "null below 0.05": (0.045, 0.055), "coverage": (0.93, 0.97)}
MEASURES = {
    "fdr": "False discovery rate at a nominal 5 %",
    "power": "Power at a false discovery rate of 5 %: the fraction of the changed genes that are found",
    "power of ranks": "Power of the ranking: the fraction of the changed genes in the longest top of the list that is "
    "5 % false in truth, whatever the p-values promise",
    "null below 0.05": "Fraction of the p-values of unchanged genes below 0.05",
    "null below 0.01": "Fraction of the p-values of unchanged genes below 0.01",
    "null below 0.001": "Fraction of the p-values of unchanged genes below 0.001, in thousandths",
    "null distance": "Largest distance between the distribution of unchanged genes' p-values and the uniform one",
    "coverage": "Coverage of 95 % intervals",
    "error": "Root mean square error of log2 fold changes",
    "error shrunken": "Root mean square error of shrunken log2 fold changes",
    "false signs": "Fraction of wrong signs among genes with an s-value below 0.05",
    "rank correlation": "Agreement with the default: correlation of the p-values' ranks",
    "shared hits": "Agreement with the default: genes found by both, of those found by either",
    "warned": "Fraction of the data sets of which the fit warned that its size factors mislead",
    "seconds": "Seconds a data set (shared machine)",
}
SCALE = {"null below 0.001": 1000.0}


def summaries(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Mean and Monte Carlo error of every measure, by cell and method."""
    table = pd.DataFrame(rows).drop(columns="seed")
    unseen = [measure for measure in MEASURES if measure not in table.columns]  # as power without any signal
    table = table.reindex(columns=[*table.columns, *unseen])
    groups = table.groupby(["cell", "method"])
    mean, error, n = groups.mean(), groups.sem(), groups.count()
    return pd.concat({"mean": mean, "error": error, "n": n}, axis=1).swaplevel(axis=1)


def bars(table: pd.DataFrame, method: str) -> Iterator[tuple[str, str, float, float, bool]]:
    """Bars of a method: cell, measure, its mean and error, and whether it is within two errors of what is promised.

    Library totals promise nothing where the changes move them.
    """
    cells = {
        cell.name for cell in GRID if cell.calibrated and not (method == "xdelnx" and cell.shifts_totals)
    }
    for (cell, name), row in table.iterrows():
        if name != method or cell not in cells:
            continue
        for measure, (low, high) in NOMINAL.items():
            mean, error = row[(measure, "mean")], row[(measure, "error")]
            if np.isfinite(mean) and not (measure == "fdr" and "no signal" in cell):
                slack = 2.0 * (0.0 if np.isnan(error) else error)
                yield cell, measure, mean, error, low - slack <= mean <= high + slack


def best_power(rows: pd.DataFrame, table: pd.DataFrame, cell: str) -> tuple[str, float, float]:
    """Method that keeps its false discovery rate in a cell and has most power beyond invariant factors.

    With that difference and its Monte Carlo error. Methods that were given fewer data sets are left out: their
    rates are too uncertain to say that they are kept.
    """
    power = rows[rows["cell"] == cell].pivot_table(index="seed", columns="method", values="power")
    best = "xdelnx invariant", 0.0, 0.0
    for name in power.columns[power.notna().all()]:
        rate = table.loc[(cell, name)]
        keeps = rate[("fdr", "mean")] <= NOMINAL["fdr"][1] + 2.0 * np.nan_to_num(rate[("fdr", "error")])
        more = power[name] - power["xdelnx invariant"]
        if keeps and "true" not in name and more.mean() > best[1]:
            best = str(name), float(more.mean()), float(more.sem())
    return best


def _overview(rows: pd.DataFrame, table: pd.DataFrame, order: Sequence[str]) -> Iterator[str]:
    """False discovery rate and power of the default and of invariant factors, beside the best that keeps its rate."""
    yield "| data | FDR | FDR, invariant | power | power, invariant | best that keeps its FDR | more power by |"
    yield "|---|---:|---:|---:|---:|---|---:|"
    for cell in order:
        if not np.isfinite(table.loc[(cell, "xdelnx"), ("power", "mean")]):
            continue
        both = [table.loc[(cell, name)] for name in ("xdelnx", "xdelnx invariant")]
        rates = [_cell(row, measure) for measure in ("fdr", "power") for row in both]
        name, more, error = best_power(rows, table, cell)
        yield f"| {cell} | {' | '.join(rates)} | {name} | {f'{more:.3f} ({error:.3f})' if more else ''} |"


def _promises(table: pd.DataFrame, method: str) -> Iterator[str]:
    """How many bars a method keeps, and those that it misses."""
    seen = list(bars(table, method))
    kept = sum(bar[-1] for bar in seen)
    yield from ["", f"`{method}` keeps {kept} of {len(seen)}.", ""]
    if kept < len(seen):
        yield "| data | measure | seen |\n|---|---|---:|"
        yield from (f"| {c} | {m} | {mean:.3f} ({e:.3f}) |" for c, m, mean, e, good in seen if not good)


def _order(table: pd.DataFrame) -> list[str]:
    """Cells that there are results of, as in the grid."""
    return [cell.name for cell in GRID if cell.name in table.index.get_level_values("cell")]


def _cell(row: pd.Series, measure: str) -> str:
    scale = SCALE.get(measure, 1.0)
    mean, error = scale * row[(measure, "mean")], scale * row[(measure, "error")]
    if not np.isfinite(mean):
        return ""
    return f"{mean:.3f}" if np.isnan(error) else f"{mean:.3f} ({error:.3f})"


def lines(rows: Sequence[dict[str, Any]], versions: dict[str, str], missing: dict[str, str]) -> Iterator[str]:
    """Page of all tables: the mean of each measure, its Monte Carlo error in brackets."""
    table = summaries(rows)
    order = _order(table)
    methods = sorted(
        table.index.get_level_values("method").unique(),
        key=lambda name: (not name.startswith("xdelnx"), name),
    )
    yield f"# Calibration, {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, xdelnx {xd.__version__}"
    yield ""
    yield "![Error rates of every method on every kind of data](study.png)"
    yield ""
    yield f"{len(order)} kinds of data; means over data sets, and in brackets their Monte Carlo errors."
    yield from ["", *_who(rows, versions, missing)]
    yield ""
    yield from ["## In short", ""]
    yield from _overview(pd.DataFrame(rows), table, order)
    yield from ["", "## What is promised", ""]
    yield (
        "With five samples a group and more, counts that are negative binomial, no outliers and no donors: a false "
        "discovery rate of at most 5 %, 4.5 to 5.5 % of unchanged genes' p-values below 0.05, intervals that cover "
        "93 to 97 %; each to within two Monte Carlo errors. Library totals (the default) promise it where the changes "
        "do not move the totals, `invariant` everywhere."
    )
    for method in ("xdelnx", "xdelnx invariant"):
        yield from _promises(table, method)
    for measure, title in MEASURES.items():
        if table[(measure, "mean")].notna().any():
            yield from ["", f"## {title}", ""]
            yield from _of_measure(table, order, methods, measure)


def _who(rows: Sequence[dict[str, Any]], versions: dict[str, str], missing: dict[str, str]) -> Iterator[str]:
    """Each peer with its version, how many data sets it was given of how many kinds, and where it failed."""
    table = pd.DataFrame(rows)
    table["peer"] = table["method"].where(~table["method"].str.startswith("xdelnx"), "xdelnx")
    for peer, given in table.groupby("peer"):
        sets = given.groupby(["cell", "method"]).size().groupby("cell").max()
        spread = ", ".join(f"{n} of each of {(sets == n).sum()} kinds" for n in sorted(sets.unique())[::-1])
        failed = given.loc[given["seconds"].isna(), "cell"].value_counts()
        words = ", ".join(f"{cell} ({n})" for cell, n in failed.items())
        version = xd.__version__ if peer == "xdelnx" else versions.get(str(peer), "")
        yield f"- {f'{peer} {version}'.strip()}: data sets {spread}{f'; no result of {words}' if words else ''}"
    yield from (f"- {peer} was not run: {reason}" for peer, reason in missing.items())


def _of_measure(
    table: pd.DataFrame, order: Sequence[str], methods: Sequence[str], measure: str
) -> Iterator[str]:
    """Table of a measure, of the methods and data that have it."""
    known = table[(measure, "mean")].dropna().index
    columns = [method for method in methods if method in known.get_level_values("method")]
    yield f"| data | {' | '.join(columns)} |"
    yield "|---|" + "---:|" * len(columns)
    for cell in order:
        cells = [_cell(table.loc[(cell, m)], measure) if (cell, m) in known else "" for m in columns]
        if any(cells):
            yield f"| {cell} | {' | '.join(cells)} |"


def write(
    rows: Sequence[dict[str, Any]],
    folder: Path,
    versions: dict[str, str],
    missing: dict[str, str],
    airway: Path | None = None,
) -> None:
    """Write the page and its picture beside the results."""
    more = () if airway is None else real.lines(airway)
    (folder / "study.md").write_text(
        "\n".join([*lines(rows, versions, missing), *more]) + "\n", encoding="utf-8"
    )
    table = summaries(rows)
    pictures.draw(table, _order(table), folder / "study.png")
