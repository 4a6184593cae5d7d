"""Outputs under way: the folder beside an output in which its job goes on, and how to tell what is complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xdelnx.chunks.disks import full_disk_told
from xdelnx.chunks.faults import NoAnswerError
from xdelnx.chunks.journal import MANIFEST, Journal, read_manifest
from xdelnx.messages import brief, fail
from xdelnx.storage.remote import is_url, local_name, zarr_group

LOCK = "in-use"


def folder_of(out: str | os.PathLike[str]) -> Path:
    """Folder of the unfinished job whose output this will be: beside it or, if that is a URL, in the current folder."""
    target = Path(os.path.realpath(local_name(str(out)) if is_url(out) else out))
    return target.parent / f".{target.name}.unfinished"


def note(out: str | os.PathLike[str]) -> str:
    """Say that an output is not there because its job is unfinished, and how it goes on; empty if it is not so."""
    folder = folder_of(out)
    if not (folder / MANIFEST).exists():
        return ""
    return (
        f"the fit to be written there is unfinished (it is kept in {folder}); "
        "give the same `xdelnx fit` again and it goes on from where it stopped"
    )


def journal_of(
    out: str | os.PathLike[str], fingerprint: Mapping[str, Any], begun: str, *, overwrite: bool
) -> Journal:
    """Journal of the job with this output: that of an earlier run of the same job, or a new one.

    Raises
    ------
    ValueError
        There is one of another job; it is named what differs. With ``overwrite`` that one is removed.
    """
    folder = folder_of(out)
    there = read_manifest(folder)
    if there is None:
        return Journal(folder, dict(fingerprint), begun)
    changed = differences(there, fingerprint)
    if changed and not overwrite:
        fail(
            f"an unfinished fit of {out} is there, but of another job: {in_words(changed)}. Undo the change and "
            "it goes on, or begin anew with --overwrite, or choose another name"
        )
    journal = Journal(folder, dict(fingerprint), begun if changed else str(there.get("begun", begun)))
    if changed:
        journal.remove()
    return journal


def finished(out: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Fingerprint of the job that made the fit in this store; None if there is none, or it is none of a whole fit."""
    if not is_url(out) and not Path(out).is_dir():
        return None
    try:
        attributes = dict(zarr_group(out).attrs)
    except NoAnswerError:
        raise
    except (OSError, ValueError, TypeError, KeyError):
        return None
    steps = str(attributes.get("history", "")).splitlines()
    if len(steps) != 1 or not steps[0].endswith("xdelnx.fit"):
        return None  # what other verbs make of a fit has its attributes, too
    try:
        return json.loads(str(attributes["fingerprint"]))
    except (KeyError, ValueError):
        return None


def remove(folder: Path) -> None:
    """Remove the folder of an unfinished job, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two fingerprints, which hold sections of names with values: each with both values."""
    found = []
    for section, entries in now.items():
        earlier = before.get(section, {})
        if earlier and entries and not {*earlier} & {*entries}:
            found.append(f"{section} was another store or file")
            continue
        for name in dict.fromkeys([*earlier, *entries]):
            one, other = earlier.get(name), entries.get(name)
            if one != other:
                found.append(f"{section} {name} was {brief(str(one))} and is {brief(str(other))}")
    return found


def in_words(changed: list[str]) -> str:
    """Join differences, the first of them where they are many."""
    more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
    return "; ".join(changed[:3]) + more


# ---- one process at a time, and what it may leave behind -------------------------------------------------


def hold(folder: Path) -> Any:
    """Take a journal's folder for this process alone; what is returned holds it until it is closed.

    Raises
    ------
    BlockingIOError
        Another process is at it. A file system without locks lets everyone pass.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / LOCK).open("a+", encoding="utf-8")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read() or "another process"
        file.close()
        msg = f"{holder} is at work on this output; wait for it, or choose another name"
        raise BlockingIOError(msg) from None
    except (ImportError, OSError):
        return file
    file.truncate(0)
    with full_disk_told(folder):
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    return file


def sweep(out: str | os.PathLike[str]) -> None:
    """Remove what a process that was killed while it wrote the output left beside it (`outputs.replacing`)."""
    if is_url(out):
        return  # which is copied from a temporary folder
    target = Path(os.path.realpath(out))
    left = re.compile(re.escape(f".{target.name}.") + r"\d+-[0-9a-f]{8}\.(partial|old)")
    for path in target.parent.glob(f".{target.name}.*") if target.parent.is_dir() else ():
        if left.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
