"""Commands that look at a fit, or at counts without one: residuals, predictions, normalised values, adjustment."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from xdelnx.cli.command import Command
from xdelnx.cli.counts_given import number, opened, size, sizes
from xdelnx.cli.jobs import job, say
from xdelnx.cli.option_groups import ADJUSTMENTS, add_counts, add_dimensions, add_size_factors, add_table
from xdelnx.cli.output import check_outputs, finish, named, write_values

if TYPE_CHECKING:
    import xarray as xr

RESIDUALS = ("deviance", "pearson", "randomized_quantile", "working", "response", "leverage")


def _add_of_fit(
    commands: Any, name: str, what: str, description: str, example: str
) -> argparse.ArgumentParser:
    """Parser of a command that reads counts and their fit, for all genes or some."""
    add: argparse.ArgumentParser = commands.add_parser(name, help=what, allow_abbrev=False)
    add.description = description
    add.epilog = f"example:\n  xdelnx {name} counts.zarr fit.zarr {example}"
    add.add_argument("data", metavar="COUNTS", help="the store of counts the fit was made from")
    add.add_argument("fit", metavar="FIT", help="the store that xdelnx fit wrote")
    add.add_argument("out", metavar="OUT", help="Zarr store to write the result to")
    add.add_argument(
        "--genes", action="append", metavar="GENE", help="gene; may be given several times (default: all)"
    )
    add_dimensions(add)
    return add


def _add_dispersion(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--dispersion",
        choices=("fit", "gene"),
        default="fit",
        help="overdispersion of the final fit, which under shrinkage is the trend, or the gene's own estimate "
        "(default: %(default)s)",
    )


def _opened(args: argparse.Namespace) -> tuple[xr.Dataset, xr.Dataset]:
    """Counts and fit, after a look at where the output goes."""
    from xdelnx.storage.stores import open_result

    check_outputs(args)
    fitted = open_result(args.fit)
    return opened(args, fitted), fitted


def _write(result: xr.Dataset, args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import write_store

    write_store(result, args.out, overwrite=args.overwrite)


def _add_covariance(commands: Any) -> argparse.ArgumentParser:
    return _add_of_fit(
        commands,
        "covariance",
        "covariances of the coefficients of each gene",
        "Compute the covariances of the coefficients (natural log) of each gene, or of some, of a fit.",
        "covariance.zarr --genes GLI3 --genes SHH",
    )


def _covariance(args: argparse.Namespace) -> None:
    from xdelnx.verbs.inference import covariance

    data, fitted = _opened(args)
    with job(args.scheduler, "computing covariances"):
        found = covariance(data, fitted, args.genes)
        write_values(found, "covariance", args)
    say(f"wrote {args.out}: {number(found, 'gene'):,} genes")


def _add_residuals(commands: Any) -> argparse.ArgumentParser:
    add = _add_of_fit(
        commands,
        "residuals",
        "what a fit leaves of each count",
        "Compute the residual of each count, or the leverage of each sample, of all genes or of some.",
        "residuals.zarr --kind randomized_quantile --genes GLI3",
    )
    _add_dispersion(add)
    add.add_argument(
        "--kind",
        choices=RESIDUALS,
        default="deviance",
        help="which residual, or the leverage (default: %(default)s)",
    )
    add.add_argument(
        "--seed",
        type=int,
        metavar="N",
        default=0,
        help="seed of randomized_quantile residuals (default: %(default)s)",
    )
    return add


def _residuals(args: argparse.Namespace) -> None:
    from xdelnx.verbs.looking import residuals

    data, fitted = _opened(args)
    with job(args.scheduler, f"computing {args.kind} residuals"):
        found = residuals(data, fitted, **named(args, "kind", "genes", "dispersion", "seed"), compute=False)
        write_values(found, "residual", args)
    say(f"wrote {args.out}: {number(found, 'gene'):,} genes")


def _add_goodness(commands: Any) -> argparse.ArgumentParser:
    add = _add_of_fit(
        commands,
        "goodness-of-fit",
        "deviance and Pearson statistic of each gene",
        "Compare each gene's deviance and Pearson statistic with its residual degrees of freedom.",
        "goodness.zarr",
    )
    _add_dispersion(add)
    return add


def _goodness(args: argparse.Namespace) -> None:
    from xdelnx.verbs.looking import goodness_of_fit

    data, fitted = _opened(args)
    with job(args.scheduler, "computing the goodness of fit"):
        found = goodness_of_fit(data, fitted, **named(args, "genes", "dispersion"))
        _write(found, args)
    say(f"wrote {args.out}: {number(found, 'gene'):,} genes")


def _add_predict(commands: Any) -> argparse.ArgumentParser:
    add = _add_of_fit(
        commands,
        "predict",
        "fitted means, for the samples of a fit or for new ones",
        "Compute the fitted means of all genes, or of some, with their standard errors.",
        "predicted.zarr --newdata samples.csv --genes GLI3",
    )
    _add_dispersion(add)
    yes_no = argparse.BooleanOptionalAction
    add.add_argument(
        "--newdata",
        metavar="TABLE",
        help="table of new samples, with the columns of the design: a sample in each row, its name in the first "
        "column (default: the samples of the fit)",
    )
    add.add_argument(
        "--scale",
        choices=("response", "link"),
        default="response",
        help="means of counts, or their natural log (default: %(default)s)",
    )
    add.add_argument(
        "--size-factor", type=float, metavar="X", help="size factor of the new samples (default: 1)"
    )
    add.add_argument(
        "--standard-error", action=yes_no, default=True, help="compute standard errors too (default: yes)"
    )
    add.add_argument(
        "--unscaled",
        action=yes_no,
        default=False,
        help="standard errors without the quasi-likelihood dispersion (default: no)",
    )
    return add


def _predict(args: argparse.Namespace) -> None:
    from xdelnx.storage.delimited import MISSING, read_table
    from xdelnx.verbs.predictions import predict

    data, fitted = _opened(args)
    newdata = None if args.newdata is None else read_table(args.newdata, MISSING)
    names = ("genes", "scale", "size_factor", "standard_error", "unscaled", "dispersion")
    with job(args.scheduler, "predicting"):
        found = predict(data, fitted, newdata, **named(args, *names))
        _write(found, args)
    say(f"wrote {args.out}: {sizes(found)}")


def _add_normalize(commands: Any) -> argparse.ArgumentParser:
    add: argparse.ArgumentParser = commands.add_parser(
        "normalize", help="normalised values for plots and distances", allow_abbrev=False
    )
    add.description = (
        "Normalise counts, for plots and distances between samples; not for fit, which needs the counts."
    )
    add.epilog = "example:\n  xdelnx normalize counts.zarr log_cpm.zarr --size-factors tmm"
    add.add_argument(
        "data", metavar="COUNTS", help="counts: a Zarr store (see xdelnx convert), or an AnnData"
    )
    add.add_argument("out", metavar="OUT", help="Zarr store to write the values to")
    add.add_argument(
        "--method",
        choices=("log_cpm", "acosh"),
        default="log_cpm",
        help="log2 of counts per million, or a transform that makes their variance about 1 (default: %(default)s)",
    )
    add_size_factors(add)
    add.add_argument(
        "--prior-count",
        type=float,
        metavar="X",
        default=2.0,
        help="added to each count (default: %(default)s)",
    )
    add.add_argument(
        "--overdispersion",
        type=float,
        metavar="X",
        default=0.05,
        help="overdispersion of all genes, for acosh (default: %(default)s)",
    )
    add_counts(add)
    add_dimensions(add)
    return add


def _normalize(args: argparse.Namespace) -> None:
    from xdelnx.verbs.normalizing import normalize

    check_outputs(args)
    data = opened(args)
    with job(args.scheduler, f"normalising {size(data[args.counts])}"):
        names = ("method", "size_factors", "prior_count", "overdispersion", "counts")
        values = normalize(data, **named(args, *names))
        write_values(values, args.method, args)
    say(f"wrote {args.out}: variable {args.method!r}")


def _add_adjusting(commands: Any) -> argparse.ArgumentParser:
    add: argparse.ArgumentParser = commands.add_parser(
        "adjust", help="adjust the p-values of a result anew", allow_abbrev=False
    )
    add.description = """\
Adjust the p-values of a fit or a test by another method, over all contrasts at once, or without the genes whose
counts are too low to find anything (independent filtering)."""
    add.epilog = "example:\n  xdelnx adjust fit.zarr adjusted.zarr --filter-by mean --table genes.csv"
    add.add_argument("fit", metavar="RESULT", help="the store that xdelnx fit, test or rank-genes wrote")
    add.add_argument("out", metavar="OUT", help="Zarr store to write the result to")
    add.add_argument(
        "--method", choices=ADJUSTMENTS, default="bh", help="as --adjust of fit (default: %(default)s)"
    )
    add.add_argument(
        "--across",
        action="append",
        metavar="DIMENSION",
        default=[],
        help="dimension whose tests are adjusted together, such as contrast (default: none)",
    )
    add.add_argument(
        "--filter-by",
        metavar="VARIABLE",
        help="leave out the genes that are low in this variable of the result, such as mean (default: none)",
    )
    add.add_argument(
        "--alpha",
        type=float,
        metavar="X",
        default=0.05,
        help="false discovery rate at which --filter-by counts genes (default: %(default)s)",
    )
    add_table(add)
    return add


def _adjust(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import TESTED, open_result
    from xdelnx.verbs.adjusting import adjust

    check_outputs(args)
    result = open_result(args.fit, needed=TESTED)
    finish(adjust(result, **named(args, "method", "across", "filter_by", "alpha")), args)


COMMANDS = (
    Command("covariance", _add_covariance, _covariance),
    Command("residuals", _add_residuals, _residuals),
    Command("goodness-of-fit", _add_goodness, _goodness),
    Command("predict", _add_predict, _predict),
    Command("normalize", _add_normalize, _normalize),
    Command("adjust", _add_adjusting, _adjust),
)
