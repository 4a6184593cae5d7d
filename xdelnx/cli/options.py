"""The options of the command line, named as the arguments of the functions they are for."""

from __future__ import annotations

import argparse
from typing import Any

import xdelnx
from xdelnx.cli.option_groups import (
    add_adjust,
    add_by,
    add_counts,
    add_model,
    add_shared,
    add_size_factors,
    add_table,
)
from xdelnx.cli.option_types import as_levels, as_pair, as_scheduler

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
    add_by(add)
    add_counts(add)
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
    add_by(add)
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
    add_size_factors(add)
    add_adjust(add, "bh")
    add_counts(add)
    add_table(add)
    return add


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
    add_model(add)
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
    add_counts(add)
    add_adjust(add, "bh")
    add_shared(add)
    return add


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
    add_adjust(add, None)
    add_shared(add)
    return add


def _add_filter(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser(
        "filter-by-expression", help="leave out genes with too few counts for a test", allow_abbrev=False
    )
    add.description = """\
Write a store of counts with the genes that have counts enough in as many samples as the smallest group of
the design has (edgeR's rule)."""
    add.epilog = """\
examples:
  xdelnx filter-by-expression counts.zarr kept.zarr --design "~ batch + drug"
  xdelnx filter-by-expression counts.zarr kept.zarr --group drug --min-count 5"""
    add.add_argument("data", metavar="COUNTS", help="Zarr store of counts (see xdelnx convert)")
    add.add_argument("out", metavar="OUT", help="Zarr store to write the genes that are kept to")
    add.add_argument("--design", metavar="FORMULA", help="design whose smallest group counts (default: none)")
    add.add_argument(
        "--group",
        action="append",
        metavar="COLUMN",
        help="instead: column of the samples whose smallest group counts; may be given several times",
    )
    for name, default, what in (
        ("--min-count", 10.0, "least count in a sample of median size"),
        ("--min-total-count", 15.0, "least sum of a gene's counts"),
        ("--large-n", 10.0, "samples beyond which not all of the smallest group are asked for"),
        ("--min-prop", 0.7, "proportion of those that is"),
    ):
        add.add_argument(
            name, type=float, metavar="X", default=default, help=f"{what} (default: %(default)s)"
        )
    add_size_factors(add)
    add_counts(add)
    return add


def _add_shrink(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser(
        "shrink-lfc", help="shrink the fold changes of a fit or a test", allow_abbrev=False
    )
    add.description = """\
Shrink log2 fold changes adaptively: noisy ones to near zero, well measured ones hardly; with s-values, which say
how sure each one's sign is."""
    add.epilog = "example:\n  xdelnx shrink-lfc fit.zarr shrunken.zarr"
    add.add_argument("fit", metavar="FIT", help="the store that xdelnx fit or test wrote")
    add.add_argument("out", metavar="OUT", help="Zarr store to write the result to")
    return add


def _add_covariance(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser(
        "covariance", help="covariances of the coefficients of each gene", allow_abbrev=False
    )
    add.description = (
        "Compute the covariances of the coefficients (natural log) of each gene, or of some, of a fit."
    )
    add.epilog = "example:\n  xdelnx covariance counts.zarr fit.zarr covariance.zarr --genes GLI3 --genes SHH"
    add.add_argument("data", metavar="COUNTS", help="the store of counts the fit was made from")
    add.add_argument("fit", metavar="FIT", help="the store that xdelnx fit wrote")
    add.add_argument("out", metavar="OUT", help="Zarr store to write the result to")
    add.add_argument(
        "--genes", action="append", metavar="GENE", help="gene; may be given several times (default: all)"
    )
    return add


_COMMANDS = {
    "simulate": _add_simulate,
    "convert": _add_convert,
    "pseudobulk": _add_pseudobulk,
    "rank-genes": _add_rank_genes,
    "fit": _add_fit,
    "test": _add_test,
    "filter-by-expression": _add_filter,
    "shrink-lfc": _add_shrink,
    "covariance": _add_covariance,
}
