"""xdelnx: `fit` with the test of the last coefficient, counts in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import Case, run


def prepare(case: Case) -> Any:
    """A Dataset in memory, as `from_anndata` or `simulate` give it."""
    import xarray as xr

    columns = {
        name: ("sample", values.to_numpy(object) if values.dtype.kind not in "bif" else values.to_numpy())
        for name, values in case.samples.items()
    }
    coords = {"sample": case.samples.index.to_numpy(object), "gene": np.array(case.genes, dtype=object)}
    return xr.Dataset({"counts": (("sample", "gene"), case.counts), **columns}, coords), case


def compute(prepared: Any) -> np.ndarray:
    """Fit and one test."""
    import xdelnx

    dataset, case = prepared
    return xdelnx.fit(dataset, case.formula, contrasts=[case.coefficient])["pval"].values[0]


if __name__ == "__main__":
    run(prepare, compute, ["xdelnx", "numpy", "scipy", "numba", "dask", "xarray"])
