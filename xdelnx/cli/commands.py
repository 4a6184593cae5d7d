"""Command line: Zarr in, Zarr out.

The options carry the names of the arguments of the functions they call. Exit
status: 0 done, 1 failed (the reason is the last line), 2 called the wrong way.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdelnx.cli.jobs import job, say
from xdelnx.cli.options import parser
from xdelnx.messages import fail

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    try:
        args = parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed why
        return int(stop.code or 0)
    try:
        with _plain_warnings():
            _COMMANDS[args.command](args)
    except KeyboardInterrupt:
        say("interrupted; no output was written")
        return 1
    except Exception as error:
        if args.debug:
            raise
        say(f"error: {_message(error)}")
        return 1
    return 0


def _message(error: BaseException) -> str:
    """Return the error's words; its kind too where that says more."""
    error = getattr(error, "exception", error)  # what a worker process raised, without its traceback
    words = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, ValueError | TypeError | OSError | KeyError | ImportError) and words:
        return words
    return f"{type(error).__name__}: {words} (--debug shows where)"


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print each warning as one line, without the source line that raised it."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        yield


# ---------------------------------------------------------------- commands


def _simulate(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import write_store
    from xdelnx.verbs.simulation import simulate

    _check_outputs(args)
    names = ("n_samples", "n_genes", "condition", "levels", "n_batches", "covariate", "kind")
    with job(args.scheduler, f"simulating {args.n_samples:,} samples x {args.n_genes:,} genes"):
        dataset = simulate(**_named(args, *names, "de_fraction", "seed", "chunks"))
        write_store(dataset, args.out, overwrite=args.overwrite)
    say(f"wrote {args.out}")


def _convert(args: argparse.Namespace) -> None:
    from xdelnx.storage.io import convert

    with job(args.scheduler, f"converting {args.source}"):
        dataset = convert(args.source, args.out, **_named(args, "layer", "samples", "overwrite"))
    counts = dataset["counts"]
    say(f"wrote {args.out}: {counts.shape[0]:,} samples x {counts.shape[1]:,} genes as {counts.dtype}")


def _pseudobulk(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import open_counts, write_store
    from xdelnx.verbs.aggregation import pseudobulk

    _check_outputs(args)
    data = open_counts(args.data, counts=args.counts)
    with job(args.scheduler, f"summing {_size(data[args.counts])} by {', '.join(args.by)}"):
        result = pseudobulk(data, args.by, counts=args.counts)
        write_store(result, args.out, overwrite=args.overwrite)
    say(f"wrote {args.out}: {result.sizes['sample']:,} samples")


def _rank_genes(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import open_counts
    from xdelnx.verbs.markers import rank_genes

    _check_outputs(args)
    data = open_counts(args.data, counts=args.counts)
    with job(args.scheduler, f"ranking {_size(data[args.counts])} by {', '.join(args.by)}"):
        result = rank_genes(
            data,
            args.by,
            groups=args.groups,
            reference=args.reference,
            size_factors=args.size_factors,
            adjust=args.adjust,
            counts=args.counts,
        )
    _finish(result, args)


def _fit(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import open_counts
    from xdelnx.verbs.fitting import fit

    _check_outputs(args)
    data = open_counts(args.data, counts=args.counts)
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
    with job(args.scheduler, f"fitting {args.design} to {_size(data[args.counts])}"):
        result = fit(
            data,
            args.design,
            reference=reference,
            contrasts=_contrasts(args.contrasts),
            size_factors=None if args.size_factors == "none" else args.size_factors,
            **_named(args, *names),
        )
    _finish(result, args)


def _test(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import open_counts, open_result
    from xdelnx.verbs.fitted import options_of
    from xdelnx.verbs.testing import test

    _check_outputs(args)
    fitted = open_result(args.fit)
    name = options_of(fitted)["counts"]
    data = open_counts(args.data, counts=name)
    contrast = None if args.contrast is None else _one_or_more(args.contrast)
    with job(args.scheduler, f"testing {_size(data[name])}"):
        result = test(data, fitted, contrast, **_named(args, "reduced", "lfc_threshold", "adjust", "device"))
    _finish(result, args)


def _filter_by_expression(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import gene_chunk, open_counts, write_store, zarr_safe
    from xdelnx.verbs.filtering import filter_by_expression

    _check_outputs(args)
    data = open_counts(args.data, counts=args.counts)
    names = ("design", "min_count", "min_total_count", "large_n", "min_prop", "counts")
    with job(args.scheduler, f"filtering {_size(data[args.counts])}"):
        factors = None if args.size_factors == "none" else args.size_factors
        keep = filter_by_expression(data, group=args.group, size_factors=factors, **_named(args, *names))
        kept = zarr_safe(data.isel(gene=keep.values))
        n_samples, n_genes = kept[args.counts].shape
        chunk = gene_chunk(n_samples, n_genes, kept[args.counts].dtype)
        write_store(kept.chunk(sample=-1, gene=chunk), args.out, overwrite=args.overwrite)
    say(f"wrote {args.out}: {int(keep.sum()):,} of {keep.size:,} genes")


def _shrink_lfc(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import open_result, write_store
    from xdelnx.verbs.fold_changes import shrink_lfc

    _check_outputs(args)
    result = open_result(args.fit)
    with job(args.scheduler, "shrinking fold changes"):
        write_store(shrink_lfc(result), args.out, overwrite=args.overwrite)
    say(f"wrote {args.out}")


def _covariance(args: argparse.Namespace) -> None:
    from xdelnx.storage.stores import open_counts, open_result, write_store
    from xdelnx.verbs.fitted import options_of
    from xdelnx.verbs.inference import covariance

    _check_outputs(args)
    fitted = open_result(args.fit)
    data = open_counts(args.data, counts=options_of(fitted)["counts"])
    with job(args.scheduler, "computing covariances"):
        found = covariance(data, fitted, args.genes)
        write_store(found.to_dataset(name="covariance"), args.out, overwrite=args.overwrite)
    say(f"wrote {args.out}: {found.sizes['gene']:,} genes")


def _named(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Options that go to a function as they are, by the names of its arguments."""
    return {name: getattr(args, name) for name in names}


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


def _size(counts: xr.DataArray) -> str:
    blocks = f" in {counts.data.numblocks[1]} blocks" if counts.chunks else ""
    return f"{counts.sizes['sample']:,} samples x {counts.sizes['gene']:,} genes{blocks}"


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse before the work starts rather than after it."""
    from xdelnx.storage.delimited import TABLES, table_suffix
    from xdelnx.storage.stores import check_output

    inputs = [getattr(args, name) for name in ("data", "fit") if hasattr(args, name)]
    check_output(args.out, overwrite=args.overwrite, apart_from=inputs)
    if getattr(args, "table", None) is None:
        return
    if table_suffix(Path(args.table)) not in TABLES:
        fail(f"--table {args.table}: expected a name that ends in {', '.join(TABLES)} (also .gz)")
    if getattr(args, "contrasts", None) == ["none"]:
        fail("--table lists tested genes, and --contrasts none asks for no test; leave out one of them")
    check_output(args.table, overwrite=args.overwrite, table=True, apart_from=(*inputs, args.out))


def _finish(result: xr.Dataset, args: argparse.Namespace) -> None:
    """Write the store and the table, both or neither, and say what was found."""
    from xdelnx.storage.stores import replacing, write_store

    table = replacing(args.table, overwrite=args.overwrite, table=True) if args.table else nullcontext()
    with table as partial:
        if partial is not None:
            _write_table(_genes(result), partial, Path(args.table))
        write_store(result, args.out, overwrite=args.overwrite)
    for line in _summary(result):
        say(line)
    say(f"wrote {args.out}" + (f" and {args.table}" if args.table else ""))


def _genes(result: xr.Dataset) -> pd.DataFrame:
    """Join the tables of all contrasts, the contrast in the last column."""
    import pandas as pd

    from xdelnx.verbs.tables import top_table

    by = [str(dim) for dim in result["pval"].dims if dim not in ("contrast", "gene")]
    if by:  # groups that were fitted on their own
        fitted = result[by[0]].values[result["group_status"].values == 0]
        tables = [_genes(result.sel({by[0]: group})).assign(**{by[0]: group}) for group in fitted]
    else:
        names = [str(name) for name in result["contrast"].values]
        tables = [top_table(result, name).assign(contrast=name) for name in names]
    return pd.concat(tables, ignore_index=True)


def _write_table(table: pd.DataFrame, partial: Path, target: Path) -> None:
    from xdelnx.storage.delimited import TABLES, table_suffix

    compression: Any = "gzip" if target.suffix == ".gz" else None
    table.to_csv(partial, sep=TABLES[table_suffix(target)], index=False, compression=compression)


def _summary(result: xr.Dataset) -> Iterator[str]:
    """Say how many genes each contrast found, and how many genes need a look."""
    from xdelnx.status import Status

    if "padj" in result:
        for name in result["contrast"].values:
            padj = result["padj"].sel(contrast=name).values
            tested = int((padj == padj).sum())
            found = int((padj < 0.05).sum())
            yield f"{name}: {found:,} of {tested:,} tested genes at a false discovery rate of 5 %"
    if "status" in result:
        status = result["status"].values
        numbers = {kind.name.lower(): int((status == kind).sum()) for kind in Status if kind != Status.OK}
        notes = [f"{number:,} {name}" for name, number in numbers.items() if number]
        if notes:
            yield f"status of genes: {', '.join(notes)} (all others ok)"


_COMMANDS = {
    "simulate": _simulate,
    "convert": _convert,
    "pseudobulk": _pseudobulk,
    "rank-genes": _rank_genes,
    "fit": _fit,
    "test": _test,
    "filter-by-expression": _filter_by_expression,
    "shrink-lfc": _shrink_lfc,
    "covariance": _covariance,
}


if __name__ == "__main__":
    sys.exit(main())
