"""delnx: `nb_fit` and `nb_test`, counts in an AnnData in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import Case, run


def prepare(case: Case) -> Any:
    """AnnData with dense counts."""
    import anndata

    adata = anndata.AnnData(case.counts.astype(np.float32), obs=case.samples.copy())
    adata.var_names = case.genes
    return adata, case


def compute(prepared: Any) -> np.ndarray:
    """Fit and one test."""
    import delnx

    adata, case = prepared
    fit = delnx.tl.nb_fit(adata, formula=case.formula, verbose=False)
    table = delnx.tl.nb_test(adata, fit, contrast=case.coefficient)
    return table.set_index("feature")["pval"].reindex(case.genes).to_numpy()


if __name__ == "__main__":
    run(prepare, compute, ["delnx", "jax"])
