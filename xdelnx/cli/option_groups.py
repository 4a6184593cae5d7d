"""Options that several commands share."""

from __future__ import annotations

import argparse

from xdelnx.cli.option_types import Amounts, as_amount, as_named_amount, as_overdispersion, as_size_factors

ADJUSTMENTS = ("bh", "by", "holm", "storey")


def add_by(add: argparse.ArgumentParser) -> None:
    """Columns whose values make the groups."""
    add.add_argument(
        "--by",
        action="append",
        required=True,
        metavar="COLUMN",
        help="column of the samples; given several times, cells with equal values of all are one group",
    )


def add_counts(add: argparse.ArgumentParser) -> None:
    """Variable of the counts, or layer of an AnnData."""
    add.add_argument(
        "--counts",
        default="counts",
        metavar="VARIABLE",
        help="variable of COUNTS with the counts; of an AnnData the layer, or X, which it is by default where no layer "
        "is called counts (default: %(default)s)",
    )


def add_dimensions(add: argparse.ArgumentParser, where: str = "COUNTS", *, kept: bool = True) -> None:
    """Names of the dimensions of the counts, and whether the result has them, too."""
    also = "; the result has that name, too" if kept else ""
    for dim in ("sample", "gene"):
        add.add_argument(
            f"--{dim}",
            metavar="NAME",
            help=f"name of the dimension of {where} along the {dim}s{also} (default: {dim})",
        )


def add_model(add: argparse.ArgumentParser) -> None:
    """What kind of model is fitted."""
    add_size_factors(add)
    add.add_argument(
        "--offset",
        metavar="VARIABLE",
        help="variable of COUNTS with offsets, the natural logs of a scale (default: none)",
    )
    add.add_argument(
        "--weights",
        metavar="VARIABLE",
        help="variable of COUNTS with weights of the samples, or of each count; 0 leaves out (default: none)",
    )
    add.add_argument(
        "--overdispersion",
        type=as_overdispersion,
        default=True,
        metavar="HOW",
        help="variance beyond Poisson: true (estimated for each gene), global (one estimate for all), false (none), "
        "or a number (default: true)",
    )
    yes_no = argparse.BooleanOptionalAction
    add.add_argument(
        "--shrinkage",
        action=yes_no,
        default=True,
        help="let genes of similar mean support each other's estimate of variance (default: yes)",
    )
    add.add_argument(
        "--cox-reid",
        action=yes_no,
        default=True,
        help="correct the overdispersion for the number of coefficients (default: yes)",
    )
    add.add_argument(
        "--method",
        choices=("glmgampoi", "edger"),
        default="glmgampoi",
        help="where quasi-likelihood dispersions come from: overdispersions with a trend, or, as in edgeR 4, "
        "bias-adjusted deviances, for small counts and few replicates (default: %(default)s)",
    )
    add.add_argument(
        "--robust",
        action=yes_no,
        default=False,
        help="keep genes of extreme variance from bending what others are shrunken to (default: no)",
    )
    add.add_argument(
        "--cooks",
        choices=("flag", "replace"),
        help="flag genes, or replace counts, that are out of line with their replicates (default: neither)",
    )
    add.add_argument(
        "--subsample",
        type=int,
        metavar="N",
        help="number of samples to estimate the overdispersion on, for very many cells (default: all)",
    )
    _add_ridge(add)


def _add_ridge(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--ridge",
        type=as_amount,
        action=Amounts,
        metavar="[NAME=]X",
        default=0.0,
        help="penalty that draws coefficients to 0: of all but an intercept, or of those named, as "
        "'drug[T.B]=0.5'; may be given several times (default: %(default)s, none)",
    )
    add.add_argument(
        "--ridge-target",
        type=as_named_amount,
        action=Amounts,
        metavar="NAME=X",
        help="what --ridge draws a coefficient to (natural log); may be given several times (default: 0)",
    )


def add_size_factors(add: argparse.ArgumentParser) -> None:
    """How samples are made comparable."""
    add.add_argument(
        "--size-factors",
        type=as_size_factors,
        default="normed_sum",
        metavar="HOW",
        help="how samples of different depth are made comparable: normed_sum (by library size), "
        "ratio, poscounts, tmm, none, or a column of the samples; for fit also invariant (library size, corrected by "
        "the genes that do not change) (default: %(default)s)",
    )


def add_adjust(add: argparse.ArgumentParser, default: str | None) -> None:
    """How p-values are adjusted."""
    add.add_argument(
        "--adjust",
        choices=ADJUSTMENTS,
        default=default,
        help="adjustment of the p-values: Benjamini-Hochberg, Benjamini-Yekutieli, Holm, or Storey's q-values "
        f"(default: {default or 'as in the fit'})",
    )


def add_shared(add: argparse.ArgumentParser) -> None:
    """Where to compute, and a table of the result."""
    add.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "gpu"),
        help="where to compute: auto is a GPU where there is one (default: %(default)s)",
    )
    add_table(add)


def add_table(add: argparse.ArgumentParser) -> None:
    """A table beside the store."""
    add.add_argument(
        "--table",
        metavar="CSV",
        help="also write a table of the genes (.csv or .tsv, also .gz), smallest p-value first (default: none)",
    )
