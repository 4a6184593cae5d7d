"""InMoose's edgepy: common dispersion, quasi-likelihood fit and F test (it has no trended dispersion)."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import Case, run


def prepare(case: Case) -> Any:
    """Counts with genes in rows."""
    import pandas as pd
    import patsy

    counts = pd.DataFrame(case.counts.T.copy(), index=case.genes, columns=case.samples.index.astype(str))
    design = patsy.dmatrix(case.formula, case.samples)
    return counts, design, design.design_info.column_names.index(case.coefficient), case.genes


def compute(prepared: Any) -> np.ndarray:
    """Fit and one test."""
    from inmoose.edgepy import DGEList, glmQLFTest

    counts, design, tested, genes = prepared
    data = DGEList(counts)
    dispersed = data.estimateGLMCommonDisp(design)
    fit = (data if dispersed is None else dispersed).glmQLFit(design)
    return glmQLFTest(fit, coef=tested)["pvalue"].reindex(genes).to_numpy()


if __name__ == "__main__":
    run(prepare, compute, ["inmoose"], note="common dispersion only, its edgepy has no trend")
