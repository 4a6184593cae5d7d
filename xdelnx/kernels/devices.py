"""Which backend a device's name stands for, on the machine that asks."""

from __future__ import annotations

from xdelnx.kernels.backend import CPU, Backend
from xdelnx.kernels.cuda.card import INSTALL, NAME, card, free_memory, missing

__all__ = ["AUTO", "DEVICES", "INSTALL", "NAME", "backend_on", "found", "free_memory", "missing"]

AUTO = "auto"
DEVICES = (AUTO, CPU.name, NAME)


def found(device: str) -> str:
    """Name of the device that computing on ``device`` means here: ``auto`` is a card where there is one."""
    if device != AUTO:
        return device
    return CPU.name if missing() else NAME


def backend_on(device: str) -> Backend:
    """Return the backend of a device's name.

    Raises
    ------
    ValueError
        A card is asked for, and there is none.
    """
    return CPU if found(device) == CPU.name else card()
