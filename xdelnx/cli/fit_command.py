"""The command that fits a model: which options hold, whether it is done already, and where it goes on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from xdelnx.cli.command import Command
from xdelnx.cli.counts_given import opened, size
from xdelnx.cli.jobs import job, say
from xdelnx.cli.option_groups import add_adjust, add_counts, add_dimensions, add_model, add_shared
from xdelnx.cli.option_types import as_pair
from xdelnx.cli.output import check_outputs, check_table_name, finish, named, one_or_more, write_table
from xdelnx.messages import fail, listing

if TYPE_CHECKING:
    import xarray as xr

    from xdelnx.chunks.journal import Journal

OPTIONS = (
    "size_factors",
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
    "skip_corrupt",
    "device",
)
OF_THE_FIT = ("design", "reference", "contrasts", "sample", "gene", *OPTIONS)


def _add_fit(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser(
        "fit", help="fit every gene and test the design's last term", allow_abbrev=False
    )
    add.description = """\
Fit a negative binomial model to every gene, and test each for the last term of the design.
The result has a log2 fold change, a p-value and an adjusted p-value for every gene: read it from
--table, or in Python with xarray.open_zarr(OUT).
Finished blocks of genes are kept beside OUT until it is written: a job that was stopped, by whatever, goes on
from there when the same command is given again."""
    add.epilog = """\
examples:
  xdelnx fit counts.zarr fit.zarr --design "~ condition" --table genes.csv
  xdelnx fit counts.zarr fit.zarr --design "~ batch + drug" --reference drug=none
  xdelnx fit new_counts.zarr new_fit.zarr --from fit.zarr
  xdelnx fit counts.zarr fit.zarr --design "~ condition" --plan"""
    add.add_argument(
        "data",
        nargs="?",
        metavar="COUNTS",
        help="counts: a Zarr store (see xdelnx convert), or an AnnData; with --from by default the store of that fit",
    )
    add.add_argument("out", metavar="OUT", help="Zarr store to write the result to")
    _add_question(add)
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
    add_dimensions(add)
    add.add_argument(
        "--skip-corrupt",
        action="store_true",
        help="leave out genes whose chunks are damaged or gone, and mark them, instead of an error",
    )
    add_adjust(add, "bh")
    add_shared(add)
    _add_ways(add)
    return add


def _add_question(add: argparse.ArgumentParser) -> None:
    """What the counts depend on, and what to test."""
    add.add_argument(
        "--design",
        metavar="FORMULA",
        help="what the counts may depend on, as columns of the samples, the one of interest last: "
        '"~ batch + condition" (needed, unless there is --from)',
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


def _add_ways(add: argparse.ArgumentParser) -> None:
    """To do it again, or not yet."""
    add.add_argument(
        "--from",
        metavar="FIT",
        help="repeat the fit that is in this store, with all its options (default: those given)",
    )
    add.add_argument(
        "--plan",
        action="store_true",
        help="only say how many blocks and tasks there will be, what is read, and how much memory it takes",
    )


def _fit(args: argparse.Namespace) -> None:
    from xdelnx.storage.dimensions import names_of
    from xdelnx.storage.fingerprint import absolute, fingerprint
    from xdelnx.storage.unfinished import finished, journal_of
    from xdelnx.verbs.fitting import fit
    from xdelnx.verbs.labelled import now

    options = _options(args)
    done = None if args.overwrite or args.plan else finished(args.out)
    if done is None:
        check_outputs(args)
    data = opened(args)
    if args.table:
        _check_last_term(data, options)
    if args.plan:
        _say_plan(data, options, args)
        return
    print_of_job = fingerprint(args.data, options | names_of(data.attrs))
    if done is not None:
        _check_done(done, print_of_job, args)
        return
    journal = journal_of(args.out, print_of_job, now(), overwrite=args.overwrite)
    with _going_on(journal, args):
        what = f"fitting {options['design']} to {size(data[options['counts']])}"
        with job(args.scheduler, what):
            result = fit(data, **options)
        about = {"fingerprint": json.dumps(print_of_job), "counts_store": absolute(args.data)}
        finish(result.assign_attrs(about), args)


# ---- options ---------------------------------------------------------------------------------------------


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `xdelnx.fit`: as they were given, or those of another fit."""
    source = vars(args)["from"]
    if source is not None:
        return _options_from(source, args)
    given = {"COUNTS": args.data, "--design": args.design}
    missing = [name for name, value in given.items() if value is None]
    if missing:
        _usage(f"the following arguments are required: {listing(missing)}")
    return {
        "design": args.design,
        "reference": dict(args.reference) if args.reference else None,
        "contrasts": _contrasts(args.contrasts),
        **named(args, *OPTIONS),
    }


def _usage(message: str) -> None:
    """End as argparse does where the words of a command do not go together."""
    parser = argparse.ArgumentParser(prog="xdelnx fit", usage="xdelnx fit [COUNTS] OUT [options]")
    parser.error(message)


def _options_from(source: str, args: argparse.Namespace) -> dict[str, Any]:
    """Options of a fit that is there; COUNTS are those it was made from, unless given."""
    from xdelnx.storage.dimensions import names_of
    from xdelnx.storage.stores import open_result
    from xdelnx.verbs.repeating import arguments_of

    twice = _given(args.words)
    if twice:
        names = listing(f"--{name.replace('_', '-')}" for name in twice)
        _usage(f"--from {source} brings all options of that fit; leave out {names}")
    result = open_result(source)
    if args.data is None:
        args.data = result.attrs.get("counts_store")
    if args.data is None:
        fail(f"{source} does not say which store of counts it was made from; give it as COUNTS")
    options = arguments_of(result, source)
    vars(args).update(names_of(result.attrs), counts=options["counts"])
    return options


def _given(words: Sequence[str] | None) -> list[str]:
    """Options of the fit that were typed."""
    add = _add_fit(argparse.ArgumentParser().add_subparsers())
    add.set_defaults(**dict.fromkeys(OF_THE_FIT))
    typed, _ = add.parse_known_args(list(sys.argv[1:] if words is None else words)[1:])
    return [name for name in OF_THE_FIT if getattr(typed, name) is not None]


def _contrasts(values: Sequence[str] | None) -> Any:
    """Turn the contrasts of a fit into what `xdelnx.fit` takes: "last", None, one or several."""
    if values is None:
        return "last"
    return None if list(values) == ["none"] else one_or_more(values)


def _check_last_term(data: xr.Dataset, options: dict[str, Any]) -> None:
    """Refuse a table of the last term's tests where the design has no term to test."""
    from xdelnx.designs.design import build_design
    from xdelnx.verbs.inputs import as_counts

    if options["contrasts"] != "last":
        return
    samples = as_counts(data, options["counts"]).samples
    model = build_design(samples, options["design"], reference=options["reference"])
    if list(model.terms) == ["Intercept"]:
        fail(
            f"--table lists tested genes, and the design {options['design']!r} is an intercept alone, which leaves "
            "nothing to test; leave out --table, or add a column to the design"
        )


# ---- done, or to go on -----------------------------------------------------------------------------------


def _check_done(done: dict[str, Any], now: dict[str, Any], args: argparse.Namespace) -> None:
    """Leave a complete fit of the same job as it is (a table that is not there is written); refuse one of another."""
    from pathlib import Path

    from xdelnx.storage.stores import open_result
    from xdelnx.storage.unfinished import differences, folder_of, hold, in_words, remove

    changed = differences(done, {name: now[name] for name in ("input", "option")})
    if changed:
        msg = (
            f"{args.out} exists already, and is the fit of another job: {in_words(changed)}. Choose another name, "
            "or overwrite it (--overwrite)"
        )
        raise FileExistsError(msg)
    folder = folder_of(args.out)
    if folder.is_dir():  # killed when all but this was done
        with hold(folder):
            _sweep(args)
        remove(folder)
    if args.table:
        check_table_name(args.table)
    say(f"{args.out} is complete already")
    if args.table and not Path(args.table).exists():
        write_table(open_result(args.out), args)
        say(f"wrote {args.table}")


@contextmanager
def _going_on(journal: Journal, args: argparse.Namespace) -> Iterator[None]:
    """Keep the journal while the job runs, and remove it when that is done, or cannot be done at all."""
    from xdelnx.chunks.journal import keeping
    from xdelnx.storage.unfinished import hold

    again = journal.is_begun
    with hold(journal.folder):
        if again:
            say(
                f"going on with the fit begun {journal.begun}: {journal.count():,} results of blocks are there"
            )
            _sweep(args)
        try:
            with keeping(journal):
                yield
        except BaseException as error:
            misuse = isinstance(error, ValueError | TypeError) and not again
            if misuse or not journal.is_begun:
                journal.remove()
            else:
                say("what is finished is kept: the same command goes on from there")
            raise
        journal.remove()


def _sweep(args: argparse.Namespace) -> None:
    """Remove what a killed process left of its outputs."""
    from xdelnx.storage.unfinished import sweep

    for out in filter(None, (args.out, args.table)):
        sweep(out)


def _say_plan(data: xr.Dataset, options: dict[str, Any], args: argparse.Namespace) -> None:
    """Print what the fit would take."""
    import dask
    from dask.system import CPU_COUNT

    from xdelnx.storage.fingerprint import stored_bytes
    from xdelnx.verbs.planning import estimate, report

    workers = dask.config.get("num_workers", None) or CPU_COUNT
    threads = {"synchronous": 1, "processes": CPU_COUNT}.get(args.scheduler, workers)
    processes = threads if args.scheduler == "processes" else 1
    found = estimate(data, options)
    for line in report(found, threads, processes, stored_bytes(args.data, options["counts"])):
        print(line)


FIT = Command("fit", _add_fit, _fit)
