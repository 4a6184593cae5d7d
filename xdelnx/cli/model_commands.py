"""Commands that fit a model and test it."""

from __future__ import annotations

import argparse
from typing import Any

from xdelnx.cli.command import Command
from xdelnx.cli.counts_given import opened, size
from xdelnx.cli.fit_command import FIT
from xdelnx.cli.jobs import job
from xdelnx.cli.option_groups import add_adjust, add_dimensions, add_shared
from xdelnx.cli.output import check_outputs, finish, named, one_or_more


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
    add_dimensions(add)
    add_adjust(add, None)
    add_shared(add)
    return add


def _test(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import open_result
    from xdelnx.verbs.fitted import options_of
    from xdelnx.verbs.testing import test

    check_outputs(args)
    fitted = open_result(args.fit)
    data = opened(args, fitted)
    counts = data[options_of(fitted)["counts"]]
    contrast = None if args.contrast is None else one_or_more(args.contrast)
    with job(args.scheduler, f"testing {size(counts)}"):
        result = test(data, fitted, contrast, **named(args, "reduced", "lfc_threshold", "adjust", "device"))
    finish(result, args)


COMMANDS = (FIT, Command("test", _add_test, _test))
