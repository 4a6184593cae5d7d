"""The command that makes a store of counts from the files of other programs."""

from __future__ import annotations

import argparse
from typing import Any

from xdelnx.cli.command import Command
from xdelnx.cli.jobs import job, say
from xdelnx.cli.option_groups import add_dimensions
from xdelnx.cli.output import named


def _add_convert(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser(
        "convert", help="make a Zarr store from AnnData, 10x, Matrix Market or a table", allow_abbrev=False
    )
    add.description = """\
Make the Zarr store of counts that fit and test read, in bounded memory.
It needs raw counts: neither logarithms nor CPM or TPM."""
    add.epilog = """\
examples:
  xdelnx convert cells.h5ad counts.zarr --layer counts
  xdelnx convert filtered_feature_bc_matrix.h5 counts.zarr --memory 4GB
  xdelnx convert filtered_feature_bc_matrix counts.zarr --samples barcodes.csv
  xdelnx convert counts.csv.gz counts.zarr --samples samples.csv"""
    add.add_argument(
        "source",
        metavar="IN",
        help="AnnData (.h5ad or Zarr), 10x HDF5 (.h5), Matrix Market (.mtx, also .gz, or its folder), a Zarr store of "
        "xarray, or a table of counts (.csv or .tsv, also .gz): a gene in each row, its name in the first column, "
        "and a column for each sample",
    )
    add.add_argument("out", metavar="OUT", help="Zarr store to write")
    add.add_argument(
        "--layer", metavar="NAME", help="layer of the AnnData that holds the raw counts (default: X)"
    )
    add.add_argument(
        "--layers",
        metavar="NAME",
        action="append",
        help="further layer to carry along under its name; may be given several times (default: none)",
    )
    add.add_argument("--raw", action="store_true", help="take the counts and the genes of the AnnData's .raw")
    for dim, example in (("sample", "conditions, batches and so on"), ("gene", "symbols, lengths and so on")):
        add.add_argument(
            f"--{dim}s",
            metavar="TABLE",
            help=f"with a table of counts or Matrix Market, the table of {example}: a {dim} in each row, its name in "
            "the first column",
        )
    add_dimensions(add, "IN, a Zarr store of xarray,", kept=False)
    add.add_argument(
        "--memory",
        metavar="SIZE",
        default="1GB",
        help="memory for counts, such as 500MB or 4GB; the whole takes up to 0.5 GB more, and names and metadata "
        "(default: %(default)s)",
    )
    return add


def _convert(args: argparse.Namespace) -> None:
    from xdelnx.storage.conversion import convert

    names = ("layer", "layers", "raw", "samples", "genes", "memory", "overwrite", "sample", "gene")
    with job(args.scheduler, f"converting {args.source}"):
        dataset = convert(args.source, args.out, **named(args, *names))
    counts = dataset["counts"]
    say(f"wrote {args.out}: {counts.shape[0]:,} samples x {counts.shape[1]:,} genes as {counts.dtype}")


CONVERT = Command("convert", _add_convert, _convert)
