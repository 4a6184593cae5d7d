"""What is said on the way: a bar on a terminal, a line that changes in a notebook, plain lines in a log.

A verb opens a report (`watched`), its passes are stages of it (`stage`), and whatever happens between two
stages is shown too. A thread of its own redraws, so that nothing long is silent.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

PATIENCE = 1.0  # seconds before anything is shown to a person
REDRAW = 0.25  # seconds between two states of a bar
LINES = 5.0  # seconds between two lines of a log, at first ...
SHARE = 0.05  # ... then this share of the time since the beginning ...
RARELY = 60.0  # ... and at last
BAR = 24  # characters
COMPILING = "compiling kernels (once per installation)"

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Stage:
    """One step: what it is, how much of it there is (0: unknown), how much is done, and what steps in it are called.

    ``aside`` is what keeps it waiting at present.
    """

    what: str
    total: int = 0
    noun: str = "block"
    done: int = 0
    start: float = field(default_factory=time.monotonic)
    heading: str = ""
    aside: str = ""

    def text(self, now: float) -> str:
        """Say in words how far it is.

        >>> Stage("fit, pass 1", 500, done=120, start=0.0).text(40.0)
        'fit, pass 1: 120 of 500 blocks, 3 blocks/s, 2 min left'
        >>> Stage("fit, pass 1", 500, start=0.0).text(9.0), Stage("reading", start=0.0).text(9.0)
        ('fit, pass 1: 0 of 500 blocks, 9 s', 'reading: 9 s')
        """
        return self._how_far(now) + (f", {self.aside}" if self.aside else "")

    def _how_far(self, now: float) -> str:
        elapsed = max(now - self.start, 1e-9)
        if not self.total:
            return f"{self.what}: {duration(elapsed)}"
        far = f"{self.what}: {self.done:,} of {self.total:,} {self.noun}{'' if self.total == 1 else 's'}"
        if not self.done:
            return f"{far}, {duration(elapsed)}"
        rate = self.done / elapsed
        left = duration((self.total - self.done) / rate)
        return f"{far}, {_rate(rate, self.noun)}, {left} left"


def _rate(rate: float, noun: str) -> str:
    return f"{rate:.3g} {noun}s/s" if rate >= 0.1 else f"{1.0 / rate:.3g} s/{noun}"


def duration(seconds: float) -> str:
    """Write a time as people do.

    >>> [duration(s) for s in (0.4, 59.4, 100.0, 7500.0)]
    ['0 s', '59 s', '2 min', '2 h 5 min']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


# ---- where it is shown -----------------------------------------------------------------------------------


class Screen(Protocol):
    """Where a report is shown: how long to wait before the next state, how to show one, and how to end."""

    def pause(self, elapsed: float) -> float: ...  # noqa: D102

    def show(self, stage: Stage) -> None: ...  # noqa: D102

    def clear(self) -> None: ...  # noqa: D102

    def close(self, what: str, elapsed: float) -> None: ...  # noqa: D102


class Terminal:
    """One line that is drawn over, and gone at the end."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.width = stream, 0

    def pause(self, elapsed: float) -> float:
        """Wait a little, once it is worth showing anything."""
        return REDRAW if elapsed >= PATIENCE else PATIENCE

    def show(self, stage: Stage) -> None:
        """Draw the bar over the one before."""
        columns = max(shutil.get_terminal_size().columns - 1, 20)
        words = stage.text(time.monotonic())
        line = (_bar(stage, columns - len(words) - 1) + words)[:columns]
        self._write("\r" + line.ljust(self.width))
        self.width = len(line)

    def clear(self) -> None:
        """Make room for something else."""
        if self.width:
            self._write("\r" + " " * self.width + "\r")
            self.width = 0

    def close(self, what: str, elapsed: float) -> None:  # noqa: ARG002 - as of every screen
        """Leave the terminal as it was."""
        self.clear()

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def _bar(stage: Stage, room: int) -> str:
    """Draw a bar, as wide as there is room for it; none where there is hardly any.

    >>> _bar(Stage("", 4, done=1), 15), _bar(Stage("", 4, done=1), 10), _bar(Stage(""), 15)
    ('[##......]  25% ', '', '')
    """
    width = min(BAR, room - 7)
    if not stage.total or width < 4:
        return ""
    part = stage.done / stage.total
    full = int(width * part)
    return f"[{'#' * full}{'.' * (width - full)}] {part:4.0%} "


class Notebook:
    """One output of the cell that is updated, in text alone."""

    def __init__(self) -> None:
        self.handle: Any = None

    def pause(self, elapsed: float) -> float:
        """As on a terminal, but rarer: each state is a message to the browser."""
        return 2.0 * REDRAW if elapsed >= PATIENCE else PATIENCE

    def show(self, stage: Stage) -> None:
        """Put the state in the place of the one before."""
        self._put(stage.text(time.monotonic()))

    def clear(self) -> None:
        """Nothing is in the way of anything."""

    def close(self, what: str, elapsed: float) -> None:
        """Leave a line that says how long it took, if anything was shown."""
        if self.handle is not None:
            self._put(f"{what}: {duration(elapsed)}")

    def _put(self, text: str) -> None:
        from IPython.display import display

        content = {"text/plain": text}
        if self.handle is None:
            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


class Log:
    """Plain lines, the rarer the longer it takes."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def pause(self, elapsed: float) -> float:
        """Wait for the next line."""
        return min(max(LINES, SHARE * elapsed), RARELY)

    def show(self, stage: Stage) -> None:
        """Write a line."""
        print(f"xdelnx: {stage.text(time.monotonic())}", file=self.stream, flush=True)

    def clear(self) -> None:
        """Lines stay."""

    def close(self, what: str, elapsed: float) -> None:
        """Nothing more to say: who started it says what came of it."""


def _screen(*, wanted: bool | None) -> Screen | None:
    """Where to show a report: nowhere if it is not wanted, or if nobody asked and nobody is watching."""
    if wanted is False:
        return None
    if _in_a_notebook():
        return Notebook()
    if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Terminal(sys.stderr)
    return Log(sys.stderr) if wanted and sys.stderr is not None else None


def _in_a_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


# ---- the report of a verb --------------------------------------------------------------------------------


class Report:
    """What one verb shows, on a screen or nowhere, for as long as it is open."""

    def __init__(self, what: str, screen: Screen | None) -> None:
        self.what, self.screen, self.stage = what, screen, Stage(what)
        self._start, self._over, self._drawing = time.monotonic(), threading.Event(), threading.Lock()

    def __enter__(self) -> Report:
        if self.screen is not None:
            self._thread = threading.Thread(target=self._redraw, args=(self.screen,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.screen is not None:
            self._over.set()
            self._thread.join()
            self.screen.close(self.what, time.monotonic() - self._start)

    def _redraw(self, screen: Screen) -> None:
        while not self._over.wait(screen.pause(time.monotonic() - self._start)):
            with self._drawing:
                screen.show(self.stage)

    def clear(self) -> None:
        """Take the bar away for a moment."""
        if self.screen is not None:
            with self._drawing:
                self.screen.clear()


_OPEN: ContextVar[Report | None] = ContextVar("report", default=None)


@contextmanager
def report(what: str, *, wanted: bool | None = None) -> Iterator[None]:
    """Show how far the work inside is.

    Parameters
    ----------
    what
        What the work is called where no stage of it is open.
    wanted
        True: a bar on a terminal, a line in a notebook, lines every few seconds elsewhere; False: nothing;
        None: on terminals and in notebooks alone. Within another report, True and None are as that one is.

    Raises
    ------
    TypeError
        It is something else.
    """
    if wanted is not None and not isinstance(wanted, bool):
        msg = f"progress is True, False or None (on terminals and in notebooks), received {wanted!r}"
        raise TypeError(msg)
    around = _OPEN.get()
    if around is not None and wanted is not False:  # one verb calls another
        yield
        return
    with Report(what, _screen(wanted=wanted)) as opened:
        token = _OPEN.set(opened)
        try:
            yield
        finally:
            _OPEN.reset(token)


def watched(verb: Callable[P, R]) -> Callable[P, R]:
    """Let a verb report as its argument ``progress`` says (`report`)."""

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        wanted: Any = kwargs.get("progress")
        with report(verb.__name__, wanted=wanted):
            return verb(*args, **kwargs)

    return run


@contextmanager
def stage(what: str, total: int = 0, *, heading: bool = False) -> Iterator[Stage | None]:
    """Name a step of the report that is open, and give its state to count in; None if nobody watches.

    Steps within a ``heading`` are shown with its name before theirs.
    """
    opened = _OPEN.get()
    if opened is None or opened.screen is None:
        yield None
        return
    before, name = opened.stage, f"{opened.stage.heading}{what}"
    opened.stage = Stage(name, total, heading=f"{name}, " if heading else before.heading)
    try:
        with _told_of_compiling(opened.stage):
            yield opened.stage
    finally:
        opened.stage = before


def _told_of_compiling(at: Stage) -> AbstractContextManager[Any]:
    """Say aside of a stage whenever this process compiles a kernel; what workers of a cluster do is not seen."""
    if "numba" not in sys.modules:  # as where counts are converted, which compiles nothing
        return nullcontext()
    from numba.core import event

    class Compiling(event.Listener):
        """One kernel at a time, with those it calls inside."""

        depth = 0

        def on_start(self, _: Any) -> None:
            self.depth += 1
            at.aside = COMPILING

        def on_end(self, _: Any) -> None:
            self.depth -= 1
            at.aside = COMPILING if self.depth else ""

    return event.install_listener("numba:compile", Compiling())


def clear() -> None:
    """Take the bar of the report that is open away, so that a line can be written."""
    opened = _OPEN.get()
    if opened is not None:
        opened.clear()
