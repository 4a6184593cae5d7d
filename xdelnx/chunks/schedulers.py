"""Which scheduler computes: one of Dask on this machine, or that of a cluster, which its client reaches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import dask


def scheduler() -> Callable[..., Any] | None:
    """Give the scheduler in force, or None to leave it to Dask.

    Dask imports distributed to ask for its client, which takes a fifth of a second where it is installed; but
    there can be no client where nobody has imported it.
    """
    named = dask.config.get("scheduler", "threads")
    return None if "distributed" in sys.modules else dask.base.named_schedulers.get(named)


def client_in_force() -> Any:
    """Client of the cluster that computes, the default one or as Dask's option ``scheduler`` has it; or None."""
    if "distributed" not in sys.modules:
        return None
    owner = getattr(dask.base.get_scheduler(), "__self__", None)
    return owner if hasattr(owner, "run_on_scheduler") else None
