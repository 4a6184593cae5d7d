"""Commands that fit a model and test it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xdelnx.cli.command import Command
from xdelnx.cli.jobs import job
from xdelnx.cli.option_groups import (
    add_adjust,
    add_counts,
    add_model,
    add_shared,
)
from xdelnx.cli.option_types import as_pair
from xdelnx.cli.output import check_outputs, finish, named, size
from xdelnx.messages import fail

if TYPE_CHECKING:
    import xarray as xr


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


def _fit(args: argparse.Namespace) -> None:
    from xdelnx.verbs.fitting import fit
    from xdelnx.verbs.inputs import open_data

    check_outputs(args)
    data = open_data(args.data, counts=args.counts)
    reference = dict(args.reference) if args.reference else None
    if args.table and not args.contrasts:
        _check_last_term(data, args, reference)
    names = (
        "offset",
        "weights",
        "overdispersion",
        "shrinkage",
        "cox_reid",
        "method",
        "robust",
        "cooks",
        "ridge",
        "ridge_target",
        "subsample",
        "adjust",
        "cluster",
        "by",
        "counts",
        "device",
    )
    with job(args.scheduler, f"fitting {args.design} to {size(data[args.counts])}"):
        result = fit(
            data,
            args.design,
            reference=reference,
            contrasts=_contrasts(args.contrasts),
            size_factors=None if args.size_factors == "none" else args.size_factors,
            **named(args, *names),
        )
    finish(result, args)


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


def _test(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import open_result
    from xdelnx.verbs.fitted import options_of
    from xdelnx.verbs.inputs import open_data
    from xdelnx.verbs.testing import test

    check_outputs(args)
    fitted = open_result(args.fit)
    name = options_of(fitted)["counts"]
    data = open_data(args.data, counts=name)
    contrast = None if args.contrast is None else _one_or_more(args.contrast)
    with job(args.scheduler, f"testing {size(data[name])}"):
        result = test(data, fitted, contrast, **named(args, "reduced", "lfc_threshold", "adjust", "device"))
    finish(result, args)


def _contrasts(values: Sequence[str] | None) -> Any:
    """Turn the contrasts of a fit into what `xdelnx.fit` takes: "last", None, one or several."""
    if values is None:
        return "last"
    return None if list(values) == ["none"] else _one_or_more(values)


def _one_or_more(values: Sequence[str]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _check_last_term(data: xr.Dataset, args: argparse.Namespace, reference: Any) -> None:
    """Refuse a table of the last term's tests where the design has no term to test."""
    from xdelnx.designs.design import build_design
    from xdelnx.verbs.inputs import as_counts

    model = build_design(as_counts(data, args.counts).samples, args.design, reference=reference)
    if list(model.terms) == ["Intercept"]:
        fail(
            f"--table lists tested genes, and the design {args.design!r} is an intercept alone, which leaves nothing "
            "to test; leave out --table, or add a column to the design"
        )


COMMANDS = (
    Command("fit", _add_fit, _fit),
    Command("test", _add_test, _test),
)
