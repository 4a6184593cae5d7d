"""Stores that somebody else has written: opening one runs no code."""

from __future__ import annotations

from typing import Any

from xdelnx.chunks.faults import NoAnswerError
from xdelnx.messages import fail
from xdelnx.storage.remote import zarr_group

RUN_CODE = ("pickle",)  # codecs whose decoding runs whatever the writer of the store wanted


def open_group(store: Any, expected: str) -> Any:
    """Open a Zarr store for reading, if that runs no code.

    Parameters
    ----------
    store
        Path or URL, or an opened store object.
    expected
        What should be there, for the message.

    Raises
    ------
    ValueError
        It is not a Zarr store, or an array in it is pickled. (Of the formats of Zarr only the second knows that,
        and not every version of its readers refuses it.)
    NoAnswerError
        A URL did not answer.
    """
    try:
        group = zarr_group(store)
        members = list(group.members(max_depth=None)) if group.metadata.zarr_format == 2 else []
    except NoAnswerError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"{store} is not a Zarr store that can be read; {expected}"
        raise ValueError(msg) from error
    for name, member in members:
        _check_codecs(member.metadata, f"the array {name!r} of {store}")
    return group


def _check_codecs(metadata: Any, what: str) -> None:
    codecs = [*(getattr(metadata, "filters", None) or ()), getattr(metadata, "compressor", None)]
    if any(getattr(codec, "codec_id", None) in RUN_CODE for codec in codecs):
        fail(
            f"{what} is pickled, and reading it would run code that the store brings along; ask for a store with "
            "text in the place of Python objects"
        )
