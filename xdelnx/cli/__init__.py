"""The command line: options, the commands, and where they run. Zarr in, Zarr out."""

from xdelnx.cli.entry import main

__all__ = ["main"]
