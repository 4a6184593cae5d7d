"""Every dimension, variable, unit and status of a result, in one table.

The table annotates results, is the only place where a variable's long name and
unit are written, and feeds the reference manual.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

SAMPLE = "sample"
GENE = "gene"
COEFFICIENT = "coefficient"
CONTRAST = "contrast"
RESTRICTION = "restriction"


@dataclass(frozen=True)
class Variable:
    """One variable of a result: its dimensions, what it is, and on which scale."""

    dims: tuple[str, ...]
    long_name: str
    units: str = "1"


VARIABLES: dict[str, Variable] = {
    "beta": Variable((GENE, COEFFICIENT), "coefficient of the design (natural log of the fold change)", "log"),
    "standard_error": Variable((GENE, COEFFICIENT), "standard error of beta, quasi-likelihood scaled", "log"),
    "mean": Variable((GENE,), "mean over samples of the fitted count"),
    "deviance": Variable((GENE,), "negative binomial deviance of the final fit"),
    "dispersion": Variable((GENE,), "overdispersion, Cox-Reid adjusted maximum likelihood"),
    "dispersion_trend": Variable((GENE,), "overdispersion, local median over genes of similar mean"),
    "ql_dispersion": Variable((GENE,), "quasi-likelihood dispersion of the gene"),
    "ql_prior": Variable((GENE,), "prior of the quasi-likelihood dispersion at the gene's mean"),
    "ql_dispersion_shrunken": Variable((GENE,), "quasi-likelihood dispersion shrunken to its prior"),
    "prior_df": Variable((), "degrees of freedom of the quasi-likelihood prior"),
    "residual_df": Variable((), "residual degrees of freedom, samples - coefficients"),
    "status": Variable((GENE,), "how the fit of the gene ended"),
    "iterations": Variable((GENE,), "coefficient updates of the gene, over both fits"),
    "size_factor": Variable((SAMPLE,), "size factor of the sample"),
    "design": Variable((SAMPLE, COEFFICIENT), "design matrix"),
    "log2fc": Variable((CONTRAST, GENE), "log2 fold change, clipped to +-10", "log2"),
    "coef": Variable((CONTRAST, GENE), "contrast of the coefficients (natural log of the fold change)", "log"),
    "stat": Variable((CONTRAST, GENE), "test statistic (F; chi-squared without shrinkage)"),
    "pval": Variable((CONTRAST, GENE), "p-value"),
    "padj": Variable((CONTRAST, GENE), "p-value adjusted for multiple testing (Benjamini-Hochberg)"),
    "df1": Variable((CONTRAST,), "degrees of freedom of the test, numerator"),
    "df2": Variable((), "degrees of freedom of the test, denominator (infinite: chi-squared)"),
    "contrast_weight": Variable(
        (CONTRAST, RESTRICTION, COEFFICIENT), "weights of the coefficients in the contrast (NaN: no such row)"
    ),
    # inputs
    "counts": Variable((SAMPLE, GENE), "read or molecule count"),
}


class Status(IntEnum):
    """How the fit of a gene ended. Each value has a sentence of advice in `ADVICE`."""

    OK = 0
    ALL_ZERO = 1
    SEPARATED = 2
    COEFFICIENTS_NOT_CONVERGED = 3
    DISPERSION_NOT_CONVERGED = 4
    REDUCED_NOT_CONVERGED = 5


ADVICE: dict[Status, str] = {
    Status.OK: "The fit converged.",
    Status.ALL_ZERO: "Every count of the gene is zero: it has no coefficients and no tests, and took no part in "
    "the trend, the prior or the adjustment of p-values.",
    Status.SEPARATED: "A group of samples has no count: a coefficient is at minus infinity and reported at a "
    "large finite value, log2 fold changes are clipped to +-10. The likelihood-ratio test is finite and valid.",
    Status.COEFFICIENTS_NOT_CONVERGED: "The coefficients did not converge: look at the gene's counts and at "
    "covariates with extreme values; do not rely on its p-value.",
    Status.DISPERSION_NOT_CONVERGED: "The dispersion did not converge: its value is the best found; the test "
    "uses the trend and is little affected.",
    Status.REDUCED_NOT_CONVERGED: "The fit of the gene without the tested coefficients did not converge: do not "
    "rely on its p-value.",
}


def status_attributes() -> dict[str, Any]:
    """CF flag attributes of the status variable."""
    return {
        "flag_values": np.array([int(s) for s in Status], dtype=np.int8).tolist(),
        "flag_meanings": " ".join(s.name.lower() for s in Status),
        "flag_advice": [ADVICE[s] for s in Status],
    }


def annotate(dataset: xr.Dataset) -> xr.Dataset:
    """Give every known variable of the dataset its long name, unit and flags."""
    for name in dataset.variables:
        if name in VARIABLES:
            variable = VARIABLES[str(name)]
            dataset[name].attrs.update(long_name=variable.long_name, units=variable.units)
    if "status" in dataset:
        dataset["status"].attrs.update(status_attributes())
    return dataset
