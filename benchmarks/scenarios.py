"""The data of the benchmarks: made here from a seed, or read from a folder of reference cases.

A case is a folder that every peer can read: ``case.txt`` (key: value lines), ``counts.bin``
(32-bit integers, all genes of a sample after another), ``obs.csv``, ``design.csv`` (the model
matrix; its last coefficient is tested) and, for the command line, ``counts.zarr``.

    python -m benchmarks.scenarios NAME FOLDER [--scale 0.1]
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

REFERENCE_VARIABLE = "XDELNX_REFERENCE"
SPARE_GENES = 1.2  # made, so that enough have a count
SLOW_ON_CELLS = "made for bulk data, not tried on thousands of cells"
SLOW_ON_MORE = "takes a minute or more on 5,000 cells"


@dataclass(frozen=True)
class Scenario:
    """One problem.

    Parameters
    ----------
    name, title
        Folder name, and what the table says.
    n_samples, n_genes
        Size.
    formula
        Design, whose last coefficient is tested.
    simulate
        Arguments of `xdelnx.simulate`.
    rename
        Columns of the samples whose simulated name is another.
    reference
        Folder of the reference cases that holds real or simulated counts of this shape.
    skip
        Peer -> why it does not take part.
    """

    name: str
    title: str
    n_samples: int
    n_genes: int
    formula: str
    simulate: dict[str, Any] = field(default_factory=dict)
    rename: dict[str, str] = field(default_factory=dict)
    reference: str | None = None
    skip: dict[str, str] = field(default_factory=dict)

    def scaled(self, factor: float) -> tuple[int, int]:
        """Samples and genes of a smaller version; bulk data keeps its samples."""
        cells = self.n_samples >= 1000
        n_samples = max(int(self.n_samples * factor), 40) if cells else self.n_samples
        return n_samples, max(int(self.n_genes * factor), 150)


_CELLS: dict[str, Any] = {"kind": "cells", "levels": ("ctrl", "stim")}
_TOO_MANY_CELLS = dict.fromkeys(("DESeq2", "pydeseq2", "inmoose"), SLOW_ON_CELLS)

SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario(
            "pb28",
            "28 x 16,199, ~ GLI3_KO",
            28,
            16_199,
            "~ GLI3_KO",
            {"condition": "GLI3_KO", "levels": (False, True)},
            reference="pb28",
        ),
        Scenario(
            "bulk12",
            "12 x 20,000, ~ batch + condition",
            12,
            20_000,
            "~ batch + condition",
            {"n_batches": 2},
            reference="bulk12",
        ),
        Scenario(
            "multi60",
            "60 x 18,000, ~ age + sex + treatment",
            60,
            18_000,
            "~ age + sex + treatment",
            {"condition": "treatment", "levels": ("A", "B", "C"), "n_batches": 2, "covariate": "age"},
            rename={"batch": "sex"},
            reference="multi60",
        ),
        Scenario(
            "cells5k",
            "5,000 x 4,000 cells, ~ condition",
            5_000,
            4_000,
            "~ condition",
            _CELLS,
            reference="cells5k",
            skip=_TOO_MANY_CELLS,
        ),
        Scenario(
            "cells5k_cov",
            "5,000 x 4,000 cells, ~ condition + pct_mito",
            5_000,
            4_000,
            "~ condition + pct_mito",
            _CELLS | {"covariate": "pct_mito"},
            reference="cells5k_cov",
            skip=_TOO_MANY_CELLS
            | {"delnx": "takes minutes without the covariate", "crispyx": "tests levels of a factor"},
        ),
        Scenario(
            "cells50k",
            "50,000 x 2,000 cells, ~ condition",
            50_000,
            2_000,
            "~ condition",
            _CELLS,
            skip=_TOO_MANY_CELLS | dict.fromkeys(("edgeR", "delnx", "edgepython"), SLOW_ON_MORE),
        ),
    ]
}


def make_case(scenario: Scenario, folder: Path, factor: float = 1.0) -> None:
    """Write the case of a scenario."""
    reference = os.environ.get(REFERENCE_VARIABLE)
    if reference and scenario.reference and factor == 1.0:
        dataset, source = _referred(scenario, Path(reference)), "reference"
    else:
        dataset, source = _simulated(scenario, *scenario.scaled(factor)), "simulated"
    write_case(dataset, scenario.formula, folder, source)


def write_case(dataset: xr.Dataset, formula: str, folder: Path, source: str = "simulated") -> None:
    """Write counts and samples as a case."""
    import numpy as np
    import pandas as pd

    from xdelnx.designs.design import build_design
    from xdelnx.storage.stores import write_store

    folder.mkdir(parents=True, exist_ok=True)
    counts = np.ascontiguousarray(dataset["counts"].transpose("sample", "gene").values, dtype=np.int32)
    names = [name for name in dataset.data_vars if dataset[name].dims == ("sample",)]
    samples = pd.DataFrame({name: dataset[name].values for name in names}, index=dataset["sample"].values)
    model = build_design(samples, formula)
    counts.tofile(folder / "counts.bin")
    samples.to_csv(folder / "obs.csv", index_label="sample")
    pd.DataFrame(model.matrix, columns=list(model.names)).to_csv(folder / "design.csv", index=False)
    about = {
        "n_samples": counts.shape[0],
        "n_genes": counts.shape[1],
        "formula": formula,
        "coefficient": model.names[-1],
        "non_zero": f"{np.count_nonzero(counts) / counts.size:.4f}",
        "source": source,
    }
    (folder / "case.txt").write_text("".join(f"{key}: {value}\n" for key, value in about.items()))
    write_store(dataset[["counts", *names]], folder / "counts.zarr", overwrite=True)


def _simulated(scenario: Scenario, n_samples: int, n_genes: int) -> xr.Dataset:
    """As many genes as asked for, each with a count: some peers refuse others."""
    import xdelnx

    dataset = xdelnx.simulate(n_samples, int(n_genes * SPARE_GENES), **scenario.simulate, seed=1)
    counts = dataset["counts"].values
    expressed = (counts > 0).any(axis=0).nonzero()[0][:n_genes]
    return dataset.isel(gene=expressed).rename(scenario.rename)


def _referred(scenario: Scenario, root: Path) -> xr.Dataset:
    """Counts of a reference case, covariates standardised, without the genes that have no count."""
    import numpy as np
    import pandas as pd
    import xarray as xr

    folder = root / str(scenario.reference)
    where = folder if (folder / "counts.npz").exists() else root / folder.name.removesuffix("_cov")
    counts = np.load(where / "counts.npz")["counts"]
    samples = pd.read_csv(where / "obs.csv", index_col=0)
    for name in samples.columns:
        if samples[name].dtype.kind == "f" and name != "sf_true":
            samples[name] = (samples[name] - samples[name].mean()) / samples[name].std()
    genes = np.flatnonzero(counts.any(axis=0))
    dataset = xr.Dataset(
        {"counts": (("sample", "gene"), counts[:, genes].astype(np.int32))},
        {"sample": samples.index.to_numpy(object), "gene": np.array([f"g{g}" for g in genes], dtype=object)},
    )
    columns = {
        name: values.to_numpy() if values.dtype.kind in "bif" else values.to_numpy(object)
        for name, values in samples.items()
    }
    return dataset.assign({name: ("sample", values) for name, values in columns.items()})


def main() -> None:
    """Make one case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=list(SCENARIOS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="make a smaller version")
    args = parser.parse_args()
    make_case(SCENARIOS[args.name], args.folder, args.scale)


if __name__ == "__main__":
    main()
