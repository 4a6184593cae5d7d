"""Command line: Zarr in, Zarr out.

The options carry the names of the arguments of the functions they call. Exit
status: 0 done, 1 failed (the reason is the last line), 2 called the wrong way.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdelnx.options import LOCAL_SCHEDULERS, parser

CONNECT_SECONDS = 30
BAR_AFTER_SECONDS = 1.0

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
        _say("interrupted; no output was written")
        return 1
    except Exception as error:
        if args.debug:
            raise
        _say(f"error: {_message(error)}")
        return 1
    return 0


def _message(error: BaseException) -> str:
    """Return the error's words; its kind too where that says more."""
    error = getattr(error, "exception", error)  # what a worker process raised, without its traceback
    words = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, ValueError | TypeError | OSError | KeyError | ImportError) and words:
        return words
    return f"{type(error).__name__}: {words} (--debug shows where)"


def _say(text: str) -> None:
    print(f"xdelnx: {text}", file=sys.stderr, flush=True)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print each warning as one line, without the source line that raised it."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
        yield


# ---------------------------------------------------------------- commands


def _simulate(args: argparse.Namespace) -> None:
    from xdelnx.simulation import simulate
    from xdelnx.stores import check_output, write_store

    check_output(args.out, overwrite=args.overwrite)
    with _job(args.scheduler, f"simulating {args.n_samples:,} samples x {args.n_genes:,} genes"):
        dataset = simulate(
            args.n_samples,
            args.n_genes,
            condition=args.condition,
            levels=args.levels,
            n_batches=args.n_batches,
            covariate=args.covariate,
            kind=args.kind,
            de_fraction=args.de_fraction,
            seed=args.seed,
            chunks=args.chunks,
        )
        write_store(dataset, args.out, overwrite=args.overwrite)
    _say(f"wrote {args.out}")


def _convert(args: argparse.Namespace) -> None:
    from xdelnx.io import convert

    with _job(args.scheduler, f"converting {args.source}"):
        dataset = convert(
            args.source, args.out, layer=args.layer, samples=args.samples, overwrite=args.overwrite
        )
    counts = dataset["counts"]
    _say(f"wrote {args.out}: {counts.shape[0]:,} samples x {counts.shape[1]:,} genes as {counts.dtype}")


def _pseudobulk(args: argparse.Namespace) -> None:
    from xdelnx.aggregation import pseudobulk
    from xdelnx.io import open_counts
    from xdelnx.stores import check_output, write_store

    check_output(args.out, overwrite=args.overwrite)
    data = open_counts(args.data, counts=args.counts)
    with _job(args.scheduler, f"summing {_size(data[args.counts])} by {', '.join(args.by)}"):
        result = pseudobulk(data, args.by, counts=args.counts)
        write_store(result, args.out, overwrite=args.overwrite)
    _say(f"wrote {args.out}: {result.sizes['sample']:,} samples")


def _fit(args: argparse.Namespace) -> None:
    from xdelnx.api import fit
    from xdelnx.io import open_counts

    _check_outputs(args)
    data = open_counts(args.data, counts=args.counts)
    with _job(args.scheduler, f"fitting {args.design} to {_size(data[args.counts])}"):
        result = fit(
            data,
            args.design,
            reference=dict(args.reference) if args.reference else None,
            contrasts="last" if args.contrasts is None else _one_or_more(args.contrasts),
            size_factors=None if args.size_factors == "none" else args.size_factors,
            offset=args.offset,
            overdispersion=args.overdispersion,
            shrinkage=args.shrinkage,
            cox_reid=args.cox_reid,
            ridge=args.ridge,
            adjust=args.adjust,
            counts=args.counts,
            device=args.device,
        )
    _finish(result, args)


def _test(args: argparse.Namespace) -> None:
    from xdelnx.api import test
    from xdelnx.io import open_counts, open_result

    _check_outputs(args)
    fitted = open_result(args.fit)
    name = _counts_name(fitted)
    data = open_counts(args.data, counts=name)
    with _job(args.scheduler, f"testing {_size(data[name])}"):
        result = test(
            data,
            fitted,
            _one_or_more(args.contrast),
            reduced=args.reduced,
            lfc_threshold=args.lfc_threshold,
            adjust=args.adjust,
            device=args.device,
        )
    _finish(result, args)


def _counts_name(fitted: xr.Dataset) -> str:
    """Return the name the counts had in the fit, which its options remember."""
    import json

    options = fitted.attrs.get("options", "{}")
    return (json.loads(options) if isinstance(options, str) else options).get("counts", "counts")


def _size(counts: xr.DataArray) -> str:
    blocks = f" in {counts.data.numblocks[1]} blocks" if counts.chunks else ""
    return f"{counts.sizes['sample']:,} samples x {counts.sizes['gene']:,} genes{blocks}"


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse before the work starts rather than after it."""
    from xdelnx.stores import check_output

    check_output(args.out, overwrite=args.overwrite)
    if args.table is None:
        return
    from xdelnx.io import TABLES, table_suffix

    if table_suffix(Path(args.table)) not in TABLES:
        msg = f"--table {args.table}: expected a name that ends in {', '.join(TABLES)} (also .gz)"
        raise ValueError(msg)
    if getattr(args, "contrasts", None) == ["none"]:
        msg = "--table lists tested genes, and --contrasts none asks for no test; leave out one of them"
        raise ValueError(msg)
    if Path(args.table).is_dir():
        msg = f"--table {args.table} is a folder; choose another name"
        raise FileExistsError(msg)
    check_output(args.table, overwrite=args.overwrite)


def _finish(result: xr.Dataset, args: argparse.Namespace) -> None:
    """Write the store and the table, both or neither, and say what was found."""
    from xdelnx.stores import replacing, write_store

    table = replacing(args.table, overwrite=args.overwrite) if args.table else nullcontext()
    with table as partial:
        if partial is not None:
            _write_table(_genes(result), partial, Path(args.table))
        write_store(result, args.out, overwrite=args.overwrite)
    for line in _summary(result):
        _say(line)
    _say(f"wrote {args.out}" + (f" and {args.table}" if args.table else ""))


def _genes(result: xr.Dataset) -> pd.DataFrame:
    """Join the tables of all contrasts, the contrast in the last column."""
    import pandas as pd

    from xdelnx.tables import top_table

    names = [str(name) for name in result["contrast"].values]
    return pd.concat([top_table(result, name).assign(contrast=name) for name in names], ignore_index=True)


def _write_table(table: pd.DataFrame, partial: Path, target: Path) -> None:
    from xdelnx.io import TABLES, table_suffix

    compression: Any = "gzip" if target.suffix == ".gz" else None
    table.to_csv(partial, sep=TABLES[table_suffix(target)], index=False, compression=compression)


def _summary(result: xr.Dataset) -> Iterator[str]:
    """Say how many genes each contrast found, and how many genes need a look."""
    from xdelnx.schema import Status

    if "padj" in result:
        for name in result["contrast"].values:
            padj = result["padj"].sel(contrast=name).values
            tested = int((padj == padj).sum())
            found = int((padj < 0.05).sum())
            yield f"{name}: {found:,} of {tested:,} tested genes at a false discovery rate of 5 %"
    if "status" in result:
        status = result["status"].values
        counted = {kind.name.lower(): int((status == kind).sum()) for kind in Status if kind != Status.OK}
        notes = [f"{number:,} {name}" for name, number in counted.items() if number]
        if notes:
            yield f"status of genes: {', '.join(notes)} (all others ok)"


def _one_or_more(values: Sequence[str] | None) -> Any:
    """Turn a list of contrasts into what the functions take: None, one or several."""
    if values is None or list(values) == ["none"]:
        return None
    return values[0] if len(values) == 1 else list(values)


_COMMANDS = {
    "simulate": _simulate,
    "convert": _convert,
    "pseudobulk": _pseudobulk,
    "fit": _fit,
    "test": _test,
}


# ---------------------------------------------------------------- where it runs


@contextmanager
def _job(scheduler: str, what: str) -> Iterator[None]:
    """Run a step on a scheduler, with a bar on a terminal and a line otherwise."""
    import dask

    start = time.monotonic()
    _say(what)
    if scheduler in LOCAL_SCHEDULERS:
        with _pool(scheduler) as pool, dask.config.set(scheduler=scheduler, **pool), _bar():
            yield
    else:
        with _client(scheduler) as client, _task_line(client):
            yield
    _say(f"done in {time.monotonic() - start:.1f} s")


@contextmanager
def _pool(scheduler: str) -> Iterator[dict[str, Any]]:
    """Keep worker processes for the whole job: Dask would start new ones for each pass."""
    if scheduler != "processes":
        yield {}
        return
    from concurrent.futures import ProcessPoolExecutor

    from dask.multiprocessing import get_context
    from dask.system import CPU_COUNT

    with ProcessPoolExecutor(CPU_COUNT, mp_context=get_context()) as executor:
        yield {"pool": executor}


def _bar() -> Any:
    from dask.diagnostics import ProgressBar

    return ProgressBar(minimum=BAR_AFTER_SECONDS, out=sys.stderr) if sys.stderr.isatty() else nullcontext()


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        msg = "running on a cluster needs the package distributed: pip install 'xdelnx[distributed]'"
        raise ImportError(msg) from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except OSError as error:
        msg = f"no Dask scheduler answers at {address}; check the address, or start one (dask scheduler)"
        raise ConnectionError(msg) from error
    _say(f"on {address} ({len(client.scheduler_info()['workers'])} workers); watch {client.dashboard_link}")
    return client


@contextmanager
def _task_line(client: Any) -> Iterator[None]:
    """Keep a line on the terminal up to date with the tasks of the cluster."""
    if not sys.stderr.isatty():
        yield
        return
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(BAR_AFTER_SECONDS):
            running, waiting = client.run_on_scheduler(_tasks)
            print(f"\r{running:,} tasks running, {waiting:,} waiting   ", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        print(file=sys.stderr)


def _tasks(dask_scheduler: Any) -> tuple[int, int]:
    states = [task.state for task in dask_scheduler.tasks.values()]
    return states.count("processing"), sum(state in ("waiting", "queued", "no-worker") for state in states)


if __name__ == "__main__":
    sys.exit(main())
