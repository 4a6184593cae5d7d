"""What commands share: checks of their outputs before the work, and stores, tables and words after it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdelnx.cli.jobs import say
from xdelnx.messages import fail

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def named(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Options that go to a function as they are, by the names of its arguments."""
    return {name: getattr(args, name) for name in names}


def one_or_more(values: Sequence[str]) -> Any:
    """Give the only value of an option that may be given several times, or all of them."""
    return values[0] if len(values) == 1 else list(values)


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse before the work starts rather than after it."""
    from xdelnx.storage.outputs import check_output

    inputs = [getattr(args, name) for name in ("data", "fit") if hasattr(args, name)]
    check_output(args.out, overwrite=args.overwrite, apart_from=inputs)
    if getattr(args, "table", None) is None:
        return
    check_table_name(args.table)
    if getattr(args, "contrasts", None) == ["none"]:
        fail("--table lists tested genes, and --contrasts none asks for no test; leave out one of them")
    check_output(args.table, overwrite=args.overwrite, table=True, apart_from=(*inputs, args.out))


def check_table_name(table: str) -> None:
    """Refuse a table whose name does not say how it is written."""
    from xdelnx.storage.delimited import TABLES, table_suffix

    if table_suffix(Path(table)) not in TABLES:
        fail(f"--table {table}: expected a name that ends in {', '.join(TABLES)} (also .gz)")


def write_values(values: xr.DataArray, name: str, args: argparse.Namespace) -> None:
    """Write one variable as a store of its own, which remembers what its dimensions are called."""
    from xdelnx.storage.dimensions import names_of, remembering
    from xdelnx.storage.stores import write_store

    dataset = remembering(values.to_dataset(name=name), names_of(values.attrs))
    write_store(dataset, args.out, overwrite=args.overwrite)


def finish(result: xr.Dataset, args: argparse.Namespace) -> None:
    """Write the store and the table, both or neither, and say what was found."""
    from xdelnx.storage.dimensions import as_ours, names_of
    from xdelnx.storage.outputs import replacing
    from xdelnx.storage.stores import write_store
    from xdelnx.verbs.describing import findings

    table = replacing(args.table, overwrite=args.overwrite, table=True) if args.table else nullcontext()
    ours = as_ours(result, names_of(result.attrs))
    with table as partial:
        if partial is not None:
            _write_table(_genes(ours), partial, Path(args.table))
        write_store(result, args.out, overwrite=args.overwrite)
    for line in findings(ours):
        say(line)
    say(f"wrote {args.out}" + (f" and {args.table}" if args.table else ""))


def write_table(result: xr.Dataset, args: argparse.Namespace) -> None:
    """Write the table alone, of a store that is there."""
    from xdelnx.storage.dimensions import as_ours, names_of
    from xdelnx.storage.outputs import replacing

    with replacing(args.table, overwrite=args.overwrite, table=True) as partial:
        _write_table(_genes(as_ours(result, names_of(result.attrs))), partial, Path(args.table))


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
