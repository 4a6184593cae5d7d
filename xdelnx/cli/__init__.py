"""The command line: options, the commands, and where they run. Zarr in, Zarr out."""

from xdelnx.cli.commands import main

__all__ = ["main"]
