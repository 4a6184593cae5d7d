"""A first look at every count: library totals, and whether these are counts at all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xdelnx.errors import XdelnxWarning
from xdelnx.messages import fail, listing

LOG_VALUES_BELOW = 30.0  # logarithms of counts stay below this; counts of a gene that matters do not


@dataclass(frozen=True)
class Survey:
    """What one look at the counts (sample, gene) tells; surveys of gene blocks are joined by `join`."""

    totals: np.ndarray  # (sample,) library size
    expressed: np.ndarray  # (gene,) any count above zero
    negative: np.ndarray  # (gene,) how many negative counts
    not_finite: np.ndarray  # (gene,) how many NaN or infinite counts
    non_zero: int
    fractions: int  # non-zero counts that are not whole numbers
    largest: float
    offset_scale: np.ndarray  # (sample,) sum over expressed genes of the exponential of a per-gene offset


def look(counts: np.ndarray, offset: np.ndarray | None = None) -> Survey:
    """Survey a block (sample, gene), with its per-entry offset (natural log) if there is one."""
    n_samples, n_genes = counts.shape
    whole = counts.dtype.kind in "iub"
    none = np.zeros(n_genes, dtype=np.int64)
    not_finite = none if whole else np.sum(~np.isfinite(counts), axis=0)
    negative = np.sum(counts < 0, axis=0) if counts.dtype.kind != "u" else none
    expressed = np.any(counts > 0, axis=0)
    fractions = 0 if whole else int(np.sum(np.isfinite(counts) & (counts != np.floor(counts))))
    offset_scale = np.zeros(n_samples)
    if offset is not None:
        _check_offset(offset)
        offset_scale = np.exp(offset[:, expressed]).sum(axis=1)
    return Survey(
        totals=counts.sum(axis=1, dtype=np.float64),
        expressed=expressed,
        negative=negative,
        not_finite=not_finite,
        non_zero=int(np.count_nonzero(counts)),
        fractions=fractions,
        largest=float(counts.max()) if counts.size else 0.0,
        offset_scale=offset_scale,
    )


def _check_offset(offset: np.ndarray) -> None:
    bad = ~np.isfinite(offset)
    if bad.any():
        fail(
            f"{bad.sum()} offsets of {bad.any(axis=0).sum()} genes are NaN or infinite; an offset is the natural "
            "log of a positive scale"
        )


def join(surveys: Sequence[Survey]) -> Survey:
    """Put the surveys of consecutive gene blocks together."""
    return Survey(
        totals=np.sum([s.totals for s in surveys], axis=0),
        expressed=np.concatenate([s.expressed for s in surveys]),
        negative=np.concatenate([s.negative for s in surveys]),
        not_finite=np.concatenate([s.not_finite for s in surveys]),
        non_zero=sum(s.non_zero for s in surveys),
        fractions=sum(s.fractions for s in surveys),
        largest=max(s.largest for s in surveys),
        offset_scale=np.sum([s.offset_scale for s in surveys], axis=0),
    )


def checked(survey: Survey, genes: np.ndarray) -> Survey:
    """Refuse what cannot be counts, and warn of what hardly is.

    Raises
    ------
    ValueError
        Negative, NaN or infinite counts (which genes, how many), or not a single count.
    """
    _refuse(
        survey.not_finite,
        genes,
        "NaN or infinite",
        "fill or drop them: a count that is missing is not a zero",
    )
    _refuse(survey.negative, genes, "negative", "pass raw counts, not centred or scaled values")
    if survey.non_zero == 0:
        fail(f"every count of the {genes.size} genes is zero")
    if survey.fractions > 0.5 * survey.non_zero and survey.largest < LOG_VALUES_BELOW:
        share = survey.fractions / survey.non_zero
        warnings.warn(
            f"these look like log-normalised values, not counts: {share:.0%} of the non-zero values are fractions "
            f"and the largest is {survey.largest:.3g}. Pass raw counts (in AnnData often layers['counts']). If they "
            "are counts, silence this with warnings.simplefilter('ignore', xdelnx.XdelnxWarning).",
            XdelnxWarning,
            stacklevel=2,
        )
    return survey


def _refuse(how_many: np.ndarray, genes: np.ndarray, what: str, advice: str) -> None:
    if how_many.any():
        named = listing(genes[how_many > 0], limit=5)
        fail(f"{how_many.sum()} counts are {what}, in {np.count_nonzero(how_many)} genes: {named}; {advice}")
