"""The options of the command line, named as the arguments of the functions they are for."""

from __future__ import annotations

import argparse
from typing import Any

import xdelnx
from xdelnx.option_types import as_levels, as_overdispersion, as_pair, as_scheduler

ADJUSTMENTS = ("bh", "by", "holm", "storey")

_EXAMPLES = """\
examples:
  xdelnx convert cells.h5ad counts.zarr --layer counts
  xdelnx fit counts.zarr fit.zarr --design "~ batch + drug" --reference drug=none --table genes.csv
  xdelnx test counts.zarr fit.zarr test.zarr --contrast "drug[T.B] - drug[T.A]"
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="xdelnx",
        description="Find the genes whose counts differ between conditions. First convert the counts to a Zarr "
        "store,\nthen fit a model to every gene; test asks a fit further questions.",
        epilog=_EXAMPLES + "\nxdelnx COMMAND --help tells more of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"xdelnx {xdelnx.__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, add in _COMMANDS.items():
        command = add(commands)
        command.set_defaults(command=name)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
        command.add_argument(
            "--scheduler",
            default="threads",
            metavar="WHERE",
            type=as_scheduler,
            help="threads, processes, synchronous, or a Dask scheduler's address such as tcp://host:8786 "
            "(default: %(default)s)",
        )
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return top


def _add_simulate(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser("simulate", help="make counts whose truth is known", allow_abbrev=False)
    add.description = "Make counts whose changes are known, to try the other commands on."
    add.epilog = "example:\n  xdelnx simulate counts.zarr --n-samples 12 --n-genes 5000 --condition drug"
    add.add_argument("out", metavar="OUT", help="Zarr store to write")
    add.add_argument(
        "--n-samples", type=int, metavar="N", default=28, help="number of samples (default: %(default)s)"
    )
    add.add_argument(
        "--n-genes", type=int, metavar="N", default=16_199, help="number of genes (default: %(default)s)"
    )
    add.add_argument(
        "--condition",
        default="condition",
        metavar="NAME",
        help="name of the column that changes genes (default: %(default)s)",
    )
    add.add_argument(
        "--levels",
        type=as_levels,
        default=["A", "B"],
        metavar="A,B",
        help="its levels, the one that others are compared with first (default: A,B); or False,True",
    )
    add.add_argument(
        "--n-batches",
        type=int,
        metavar="N",
        default=1,
        help="number of batches; with more than 1 there is a column 'batch' (default: %(default)s)",
    )
    add.add_argument(
        "--covariate", metavar="NAME", help="name of a numeric column that changes some genes (default: none)"
    )
    add.add_argument(
        "--kind",
        choices=("bulk", "cells"),
        default="bulk",
        help="counts of bulk samples, or of single cells, which are mostly zero (default: %(default)s)",
    )
    add.add_argument(
        "--de-fraction",
        type=float,
        metavar="X",
        default=0.1,
        help="fraction of genes that change (default: %(default)s)",
    )
    add.add_argument(
        "--seed",
        type=int,
        metavar="N",
        default=0,
        help="the same seed gives the same counts (default: %(default)s)",
    )
    add.add_argument(
        "--chunks",
        type=int,
        metavar="N",
        help="number of genes made at a time, for data larger than memory (default: all)",
    )
    return add


def _add_convert(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser("convert", help="make a Zarr store from AnnData or a table", allow_abbrev=False)
    add.description = """\
Make the Zarr store of counts that fit and test read.
It needs raw counts: neither logarithms nor CPM or TPM."""
    add.epilog = """\
examples:
  xdelnx convert cells.h5ad counts.zarr --layer counts
  xdelnx convert counts.csv.gz counts.zarr --samples samples.csv"""
    add.add_argument(
        "source",
        metavar="IN",
        help="AnnData (.h5ad or Zarr), or a table of counts (.csv or .tsv, also .gz): a gene in each row, its name in "
        "the first column, and a column for each sample",
    )
    add.add_argument("out", metavar="OUT", help="Zarr store to write")
    add.add_argument(
        "--layer", metavar="NAME", help="layer of the AnnData that holds the raw counts (default: X)"
    )
    add.add_argument(
        "--samples",
        metavar="TABLE",
        help="with a table of counts, the table of conditions, batches and so on: a sample in each row, its name in "
        "the first column",
    )
    return add


def _add_pseudobulk(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser(
        "pseudobulk", help="sum the counts of each donor's (or other group's) cells", allow_abbrev=False
    )
    add.description = """\
Sum the counts of the cells of each group, such as each donor's cells of each type, to a store
that fit reads: a sample there is a group, with its number of cells."""
    add.epilog = """\
example:
  xdelnx pseudobulk cells.zarr donors.zarr --by donor --by cell_type"""
    add.add_argument("data", metavar="COUNTS", help="Zarr store of counts of cells (see xdelnx convert)")
    add.add_argument("out", metavar="OUT", help="Zarr store to write the sums to")
    _add_by(add)
    _add_counts(add)
    return add


def _add_rank_genes(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser("rank-genes", help="find genes that mark groups of cells", allow_abbrev=False)
    add.description = """\
Find marker genes of groups of cells: Wilcoxon's rank-sum test of each group against the other cells,
with the area under the ROC curve, the fold change and the fractions of cells with a count."""
    add.epilog = """\
examples:
  xdelnx rank-genes cells.zarr markers.zarr --by cell_type --table markers.csv
  xdelnx rank-genes cells.zarr markers.zarr --by cell_type --groups NK --reference T"""
    add.add_argument("data", metavar="COUNTS", help="Zarr store of counts of cells (see xdelnx convert)")
    add.add_argument("out", metavar="OUT", help="Zarr store to write the result to")
    _add_by(add)
    add.add_argument(
        "--groups",
        action="append",
        metavar="LABEL",
        help="group to find markers of; may be given several times (default: all)",
    )
    add.add_argument(
        "--reference",
        default="rest",
        metavar="LABEL",
        help="what each group is compared with: rest, all other cells, or a group (default: %(default)s)",
    )
    _add_size_factors(add)
    _add_adjust(add, "bh")
    _add_counts(add)
    _add_table(add)
    return add


def _add_by(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--by",
        action="append",
        required=True,
        metavar="COLUMN",
        help="column of the samples; given several times, cells with equal values of all are one group",
    )


def _add_counts(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--counts",
        default="counts",
        metavar="VARIABLE",
        help="variable of COUNTS with the counts (default: %(default)s)",
    )


def _add_fit(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser(
        "fit", help="fit every gene and test the design's last term", allow_abbrev=False
    )
    add.description = """\
Fit a negative binomial model to every gene, and test each for the last term of the design.
The result has a log2 fold change, a p-value and an adjusted p-value for every gene: read it from
--table, or in Python with xarray.open_zarr(OUT)."""
    add.epilog = """\
examples:
  xdelnx fit counts.zarr fit.zarr --design "~ condition" --table genes.csv
  xdelnx fit counts.zarr fit.zarr --design "~ batch + drug" --reference drug=none"""
    add.add_argument("data", metavar="COUNTS", help="Zarr store of counts (see xdelnx convert)")
    add.add_argument("out", metavar="OUT", help="Zarr store to write the result to")
    add.add_argument(
        "--design",
        required=True,
        metavar="FORMULA",
        help="what the counts may depend on, as columns of the samples, the one of interest last: "
        '"~ batch + condition"',
    )
    add.add_argument(
        "--reference",
        action="append",
        type=as_pair,
        metavar="COLUMN=LEVEL",
        help="the level that a column's others are compared with, such as condition=control; may be given several "
        "times (default: the first in order)",
    )
    add.add_argument(
        "--contrasts",
        action="append",
        metavar="CONTRAST",
        help="what to test: last (the last term), none, or a contrast as in xdelnx test; may be given "
        "several times (default: last)",
    )
    _add_model(add)
    add.add_argument(
        "--cluster",
        metavar="COLUMN",
        help="column of the samples, such as the donor, within which they need not be independent: errors and tests "
        "are robust to that (default: none)",
    )
    add.add_argument(
        "--by",
        metavar="COLUMN",
        help="column of the samples, such as the cell type, whose groups are fitted on their own (default: none)",
    )
    _add_counts(add)
    _add_adjust(add, "bh")
    _add_shared(add)
    return add


def _add_model(add: argparse.ArgumentParser) -> None:
    _add_size_factors(add)
    add.add_argument(
        "--offset",
        metavar="VARIABLE",
        help="variable of COUNTS with offsets on the log scale (default: none)",
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
        "--ridge",
        type=float,
        metavar="X",
        default=0.0,
        help="penalty that draws coefficients to 0 (default: %(default)s, none)",
    )


def _add_size_factors(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--size-factors",
        default="normed_sum",
        metavar="HOW",
        help="how samples of different depth are made comparable: normed_sum (by library size), "
        "ratio, poscounts, tmm, none, or a column of the samples; for fit also invariant (library size, corrected by "
        "the genes that do not change) (default: %(default)s)",
    )


def _add_test(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser("test", help="test a contrast of a fit", allow_abbrev=False)
    add.description = "Ask a fit another question: test a contrast of its coefficients for every gene."
    add.epilog = """\
examples:
  xdelnx test counts.zarr fit.zarr test.zarr --contrast "drug[T.B] - drug[T.A]" --table genes.csv
  xdelnx test counts.zarr fit.zarr test.zarr --contrast "cond(drug='B') - cond(drug='A')"
  xdelnx test counts.zarr fit.zarr test.zarr --reduced "~ batch"
"""
    add.add_argument("data", metavar="COUNTS", help="the store of counts the fit was made from")
    add.add_argument("fit", metavar="FIT", help="the store that xdelnx fit wrote")
    add.add_argument("out", metavar="OUT", help="Zarr store to write the result to")
    add.add_argument(
        "--contrast",
        action="append",
        metavar="CONTRAST",
        help="a coefficient, a sum of them such as \"0.5 * a - b\", or cond(drug='B') - cond(drug='A'); may "
        "be given several times (default: the last term of the design)",
    )
    add.add_argument(
        "--reduced",
        metavar="FORMULA",
        help='instead of --contrast: the design without what is tested, such as "~ batch"',
    )
    add.add_argument(
        "--lfc-threshold",
        type=float,
        default=0.0,
        metavar="X",
        help="test for log2 fold changes above X or below -X instead of any (default: %(default)s)",
    )
    _add_adjust(add, None)
    _add_shared(add)
    return add


def _add_adjust(add: argparse.ArgumentParser, default: str | None) -> None:
    add.add_argument(
        "--adjust",
        choices=ADJUSTMENTS,
        default=default,
        help="adjustment of the p-values: Benjamini-Hochberg, Benjamini-Yekutieli, Holm, or Storey's q-values "
        f"(default: {default or 'as in the fit'})",
    )


def _add_shared(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--device", default="auto", choices=("auto", "cpu"), help="where to compute (default: %(default)s)"
    )
    _add_table(add)


def _add_table(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--table",
        metavar="CSV",
        help="also write a table of the genes (.csv or .tsv, also .gz), smallest p-value first",
    )


_COMMANDS = {
    "simulate": _add_simulate,
    "convert": _add_convert,
    "pseudobulk": _add_pseudobulk,
    "rank-genes": _add_rank_genes,
    "fit": _add_fit,
    "test": _add_test,
}
