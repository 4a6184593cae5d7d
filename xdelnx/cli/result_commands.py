"""Commands that make more of a fit or of groups of cells."""

from __future__ import annotations

import argparse
from typing import Any

from xdelnx.cli.command import Command
from xdelnx.cli.counts_given import opened, size
from xdelnx.cli.jobs import job, say
from xdelnx.cli.option_groups import (
    add_adjust,
    add_by,
    add_counts,
    add_dimensions,
    add_size_factors,
    add_table,
)
from xdelnx.cli.output import check_outputs, finish, named


def _add_rank_genes(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser("rank-genes", help="find genes that mark groups of cells", allow_abbrev=False)
    add.description = """\
Find marker genes of groups of cells: Wilcoxon's rank-sum test of each group against the other cells,
with the area under the ROC curve, the fold change and the fractions of cells with a count."""
    add.epilog = """\
examples:
  xdelnx rank-genes cells.zarr markers.zarr --by cell_type --table markers.csv
  xdelnx rank-genes cells.zarr markers.zarr --by cell_type --groups NK --reference T"""
    add.add_argument(
        "data", metavar="COUNTS", help="counts of cells: a Zarr store (see xdelnx convert), or an AnnData"
    )
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
    add_dimensions(add)
    add_table(add)
    return add


def _rank_genes(args: argparse.Namespace) -> None:
    from xdelnx.verbs.markers import rank_genes

    check_outputs(args)
    data = opened(args)
    with job(args.scheduler, f"ranking {size(data[args.counts])} by {', '.join(args.by)}"):
        result = rank_genes(
            data,
            args.by,
            groups=args.groups,
            reference=args.reference,
            size_factors=args.size_factors,
            adjust=args.adjust,
            counts=args.counts,
        )
    finish(result, args)


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


def _shrink_lfc(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import TESTED, open_result, write_store
    from xdelnx.verbs.fold_changes import shrink_lfc

    check_outputs(args)
    result = open_result(args.fit, needed=TESTED)
    with job(args.scheduler, "shrinking fold changes"):
        write_store(shrink_lfc(result), args.out, overwrite=args.overwrite)
    say(f"wrote {args.out}")


def _add_report(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser("report", help="write a page about a fit", allow_abbrev=False)
    add.description = """\
Write one HTML page about a fit and its tests: the design, samples, diagnostics with advice, pictures, tables to
search, and the commands that repeat it. It needs no network."""
    add.epilog = """\
examples:
  xdelnx report fit.zarr report.html --data counts.zarr
  xdelnx report fit.zarr report.html --data counts.zarr --tests B_A.zarr --tests C_A.zarr
  xdelnx report fit.zarr report.html --contrasts "drug[T.B]" --fdr 0.1"""
    add.add_argument("fit", metavar="FIT", help="the store that xdelnx fit wrote")
    add.add_argument("out", metavar="OUT", help="HTML file to write")
    add.add_argument(
        "--data",
        metavar="COUNTS",
        help="the store of counts the fit was made from, for pictures of samples and of single genes (default: none)",
    )
    add.add_argument(
        "--tests",
        action="append",
        metavar="TEST",
        default=[],
        help="store that xdelnx test wrote of this fit, to be shown, too; may be given several times (default: none)",
    )
    add.add_argument(
        "--contrasts",
        action="append",
        metavar="CONTRAST",
        help="contrast of the fit or of the tests to show; may be given several times (default: all)",
    )
    add.add_argument(
        "--fdr",
        type=float,
        default=0.05,
        metavar="X",
        help="false discovery rate up to which a gene counts as found (default: %(default)s)",
    )
    add.add_argument(
        "--n-genes",
        type=int,
        metavar="N",
        help="genes in the table of each contrast at most (default: 100,000 rows over all contrasts)",
    )
    add.add_argument(
        "--title",
        default="Differential expression",
        metavar="TEXT",
        help="heading of the page (default: %(default)s)",
    )
    return add


def _report(args: argparse.Namespace) -> None:
    from xdelnx.reporting.writing import report
    from xdelnx.storage.outputs import check_output
    from xdelnx.storage.stores import TESTED, open_result

    inputs = [store for store in (args.fit, args.data, *args.tests) if store is not None]
    check_output(args.out, overwrite=args.overwrite, table=True, apart_from=inputs)
    fitted = open_result(args.fit)
    data = None if args.data is None else opened(args, fitted)
    with job(args.scheduler, f"writing a report of {args.fit}"):
        options = named(args, "contrasts", "fdr", "n_genes", "title", "overwrite")
        tests = [open_result(store, needed=TESTED) for store in args.tests]
        report(fitted, args.out, data, tests=tests, **options)
    say(f"wrote {args.out}")


COMMANDS = (
    Command("rank-genes", _add_rank_genes, _rank_genes),
    Command("shrink-lfc", _add_shrink, _shrink_lfc),
    Command("report", _add_report, _report),
)
