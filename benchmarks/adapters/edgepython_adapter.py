"""edgePython: normalisation, dispersions, quasi-likelihood fit and F test, as its README has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import Case, run


def prepare(case: Case) -> Any:
    """Counts with genes in rows."""
    return case.counts.T.astype(np.float64), case.design.to_numpy()


def compute(prepared: Any) -> np.ndarray:
    """Fit and one test."""
    import edgepython

    counts, design = prepared
    data = edgepython.calc_norm_factors(edgepython.make_dgelist(counts=counts))
    data = edgepython.estimate_disp(data, design)
    test = edgepython.glm_ql_ftest(edgepython.glm_ql_fit(data, design), coef=design.shape[1] - 1)
    return test["table"]["PValue"].to_numpy()


if __name__ == "__main__":
    run(prepare, compute, ["edgepython"])
