"""Data sets of a cell: counts, samples, design, and what is true of each gene."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from validation.study.grid import Cell

MEDIAN_COUNT = {
    "bulk": {"small": 1.0, "shallow": 5.0, "middle": 60.0, "deep": 400.0},
    "cells": {"middle": 0.2},
}
SPREAD = {"bulk": 1.8, "cells": 1.6}  # of the log of the genes' means
DONORS, DONOR_SD = 8, 0.35  # cells' donors, half of each condition, and how they differ (natural log)
BATCH_SD, PAIR_SD = 0.3, 0.5  # log2
HIGH_GENES, HIGH_CHANGE = 6, 2.0  # of a composition shift: how many, and by how much they go up (log2)


@dataclass(frozen=True)
class Drawn:
    """One data set.

    Parameters
    ----------
    counts
        (sample, gene).
    samples
        A row a sample.
    formula
        Design, whose last coefficient is tested.
    lfc
        (gene,) true log2 fold change of that coefficient.
    factors
        (sample,) true size factors.
    dispersion
        (gene,) true overdispersions; NaN where the counts are real.
    """

    counts: np.ndarray
    samples: pd.DataFrame
    formula: str
    lfc: np.ndarray
    factors: np.ndarray
    dispersion: np.ndarray

    @property
    def changed(self) -> np.ndarray:
        """Which genes change (gene,)."""
        return self.lfc != 0.0


def draw(cell: Cell, seed: int, real: Path | None = None) -> Drawn:
    """Draw a data set; ``real`` is the folder of the real counts, for the cells that thin them."""
    rng = np.random.default_rng([seed, *cell.name.encode()])
    if cell.model == "real":
        return _thinned(cell, rng, real)
    samples, formula, tested, nuisance = _samples(cell, rng)
    lfc = _effects(cell, rng)
    mean = MEDIAN_COUNT[cell.kind][cell.depth] * rng.lognormal(0.0, SPREAD[cell.kind], cell.n_genes)
    mean = np.minimum(mean, 3e5)
    if cell.composition:
        lfc[np.argsort(-mean)[:HIGH_GENES]] = HIGH_CHANGE
    factors = rng.lognormal(0.0, 0.3, len(samples))
    log2 = np.outer(tested, lfc) + nuisance
    expected = factors[:, None] * mean * np.exp2(log2)
    dispersion = _dispersions(cell, mean, rng)
    counts = _with_outliers(cell, _counts(cell, expected, dispersion, rng), rng)
    return _kept(Drawn(counts, samples, formula, lfc, factors, dispersion))


def _kept(drawn: Drawn) -> Drawn:
    """Only genes with a count: some peers refuse others."""
    some = drawn.counts.any(axis=0)
    return replace(
        drawn, counts=drawn.counts[:, some], lfc=drawn.lfc[some], dispersion=drawn.dispersion[some]
    )


def _samples(cell: Cell, rng: np.random.Generator) -> tuple[pd.DataFrame, str, np.ndarray, np.ndarray]:
    """Samples, formula, the tested column of the design, and other effects (sample, gene) on the log2 scale."""
    n = cell.n_samples
    second = np.arange(n) >= n // 2
    condition = np.where(second, "B", "A")
    none = np.zeros((n, cell.n_genes))
    if cell.design == "donors":
        donor = np.arange(n) * DONORS // n
        level = rng.normal(0.0, DONOR_SD / np.log(2.0), (DONORS, cell.n_genes))
        samples = pd.DataFrame({"condition": condition, "donor": [f"d{i}" for i in donor]})
        return _named(samples), "~ condition", second.astype(float), level[donor]
    if cell.design in {"paired", "batch"}:
        name, levels, spread = (
            ("pair", cell.group, PAIR_SD) if cell.design == "paired" else ("batch", 2, BATCH_SD)
        )
        of = np.arange(n) % levels
        samples = pd.DataFrame({name: [f"{name}{i}" for i in of], "condition": condition})
        shifts = rng.normal(0.0, spread, (levels, cell.n_genes))
        return _named(samples), f"~ {name} + condition", second.astype(float), shifts[of]
    if cell.design == "continuous":
        dose = np.linspace(-1.0, 1.0, n)
        return _named(pd.DataFrame({"dose": dose})), "~ dose", dose, none
    if cell.design == "interaction":
        genotype, treated = np.arange(n) % 2 == 1, np.arange(n) >= n // 2
        words = {
            "genotype": np.where(genotype, "knockout", "control"),
            "treatment": np.where(treated, "yes", "no"),
        }
        main = rng.normal(0.0, BATCH_SD, (2, cell.n_genes))
        other = np.outer(genotype, main[0]) + np.outer(treated, main[1])
        tested = (genotype & treated).astype(float)
        return _named(pd.DataFrame(words)), "~ genotype * treatment", tested, other
    return _named(pd.DataFrame({"condition": condition})), "~ condition", second.astype(float), none


def _named(samples: pd.DataFrame) -> pd.DataFrame:
    return samples.set_axis([f"s{i}" for i in range(len(samples))], axis=0)


def _effects(cell: Cell, rng: np.random.Generator) -> np.ndarray:
    """Log2 fold changes (gene,)."""
    u, size = rng.random(cell.n_genes), rng.normal(0.0, 1.0, cell.n_genes)
    if cell.signal == "none":
        return np.zeros(cell.n_genes)
    if cell.signal == "one-sided":
        return np.where(u < 0.3, np.abs(size), 0.0)
    if cell.signal == "boundary":
        return np.select([u < 1 / 3, u < 2 / 3], [1.0, -1.0], 0.0)
    return np.where(u < 0.1, size, 0.0)


def _dispersions(cell: Cell, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Overdispersions (gene,), around a trend."""
    trend = 0.1 if cell.dispersion == "flat" else 0.05 + 2.0 / mean
    dispersion = trend * rng.lognormal(0.0, 0.5, mean.size)
    if cell.dispersion != "heavy":
        return dispersion
    return np.where(rng.random(mean.size) < 0.1, dispersion * rng.uniform(5.0, 20.0, mean.size), dispersion)


def _counts(cell: Cell, expected: np.ndarray, dispersion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts (sample, gene) around what is expected."""
    if cell.model == "lognormal":
        spread = np.sqrt(np.log1p(dispersion))  # the same variance
        rate = expected * np.exp(rng.normal(0.0, spread, expected.shape) - 0.5 * spread**2)
    else:
        rate = expected * rng.gamma(1.0 / dispersion, dispersion, expected.shape)
    counts = rng.poisson(np.minimum(rate, 1e9))
    if cell.model == "zero-inflated":
        counts = counts * (rng.random(counts.shape) >= 0.15)
    return counts.astype(np.int32)


def _with_outliers(cell: Cell, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if not cell.outliers:
        return counts
    hit = rng.random(counts.shape) < 0.005
    return np.where(hit, np.minimum(counts * rng.uniform(10.0, 50.0, counts.shape), 1e8), counts).astype(
        np.int32
    )


def _thinned(cell: Cell, rng: np.random.Generator, real: Path | None) -> Drawn:
    """Airway's counts with labels drawn anew within each cell line, and effects put in by binomial thinning.

    Keeping each line's two samples as a pair and drawing which of them is called treated leaves a null that is
    real in everything else. Thinning (Gerard 2020, doi:10.1186/s12859-020-3450-9) takes counts away in one group only.
    """
    if real is None:
        msg = "the cells of real counts need the folder of the airway reference"
        raise ValueError(msg)
    table = pd.read_csv(real / "counts.csv.gz", index_col=0)
    obs = pd.read_csv(real / "obs.csv", index_col="sample")
    counts = table[obs.index].to_numpy().T
    counts = counts[:, (counts > 0).sum(axis=0) >= 4]
    counts = counts[
        :, np.sort(rng.choice(counts.shape[1], min(cell.n_genes * 2, counts.shape[1]), replace=False))
    ]
    second = np.zeros(len(obs), dtype=bool)
    for members in obs.groupby("celltype").indices.values():
        second[rng.permutation(members)[: len(members) // 2]] = True
    samples = pd.DataFrame({"pair": obs["celltype"].to_numpy(), "condition": np.where(second, "B", "A")})
    whole = Cell(cell.name, cell.group, signal=cell.signal)
    lfc = np.resize(_effects(whole, rng), counts.shape[1])
    keep = np.exp2(-np.maximum(np.where(second[:, None], -lfc, lfc), 0.0))
    thinned = rng.binomial(counts, keep).astype(np.int32)
    totals = counts.sum(axis=1)
    factors = totals / np.exp(np.log(totals).mean())
    unknown = np.full(lfc.size, np.nan)
    return _kept(Drawn(thinned, _named(samples), "~ pair + condition", lfc, factors, unknown))
