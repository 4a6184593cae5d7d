"""Command line: Zarr in, Zarr out.

The options carry the names of the arguments of the functions they call. Exit
status: 0 done, 1 failed (the reason is the last line), 2 called the wrong way, 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from xdelnx.cli.jobs import say
from xdelnx.cli.options import parser
from xdelnx.progress import report

WRONG = 2  # as argparse has it
INTERRUPTED = 130  # as a shell says of a command that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    try:
        if not (sys.argv[1:] if argv is None else argv):
            parser().print_help(sys.stderr)
            return WRONG
        args = parser().parse_args(argv)
        args.words = argv
    except SystemExit as stop:  # argparse has printed why
        return int(stop.code or 0)
    try:
        with _plain_warnings(), report("at work", wanted=getattr(args, "progress", False) is not False):
            args.run(args)
    except SystemExit as stop:
        return int(stop.code or 0)
    except KeyboardInterrupt:
        say("interrupted; no output was written")
        return INTERRUPTED
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
    said: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in said:  # once, however many steps of a command come upon it
            said.add(str(message))
            say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
