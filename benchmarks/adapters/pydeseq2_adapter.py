"""PyDESeq2: Wald test of the last coefficient, on all cores, or on as many as ``PEER_CORES`` says."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from common import Case, run


def prepare(case: Case) -> Any:
    """Counts as a DataFrame, with the model matrix."""
    import pandas as pd

    counts = pd.DataFrame(case.counts, index=case.samples.index.astype(str), columns=case.genes)
    return counts, case.samples.set_axis(counts.index), case.design.set_axis(counts.index), case.last


def compute(prepared: Any) -> np.ndarray:
    """Fit and one test."""
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.default_inference import DefaultInference
    from pydeseq2.ds import DeseqStats

    counts, samples, design, contrast = prepared
    inference = DefaultInference(n_cpus=int(os.environ.get("PEER_CORES", "0")) or os.cpu_count())
    dds = DeseqDataSet(counts=counts, metadata=samples, design=design, inference=inference, quiet=True)
    dds.deseq2()
    stats = DeseqStats(dds, contrast=contrast, inference=inference, quiet=True)
    stats.run_wald_test()
    return stats.p_values.to_numpy()


if __name__ == "__main__":
    run(prepare, compute, ["pydeseq2"], note="its peak is that of one process, it starts others")
