"""The reference cases: counts, design and R's own results, brought to xdelnx's names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr


@dataclass(frozen=True)
class CaseSpec:
    """What a case was fitted with.

    Parameters
    ----------
    formula
        Its design.
    tests
        Suffix of R's columns for a test, and the arguments that ask `xdelnx.test` for the same.
    standardised
        Covariates that R was given as (x - mean) / sd.
    """

    formula: str
    tests: dict[str, dict[str, Any]] = field(default_factory=dict)
    standardised: tuple[str, ...] = ()


CASES = {
    "airway": CaseSpec("~ celltype + dex"),
    "pb28": CaseSpec("~ GLI3_KO"),
    "bulk12": CaseSpec("~ batch + condition", {"drop_both": {"reduced": "~ 1"}}),
    "multi60": CaseSpec(
        "~ age + sex + treatment",
        {
            "C_minus_B": {"contrast": "treatment[T.C] - treatment[T.B]"},
            "drop_treatment": {"reduced": "~ age + sex"},
        },
        ("age",),
    ),
    "cells5k": CaseSpec("~ condition"),
    "cells5k_cov": CaseSpec(
        "~ condition + pct_mito", {"condition": {"contrast": "condition[T.stim]"}}, ("pct_mito",)
    ),
}
GOLDEN = {
    "golden12": CaseSpec("~ batch + condition", {"drop_both": {"reduced": "~ 1"}}),
    "golden8": CaseSpec("~ x + group", {"drop_both": {"reduced": "~ 1"}}),
}
COUNTS_OF = {"cells5k_cov": "cells5k"}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "poisson": {"overdispersion": False},
    "global_dispersion": {"overdispersion": "global"},
    "no_shrinkage": {"shrinkage": False},
    "no_cox_reid": {"cox_reid": False},
    "size_factors_ratio": {"size_factors": "ratio"},
    "size_factors_poscounts": {"size_factors": "poscounts"},
    "size_factors_none": {"size_factors": None},
    "ridge_0.5": {"ridge": 0.5},
    "offset_sample": {"offset": "offset", "size_factors": None},
    "offset_entry": {"offset": "offset_entry", "size_factors": None},
}


def r_name(coefficient: str) -> str:
    """R's name of a coefficient: ``(Intercept)``, ``dextreated``."""
    return re.sub(r"\[T\.(.*)\]$", r"\1", coefficient).replace("Intercept", "(Intercept)")


def dataset(counts: np.ndarray, obs: pd.DataFrame, genes: Any) -> xr.Dataset:
    """Counts (sample, gene) and the samples' table as xdelnx takes them."""
    columns = {
        name: ("sample", column.to_numpy(dtype=None if column.dtype.kind in "ifb" else object))
        for name, column in obs.items()
    }
    names = {"sample": obs.index.to_numpy(dtype=object), "gene": np.asarray(genes, dtype=object)}
    return xr.Dataset({"counts": (("sample", "gene"), counts), **columns}, names)


@dataclass(frozen=True)
class Case:
    """One folder of the reference."""

    name: str
    folder: Path

    @property
    def spec(self) -> CaseSpec:
        """Design and tests."""
        return (CASES | GOLDEN)[self.name]

    @cached_property
    def data(self) -> xr.Dataset:
        """Counts, with covariates as R was given them."""
        source = self.folder.parent / COUNTS_OF.get(self.name, self.name)
        obs = pd.read_csv(source / "obs.csv").set_index("sample")
        for column in self.spec.standardised:
            obs[column] = (obs[column] - obs[column].mean()) / obs[column].std()
        if (source / "counts.csv.gz").exists():
            table = pd.read_csv(source / "counts.csv.gz", index_col=0)
            data = dataset(table[obs.index].to_numpy().T, obs, table.index)
            offset = self.other("offset_entry")
            if offset is not None:
                data["offset_entry"] = (("sample", "gene"), offset[obs.index].to_numpy().T)
            return data
        counts = np.load(source / "counts.npz")["counts"]
        return dataset(counts, obs, [f"g{i}" for i in range(counts.shape[1])])

    @property
    def variants(self) -> list[str]:
        """Those of `VARIANTS` that R's results are there for."""
        return [variant for variant in VARIANTS if self._path(variant).exists()]

    def _path(self, variant: str, kind: str = "") -> Path:
        if (self.folder / "glmGamPoi_genes.csv.gz").exists():
            name = "glmGamPoi" if variant == "default" else f"glmGamPoi_{variant}"
            return self.folder / f"{name}_{kind or 'genes'}.csv.gz"
        return self.folder / f"glmGamPoi_{variant}{'_' if kind else ''}{kind}.csv.gz"

    def table(self, variant: str) -> pd.DataFrame:
        """R's results by gene, in the order of the counts; NaN for genes without a count."""
        table = pd.read_csv(self._path(variant)).set_index("gene")
        return table.reindex(self.data["gene"].to_numpy())

    def scalars(self, variant: str) -> dict[str, float]:
        """R's prior and residual degrees of freedom, where there are any."""
        path = self._path(variant, "scalars")
        return {} if not path.exists() else pd.read_csv(path).iloc[0].astype(float).to_dict()

    def size_factors(self, variant: str) -> np.ndarray | None:
        """R's size factors (sample,), where they were kept."""
        path = self._path(variant, "samples")
        if not path.exists():
            return None
        factors = pd.read_csv(path).set_index("sample")["size_factor"]
        return factors.reindex(self.data["sample"].to_numpy()).to_numpy()

    def other(self, name: str) -> pd.DataFrame | None:
        """Another table of the folder, by its first column, or None."""
        path = self.folder / f"{name}.csv.gz"
        return pd.read_csv(path, index_col=0) if path.exists() else None


def cases(folder: Path) -> list[Case]:
    """Cases that the folder has."""
    return [Case(name, folder / name) for name in (*CASES, *GOLDEN) if (folder / name).is_dir()]
