"""The card's kernels on this machine's processor: the same source, compiled with its C++ compiler.

So their numbers are checked where there is no card. One thread takes a team's part, as on a card a team of one would.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from xdelnx.kernels.cuda.catalogue import source
from xdelnx.kernels.cuda.device import DeviceBackend

BUDGET = 2**26  # bytes of a tile


def compiler() -> str | None:
    """Path of a C++ compiler, or None."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++"))), None)


def prelude() -> str:
    """Text of ``prelude.h``."""
    return (Path(__file__).parent / "prelude.h").read_text(encoding="utf-8")


@cache
def library(extra: str = "", *options: str) -> ctypes.CDLL:
    """Compile the kernels and what comes after them, once for a text and options.

    Raises
    ------
    RuntimeError
        There is no compiler, or it refuses.
    """
    program = compiler()
    if program is None:
        msg = "the card's kernels run on a processor only where there is a C++ compiler: install g++"
        raise RuntimeError(msg)
    text = prelude() + source() + extra
    command = [program, "-std=c++20", "-O2", "-shared", "-fPIC", "-pthread", "-DXDELNX_HOST", *options]
    name = hashlib.sha256("\n".join([*command, text]).encode()).hexdigest()[:16]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.cpp"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [*command, path, "-o", f"{path}.so"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            msg = f"{program} refuses the kernels: {done.stderr[:2000]}"
            raise RuntimeError(msg)
        return ctypes.CDLL(f"{path}.so")


def launch(
    name: str, _blocks: tuple[int, int, int], _threads: tuple[int, int, int], arguments: list[Any]
) -> None:
    """Run a kernel, gene after gene."""
    call(library()[name], arguments)


def call(function: Any, arguments: list[Any]) -> None:
    """Call a function of the library with arrays of NumPy and whole numbers."""
    function(*(_as_c(value) for value in arguments))


def _as_c(value: Any) -> Any:
    return ctypes.c_void_p(value.ctypes.data) if isinstance(value, np.ndarray) else ctypes.c_longlong(value)


@cache
def hosted() -> DeviceBackend:
    """Backend of NumPy arrays whose kernels are the card's, as this machine's processor runs them."""
    return DeviceBackend(np, "hosted", launch, BUDGET)
