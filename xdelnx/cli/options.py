"""The parser of all commands; options are named as the arguments of the functions they are for."""

from __future__ import annotations

import argparse

import xdelnx
from xdelnx.cli import counts_commands, doctor_command, looking_commands, model_commands, result_commands
from xdelnx.cli.option_types import as_scheduler

COMMANDS = (
    *counts_commands.COMMANDS,
    *model_commands.COMMANDS,
    *result_commands.COMMANDS,
    *looking_commands.COMMANDS,
    *doctor_command.COMMANDS,
)

_EXAMPLES = """\
examples:
  xdelnx convert cells.h5ad counts.zarr --layer counts
  xdelnx fit counts.zarr fit.zarr --design "~ batch + drug" --reference drug=none --table genes.csv
  xdelnx test counts.zarr fit.zarr test.zarr --contrast "drug[T.B] - drug[T.A]"
  xdelnx report fit.zarr report.html --data counts.zarr --tests test.zarr
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="xdelnx",
        description="Find the genes whose counts differ between conditions. First convert the counts to a Zarr "
        "store,\nthen fit a model to every gene; test asks a fit further questions.",
        epilog=_EXAMPLES + "\nxdelnx COMMAND --help tells more of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"xdelnx {xdelnx.__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for kind in COMMANDS:
        command = kind.add(commands)
        command.set_defaults(run=kind.run)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        if kind.writes:
            _add_writing(command)
        command.add_argument(
            "--scheduler",
            default="threads",
            metavar="WHERE",
            type=as_scheduler,
            help="threads, processes, synchronous, cuda (a worker for each of this machine's GPUs), or a Dask "
            "scheduler's address such as tcp://host:8786 (default: %(default)s)",
        )
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return top


def _add_writing(command: argparse.ArgumentParser) -> None:
    command.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    command.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show how far the work is: a bar on a terminal, a line every few seconds elsewhere (default: yes)",
    )
