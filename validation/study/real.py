"""Real counts (airway): the ranks of known responders, and what is left of a result with fewer samples and reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xdelnx as xd
from validation.study.measures import LEVEL

RESPONDERS = {
    "DUSP1": "ENSG00000120129",
    "FKBP5": "ENSG00000096060",
    "PER1": "ENSG00000179094",
    "KLF15": "ENSG00000163884",
    "TSC22D3": "ENSG00000157514",
    "CRISPLD2": "ENSG00000103196",
}
"""Genes that dexamethasone is known to raise (Himes et al. 2014, doi:10.1371/journal.pone.0099625)."""

METHODS: dict[str, dict[str, Any]] = {
    "xdelnx": {},
    "xdelnx invariant": {"size_factors": "invariant"},
    "xdelnx edger": {"method": "edger"},
    "xdelnx robust": {"robust": True},
}
READS = (0.5, 0.25, 0.1)
FORMULA = "~ celltype + dex"


def airway(folder: Path) -> xr.Dataset:
    """Counts with their samples, of the genes that have any."""
    table = pd.read_csv(folder / "counts.csv.gz", index_col=0)
    obs = pd.read_csv(folder / "obs.csv", index_col="sample")
    table = table.loc[table.any(axis=1), obs.index]
    columns = {name: ("sample", obs[name].to_numpy(object)) for name in ("celltype", "dex")}
    names = {"sample": obs.index.to_numpy(object), "gene": table.index.to_numpy(object)}
    return xr.Dataset({"counts": (("sample", "gene"), table.to_numpy().T), **columns}, names)


def best_first(data: xr.Dataset, options: dict[str, Any]) -> pd.DataFrame:
    """Genes with their tests, best first."""
    with warnings.catch_warnings():  # that library totals mislead a little here is known
        warnings.simplefilter("ignore", xd.XdelnxWarning)
        return xd.top_table(xd.fit(data, FORMULA, **options)).set_index("feature")


def found(table: pd.DataFrame) -> set[str]:
    """Genes at the level."""
    return set(table.index[table["padj"] < LEVEL])


def parts(data: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Data with one cell line left out, and with fewer reads."""
    for line in np.unique(data["celltype"].values.astype(str)):
        yield "three of four cell lines", data.isel(sample=data["celltype"].values != line)
    for seed, share in enumerate(READS):
        counts = np.random.default_rng(seed).binomial(data["counts"].values, share)
        yield f"{share:.0%} of the reads", data.assign(counts=(("sample", "gene"), counts))


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Where each method ranks the responders, and what it keeps of its hits with less data."""
    data = airway(folder)
    for method, options in METHODS.items():
        whole = best_first(data, options)
        for name, gene in RESPONDERS.items():
            up = whole.loc[gene, "log2fc"] > 0.0
            yield {
                "method": method,
                "what": f"rank of {name}{'' if up else ', down'}",
                "value": whole.index.get_loc(gene) + 1,
            }
        yield {"method": method, "what": "genes at 5 %", "value": len(found(whole))}
        for what, less in parts(data):
            kept = found(best_first(less, options))
            yield {
                "method": method,
                "what": f"found again with {what}",
                "value": len(kept & found(whole)) / len(found(whole)),
            }
            yield {
                "method": method,
                "what": f"new with {what}",
                "value": len(kept - found(whole)) / max(len(kept), 1),
            }


def lines(folder: Path) -> Iterator[str]:
    """Table of means over the ways to take less."""
    table = pd.DataFrame(rows(folder)).pivot_table(
        index="what", columns="method", values="value", aggfunc="mean", sort=False
    )
    yield from ["", "## Real data: airway, dexamethasone against none within four cell lines", ""]
    yield f"| | {' | '.join(table.columns)} |"
    yield "|---" * (len(table.columns) + 1) + "|"
    for what, values in table.iterrows():
        yield (
            f"| {what} | "
            + " | ".join(f"{v:.0f}" if v >= 1 and v == int(v) else f"{v:.3f}" for v in values)
            + " |"
        )
