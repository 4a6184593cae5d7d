"""The code in pages: found, run in order, and what it prints compared with what the page says it prints.

    python tools/documentation/blocks.py docs/*.md      # writes into the pages what their code prints now

In Python code of a page, `ROOT` is the folder of the sources.
A ```python block and a `<!-- run` comment are Python, and share names down a page; in a ```console block each line
that begins with `$ xdelnx` is run; a ```text block right after a ```python block is what that prints.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdelnx.cli import main

BLOCK = re.compile(
    r"^(?:<!-- run\n(?P<hidden>.*?)-->|```python\n(?P<python>.*?)```|```console\n(?P<console>.*?)```)"
    r"(?:\n\n```text\n(?P<printed>.*?)```)?",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """Code of a page, the line it begins at, and what it is said to print (None: nothing is said)."""

    code: str
    line: int
    printed: str | None
    is_python: bool


def blocks(text: str) -> Iterator[Block]:
    """Find every block of a page that is run."""
    for found in BLOCK.finditer(text):
        code = found["hidden"] or found["python"] or found["console"] or ""
        yield Block(code, text.count("\n", 0, found.start()) + 2, found["printed"], found["console"] is None)


def run(text: str, page: str) -> Iterator[tuple[Block, str]]:
    """Run the blocks of a page in the working folder; give each with what it printed."""
    names: dict[str, Any] = {"__name__": "__main__", "ROOT": Path(__file__).resolve().parents[2]}
    for block in blocks(text):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            if block.is_python:
                exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), names)  # noqa: S102
            else:
                _commands(block, page)
        yield block, out.getvalue()


def _commands(block: Block, page: str) -> None:
    for line in block.code.replace("\\\n", " ").splitlines():
        name, *arguments = shlex.split(line.removeprefix("$ "), comments=True) or [""]
        if line.startswith("$ ") and name == "xdelnx" and main(arguments) != 0:
            msg = f"{page}, from line {block.line}: {line} failed"
            raise RuntimeError(msg)


def updated(text: str, page: str) -> str:
    """Return the page with what its code prints now in place of what it says."""
    pieces, end = [], 0
    for found, (block, printed) in zip(BLOCK.finditer(text), run(text, page), strict=True):
        if block.printed is not None:
            pieces += [text[end : found.start("printed")], printed]
            end = found.end("printed")
    return "".join(pieces) + text[end:]


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    for path in [Path(name).resolve() for name in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            path.write_text(updated(path.read_text(encoding="utf-8"), path.name), encoding="utf-8")
