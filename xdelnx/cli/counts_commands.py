"""Commands that make counts, or other counts of them."""

from __future__ import annotations

import argparse
from typing import Any

from xdelnx.cli.command import Command
from xdelnx.cli.convert_command import CONVERT
from xdelnx.cli.counts_given import number, opened, size
from xdelnx.cli.jobs import job, say
from xdelnx.cli.option_groups import (
    add_by,
    add_counts,
    add_dimensions,
    add_size_factors,
)
from xdelnx.cli.option_types import as_levels
from xdelnx.cli.output import check_outputs, named


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


def _simulate(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import write_store
    from xdelnx.verbs.simulation import simulate

    check_outputs(args)
    names = ("n_samples", "n_genes", "condition", "levels", "n_batches", "covariate", "kind")
    with job(args.scheduler, f"simulating {args.n_samples:,} samples x {args.n_genes:,} genes"):
        dataset = simulate(**named(args, *names, "de_fraction", "seed", "chunks"))
        write_store(dataset, args.out, overwrite=args.overwrite)
    say(f"wrote {args.out}")


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
    add.add_argument(
        "data", metavar="COUNTS", help="counts of cells: a Zarr store (see xdelnx convert), or an AnnData"
    )
    add.add_argument("out", metavar="OUT", help="Zarr store to write the sums to")
    add_by(add)
    add_counts(add)
    add_dimensions(add)
    return add


def _pseudobulk(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import write_store
    from xdelnx.verbs.aggregation import pseudobulk

    check_outputs(args)
    data = opened(args)
    with job(args.scheduler, f"summing {size(data[args.counts])} by {', '.join(args.by)}"):
        result = pseudobulk(data, args.by, counts=args.counts)
        write_store(result, args.out, overwrite=args.overwrite)
    say(f"wrote {args.out}: {number(result, 'sample'):,} samples")


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
    add.add_argument(
        "data", metavar="COUNTS", help="counts: a Zarr store (see xdelnx convert), or an AnnData"
    )
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
    add_dimensions(add)
    return add


def _filter_by_expression(args: argparse.Namespace) -> None:
    from xdelnx.chunks.blocks import dense
    from xdelnx.storage.dimensions import as_theirs, names_of
    from xdelnx.storage.stores import gene_chunk, write_store, zarr_safe
    from xdelnx.verbs.filtering import filter_by_expression

    check_outputs(args)
    data = opened(args)
    names = ("design", "size_factors", "min_count", "min_total_count", "large_n", "min_prop", "counts")
    with job(args.scheduler, f"filtering {size(data[args.counts])}"):
        keep = filter_by_expression(data, group=args.group, **named(args, *names))
        kept = zarr_safe(data.isel(gene=keep.values))
        if kept[args.counts].chunks:  # a store has no sparse blocks
            kept[args.counts] = kept[args.counts].copy(data=dense(kept[args.counts].data))
        n_samples, n_genes = kept[args.counts].shape
        chunk = gene_chunk(n_samples, n_genes, kept[args.counts].dtype)
        kept = as_theirs(kept.chunk(sample=-1, gene=chunk), names_of(data.attrs))
        write_store(kept, args.out, overwrite=args.overwrite)
    say(f"wrote {args.out}: {int(keep.sum()):,} of {keep.size:,} genes")


COMMANDS = (
    Command("simulate", _add_simulate, _simulate),
    CONVERT,
    Command("pseudobulk", _add_pseudobulk, _pseudobulk),
    Command("filter-by-expression", _add_filter, _filter_by_expression),
)
