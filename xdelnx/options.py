"""The options of the command line, named as the arguments of the functions they are for."""

from __future__ import annotations

import argparse
from typing import Any

import xdelnx

LOCAL_SCHEDULERS = ("threads", "processes", "synchronous")

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
        description="Find the genes whose counts differ between conditions.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"xdelnx {xdelnx.__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, add in _COMMANDS.items():
        command = add(commands)
        command.set_defaults(command=name)
        command.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
        command.add_argument(
            "--scheduler",
            default="threads",
            metavar="WHERE",
            type=_scheduler_name,
            help="threads, processes, synchronous, or a Dask scheduler's address such as tcp://host:8786 "
            "(default: %(default)s)",
        )
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return top


def _add_simulate(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser("simulate", help="make counts whose truth is known", allow_abbrev=False)
    add.description = "Make counts with known changes, to try the other commands on."
    add.add_argument("out", metavar="OUT", help="Zarr store to write")
    add.add_argument("--n-samples", type=int, default=28, help="samples (default: %(default)s)")
    add.add_argument("--n-genes", type=int, default=16_199, help="genes (default: %(default)s)")
    add.add_argument("--condition", default="condition", help="name of the column that changes genes")
    add.add_argument(
        "--levels",
        type=_levels,
        default=["A", "B"],
        metavar="A,B",
        help="its levels (default: A,B); or False,True",
    )
    add.add_argument("--n-batches", type=int, default=1, help="batches; above 1 there is a column 'batch'")
    add.add_argument("--covariate", help="name of a numeric column that changes some genes (default: none)")
    add.add_argument("--kind", choices=("bulk", "cells"), default="bulk", help="depth (default: %(default)s)")
    add.add_argument(
        "--de-fraction", type=float, default=0.1, help="fraction of genes that change (default: 0.1)"
    )
    add.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default: %(default)s)")
    add.add_argument("--chunks", type=int, help="genes made at a time, for data larger than memory")
    return add


def _add_convert(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser("convert", help="make a Zarr store from AnnData or a table", allow_abbrev=False)
    add.description = "Make the Zarr store that fit and test read; genes lie together in it, so do it once."
    add.add_argument(
        "source", metavar="IN", help=".h5ad, AnnData Zarr, or .csv/.tsv (.gz) with genes in rows"
    )
    add.add_argument("out", metavar="OUT", help="Zarr store to write")
    add.add_argument("--layer", help="layer of the AnnData that holds the raw counts (default: X)")
    add.add_argument(
        "--samples", metavar="TABLE", help="for a table of counts: table about the samples, one a row"
    )
    return add


def _add_fit(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser(
        "fit", help="fit every gene and test the design's last term", allow_abbrev=False
    )
    add.description = "Fit a model to every gene, and test for the last term of the design."
    add.add_argument("data", metavar="COUNTS", help="Zarr store of counts (see xdelnx convert)")
    add.add_argument("out", metavar="OUT", help="Zarr store to write the result to")
    add.add_argument(
        "--design", required=True, metavar="FORMULA", help='columns of the samples: "~ batch + condition"'
    )
    add.add_argument(
        "--reference",
        action="append",
        type=_pair,
        metavar="COLUMN=LEVEL",
        help="the level that a column's others are compared with; may be given several times",
    )
    add.add_argument(
        "--contrasts",
        action="append",
        metavar="CONTRAST",
        help="what to test: last (the last term), none, or a contrast as in xdelnx test; may be given "
        "several times (default: last)",
    )
    add.add_argument(
        "--size-factors",
        default="normed_sum",
        help="normed_sum, ratio, poscounts, tmm, none, or a column of the samples (default: %(default)s)",
    )
    add.add_argument("--offset", metavar="VARIABLE", help="variable of COUNTS with offsets on the log scale")
    add.add_argument(
        "--overdispersion",
        type=_overdispersion,
        default=True,
        metavar="HOW",
        help="true (one for each gene), global (one for all), false (Poisson), or a number (default: true)",
    )
    yes_no = argparse.BooleanOptionalAction
    add.add_argument("--shrinkage", action=yes_no, default=True, help="share the dispersions among genes")
    add.add_argument(
        "--cox-reid", action=yes_no, default=True, help="adjust the dispersions for the coefficients"
    )
    add.add_argument(
        "--ridge", type=float, default=0.0, help="penalty on the coefficients (default: %(default)s)"
    )
    add.add_argument(
        "--counts", default="counts", help="variable of COUNTS with the counts (default: %(default)s)"
    )
    _add_shared(add)
    return add


def _add_test(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser("test", help="test a contrast of a fit", allow_abbrev=False)
    add.description = "Test a contrast of a fit that xdelnx fit has written."
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
    add.add_argument("--reduced", metavar="FORMULA", help="instead: the design without what is tested")
    _add_shared(add)
    return add


def _add_shared(add: argparse.ArgumentParser) -> None:
    add.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="default: %(default)s")
    add.add_argument(
        "--table", metavar="CSV", help="also write the genes to a .csv or .tsv (.gz), best first"
    )


def _levels(text: str) -> list[Any]:
    """Split at commas; booleans where all are."""
    levels = [level.strip() for level in text.split(",")]
    booleans = {"true": True, "false": False}
    return (
        [booleans[level.lower()] for level in levels] if {*map(str.lower, levels)} <= {*booleans} else levels
    )


def _pair(text: str) -> tuple[str, str]:
    column, sign, level = text.partition("=")
    if not (column and sign and level):
        msg = f"expected COLUMN=LEVEL, received {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return column, level


def _overdispersion(text: str) -> bool | str | float:
    words: dict[str, bool | str] = {"true": True, "false": False, "none": False, "global": "global"}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(text)
    except ValueError:
        msg = f"expected true, false, global or a number, received {text!r}"
        raise argparse.ArgumentTypeError(msg) from None


def _scheduler_name(text: str) -> str:
    if text in LOCAL_SCHEDULERS or "://" in text:
        return text
    msg = f"expected {', '.join(LOCAL_SCHEDULERS)} or an address such as tcp://host:8786, received {text!r}"
    raise argparse.ArgumentTypeError(msg)


_COMMANDS = {"simulate": _add_simulate, "convert": _add_convert, "fit": _add_fit, "test": _add_test}
