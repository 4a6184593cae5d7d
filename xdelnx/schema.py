"""Every dimension, variable, unit and status of a result, in one table.

The table annotates results, is the only place where a variable's long name and
unit are written, and feeds the reference manual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdelnx.status import ADVICE, Status

if TYPE_CHECKING:
    import xarray as xr

SAMPLE = "sample"
GENE = "gene"
COEFFICIENT = "coefficient"
CONTRAST = "contrast"
RESTRICTION = "restriction"
GROUP = "group"  # stands for the dimension that fit(..., by=) adds, which has the column's name
COEFFICIENT2 = "coefficient2"
COMPONENT = "component"

LARGEST_LOG2FC = 10.0  # larger ones, as of a group without a count, are clipped to it


@dataclass(frozen=True)
class Variable:
    """One variable of a result: its dimensions, what it is, and on which scale.

    One that is ``by_gene`` is a number, or differs between genes under some options.
    """

    dims: tuple[str, ...]
    long_name: str
    units: str = "1"
    by_gene: bool = False


_SCALED = "scaled by the shrunken quasi-likelihood dispersion (by 1 without shrinkage)"
VARIABLES: dict[str, Variable] = {
    "beta": Variable(
        (GENE, COEFFICIENT), "coefficient of the design (natural log of the fold change)", "log"
    ),
    "standard_error": Variable((GENE, COEFFICIENT), f"standard error of beta, {_SCALED}", "log"),
    "mean": Variable((GENE,), "mean over samples of the fitted count"),
    "deviance": Variable((GENE,), "negative binomial deviance of the final fit"),
    "adjusted_deviance": Variable((GENE,), "deviance of the final fit, bias-adjusted to residual_df"),
    "dispersion": Variable(
        (GENE,), "overdispersion"
    ),  # how it was found: a comment, by `xdelnx.verbs.labelled`
    "dispersion_trend": Variable((GENE,), "overdispersion, local median over genes of similar mean"),
    "ql_dispersion": Variable((GENE,), "quasi-likelihood dispersion of the gene"),
    "ql_prior": Variable((GENE,), "prior of the quasi-likelihood dispersion at the gene's mean"),
    "ql_dispersion_shrunken": Variable((GENE,), "quasi-likelihood dispersion shrunken to its prior"),
    "prior_df": Variable((), "degrees of freedom of the quasi-likelihood prior", by_gene=True),
    "residual_df": Variable((), "residual degrees of freedom, samples - coefficients", by_gene=True),
    "status": Variable((GENE,), "how the fit of the gene ended"),
    "max_cooks": Variable((GENE,), "largest Cook's distance, over samples with at least 3 replicates"),
    "replaced": Variable((SAMPLE, GENE), "whether the count was an outlier and took no part as it is"),
    "iterations": Variable((GENE,), "coefficient updates of the gene, over both fits"),
    "library_size": Variable((SAMPLE,), "sum of the counts of the sample"),
    "size_factor": Variable((SAMPLE,), "size factor of the sample"),
    "offset": Variable(
        (SAMPLE, GENE), "natural log of a further scale of each count, or (sample) of each sample", "log"
    ),
    "weights": Variable((SAMPLE, GENE), "weight of each count, or (sample) of each sample"),
    "design": Variable((SAMPLE, COEFFICIENT), "design matrix"),
    "log2fc": Variable((CONTRAST, GENE), f"log2 fold change, clipped to +-{LARGEST_LOG2FC:g}", "log2"),
    "coef": Variable(
        (CONTRAST, GENE), "contrast of the coefficients (natural log of the fold change)", "log"
    ),
    "lfc_se": Variable((CONTRAST, GENE), f"standard error of log2fc, {_SCALED}", "log2"),
    "ci_low": Variable((CONTRAST, GENE), "lower end of the 95 % confidence interval of log2fc", "log2"),
    "ci_high": Variable((CONTRAST, GENE), "upper end of the 95 % confidence interval of log2fc", "log2"),
    "stat": Variable(
        (CONTRAST, GENE), "test statistic (F; chi-squared without shrinkage; standard normal of ranks)"
    ),
    "pval": Variable((CONTRAST, GENE), "p-value"),
    "padj": Variable((CONTRAST, GENE), "p-value adjusted for multiple testing"),
    "df1": Variable((CONTRAST,), "degrees of freedom of the test, numerator"),
    "df2": Variable((), "degrees of freedom of the test, denominator (infinite: chi-squared)", by_gene=True),
    "contrast_weight": Variable(
        (CONTRAST, RESTRICTION, COEFFICIENT), "weights of the coefficients in the contrast (NaN: no such row)"
    ),
    "log2fc_shrunken": Variable(
        (CONTRAST, GENE), "log2 fold change, adaptively shrunken (posterior mean)", "log2"
    ),
    "s_value": Variable((CONTRAST, GENE), "false sign rate among this gene and all that are surer of theirs"),
    "shrunken_low": Variable((CONTRAST, GENE), "lower end of the 95 % posterior interval of log2fc", "log2"),
    "shrunken_high": Variable((CONTRAST, GENE), "upper end of the 95 % posterior interval of log2fc", "log2"),
    "prior_scale": Variable((CONTRAST, COMPONENT), "standard deviation of the prior's component", "log2"),
    "prior_weight": Variable((CONTRAST, COMPONENT), "weight of the component in the prior of log2fc"),
    "covariance": Variable(
        (GENE, COEFFICIENT, COEFFICIENT2), f"covariance of the coefficients, {_SCALED}", "log^2"
    ),
    "residual": Variable((SAMPLE, GENE), "residual of the count, of the kind in the attribute 'kind'"),
    "prediction": Variable((SAMPLE, GENE), "fitted mean of the count, or its natural log"),
    "prediction_se": Variable((SAMPLE, GENE), "standard error of prediction"),
    "pearson_statistic": Variable((GENE,), "sum of the squared Pearson residuals"),
    "deviance_pval": Variable((GENE,), "p-value of the deviance, chi-squared on residual_df"),
    "pearson_pval": Variable((GENE,), "p-value of pearson_statistic, chi-squared on residual_df"),
    "auroc": Variable((CONTRAST, GENE), "chance that a cell of the group has more than one of the reference"),
    "fraction": Variable((CONTRAST, GENE), "fraction of the group's cells with a count"),
    "fraction_reference": Variable((CONTRAST, GENE), "fraction of the reference's cells with a count"),
    "group_size": Variable((CONTRAST,), "cells of the group"),
    "reference_size": Variable((CONTRAST,), "cells of the reference"),
    "group_status": Variable((GROUP,), "whether the samples of the group were fitted"),
    "group_note": Variable((GROUP,), "why the samples of the group were not fitted"),
    "n_samples": Variable((GROUP,), "samples of the group"),
    # inputs
    "counts": Variable((SAMPLE, GENE), "read or molecule count"),
    "n_cells": Variable((SAMPLE,), "cells whose counts were summed"),
}

COORDINATES = {
    SAMPLE: "name of the sample",
    GENE: "name of the gene",
    COEFFICIENT: "coefficient, a column of the design matrix",
    COEFFICIENT2: "coefficient, a column of the design matrix",
    CONTRAST: "what was tested",
}
FIRST = ("log2fc", "lfc_se", "ci_low", "ci_high", "auroc", "stat", "pval", "padj", "status", "coef", "mean")
TEST_VARIABLES = ("log2fc", "coef", "lfc_se", "ci_low", "ci_high", "stat", "pval")


def status_attributes() -> dict[str, Any]:
    """CF flag attributes of the status variable."""
    return {
        "flag_values": [int(s) for s in Status],
        "flag_meanings": " ".join(s.name.lower() for s in Status),
        "flag_advice": [ADVICE[s] for s in Status],
    }


def arranged(dataset: xr.Dataset) -> xr.Dataset:
    """Put what most people look for first where a Dataset lists its variables."""
    return dataset[
        sorted(dataset.data_vars, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    ]


def annotate(dataset: xr.Dataset) -> xr.Dataset:
    """Give every known variable and coordinate of the dataset its long name, unit and flags."""
    for name in dataset.variables:
        if name in VARIABLES:
            variable = VARIABLES[str(name)]
            dataset[name].attrs.update(long_name=variable.long_name, units=variable.units)
        elif name in COORDINATES:
            dataset[name].attrs["long_name"] = COORDINATES[str(name)]
    if "status" in dataset:
        dataset["status"].attrs.update(status_attributes())
    return dataset
