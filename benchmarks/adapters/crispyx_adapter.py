"""crispyx: its negative binomial GLM test of one level against the control, from a file (it has no other way)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import Case, run


def prepare(case: Case) -> Any:
    """An .h5ad file with sparse counts; the factor that is tested as text."""
    import anndata
    from scipy import sparse

    *covariates, tested = case.factors
    samples = case.samples.copy()
    if samples[tested].dtype.kind == "f":
        message = f"it tests levels of a factor, and {tested} is a number"
        raise SystemExit(message)
    samples[tested] = samples[tested].astype(str)
    folder = Path(tempfile.mkdtemp(dir=case.folder))
    adata = anndata.AnnData(sparse.csr_matrix(case.counts.astype(np.float32)), obs=samples)
    adata.var_names = case.genes
    adata.write_h5ad(folder / "counts.h5ad")
    return folder, tested, sorted(samples[tested].unique()), covariates, case.genes


def compute(prepared: Any) -> np.ndarray:
    """Fit and one test, of the last level against the first."""
    import crispyx
    import pandas as pd

    folder, tested, levels, covariates, genes = prepared
    result = crispyx.de.nb_glm_test(
        folder / "counts.h5ad",
        perturbation_column=tested,
        control_label=levels[0],
        perturbations=[levels[-1]],
        covariates=covariates or None,
        output_dir=folder,
        verbose=False,
        force=True,
    )
    found = result[levels[-1]]
    return pd.Series(np.asarray(found.pvalue, dtype=float), index=list(found.genes)).reindex(genes).to_numpy()


if __name__ == "__main__":
    run(prepare, compute, ["crispyx"], note="from a file; Wald test; genes of low counts are not tested")
