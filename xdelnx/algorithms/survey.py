"""A first look at every count: library totals, and whether these are counts at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from xdelnx.algorithms.matrices import as_matrix, flat_rows, is_sparse, sum_by_gene
from xdelnx.algorithms.weighting import Entries, counts_with_weight, parts
from xdelnx.errors import warn
from xdelnx.kernels.block import look_at_fractions, look_at_whole_numbers
from xdelnx.messages import counted, fail, listing

LOG_VALUES_BELOW = 30.0  # logarithms of counts stay below this; counts of a gene that matters do not
LARGEST_COUNT = 1e12  # the overdispersion's relative error is 3e-16 times it
LARGEST_WEIGHT = 1e12  # 1 is a sample seen once
LARGEST_OFFSET = 100.0  # natural log: no scale of a count is e^100; library sizes not yet logged are larger
FORGOTTEN_LOG = "an offset is the natural log of a scale; did you forget the log?"
LARGEST_WHOLE = 2.0**32  # totals below that are kept as whole numbers
SAME_TOTAL = 1e-5  # relative; library sizes differ by far more, sums of 32-bit CPM or TPM by less


@dataclass(frozen=True)
class Survey:
    """What one look at the counts (sample, gene) tells; surveys of gene blocks are joined by `join`."""

    totals: np.ndarray  # (sample,) library size; before `checked` in the smallest type that holds it
    expressed: np.ndarray  # (gene,) any count above zero, of those with a weight
    negative: np.ndarray  # (gene,) how many negative counts
    not_finite: np.ndarray  # (gene,) how many NaN or infinite counts
    non_zero: int
    fractions: int  # non-zero counts that are not whole numbers
    largest: float
    offset_scale: (
        np.ndarray
    )  # (sample,) sum over expressed genes of the exponential of a per-gene offset; () for none
    bad_offset: np.ndarray  # (gene,) how many NaN or infinite offsets
    large_offset: np.ndarray  # (gene,) how many offsets that can be no logarithms
    bad_weight: np.ndarray  # (gene,) how many NaN, infinite or negative weights of entries

    @property
    def usable(self) -> bool:
        """Whether `checked` would let every gene pass."""
        bad = self.negative, self.not_finite, self.bad_offset, self.large_offset, self.bad_weight
        return not any(found.any() for found in bad)


def look(counts: Any, with_them: np.ndarray | Entries | None = None) -> Survey:
    """Survey a block (sample, gene), dense or sparse, with its per-entry offset (natural log) and weights, if any."""
    matrix, (offset, weights) = as_matrix(counts), parts(with_them)
    n_genes = matrix.shape[1]
    totals, non_zero, negative, largest, not_finite, fractions = _look_at_counts(matrix)
    expressed = non_zero > negative + not_finite
    none = np.zeros(n_genes, dtype=np.int64)
    offset_scale = np.zeros(())
    bad_offset = large_offset = bad_weight = none
    if weights is not None:
        expressed = counts_with_weight(matrix, weights) > 0
        bad = ~((weights >= 0.0) & (weights <= LARGEST_WEIGHT))
        bad_weight = np.sum(bad, axis=0) if weights.ndim == 2 else none
    if offset is not None:
        bad_offset = np.sum(~np.isfinite(offset), axis=0)
        large_offset = np.sum(np.isfinite(offset) & (np.abs(offset) > LARGEST_OFFSET), axis=0)
        with np.errstate(over="ignore"):  # of what `checked` refuses
            offset_scale = np.exp(offset[:, expressed]).sum(axis=1)
    return Survey(
        totals=small(totals),
        expressed=expressed,
        negative=negative,
        not_finite=not_finite,
        non_zero=int(non_zero.sum()),
        fractions=int(fractions),
        largest=float(largest),
        offset_scale=offset_scale,
        bad_offset=bad_offset,
        large_offset=large_offset,
        bad_weight=bad_weight,
    )


def _look_at_counts(matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray, int]:
    """Totals, non-zero and negative counts by gene, the largest, what is not finite by gene, fractions."""
    whole = matrix.dtype.kind in "iub"
    if is_sparse(matrix):
        return _look_at_sparse(matrix, whole=whole)
    rows = (*flat_rows(matrix), *matrix.shape)
    if whole:
        return *look_at_whole_numbers(*rows), np.zeros(matrix.shape[1], dtype=np.int64), 0
    return look_at_fractions(*rows)


def _look_at_sparse(
    matrix: Any, *, whole: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray, int]:
    seen, none = matrix.data, np.zeros(matrix.shape[1], dtype=np.int64)
    with np.errstate(invalid="ignore"):  # infinities of both signs; `checked` names them
        totals = np.asarray(matrix.sum(axis=1, dtype=np.float64))
    negative = none if matrix.dtype.kind == "u" else sum_by_gene(matrix, seen < 0)
    largest = float(seen.max()) if seen.size else 0.0
    if whole:
        return totals, np.diff(matrix.indptr), negative, largest, none, 0
    not_finite = sum_by_gene(matrix, ~np.isfinite(seen))
    fractions = int(np.sum(np.isfinite(seen) & (seen != np.floor(seen))))
    return totals, np.diff(matrix.indptr), negative, largest, not_finite, fractions


def join(surveys: Sequence[Survey]) -> Survey:
    """Put the surveys of consecutive gene blocks together."""
    return Survey(
        totals=small(_added(s.totals for s in surveys)),
        expressed=np.concatenate([s.expressed for s in surveys]),
        negative=np.concatenate([s.negative for s in surveys]),
        not_finite=np.concatenate([s.not_finite for s in surveys]),
        non_zero=sum(s.non_zero for s in surveys),
        fractions=sum(s.fractions for s in surveys),
        largest=max(s.largest for s in surveys),
        offset_scale=reduce(np.add, [s.offset_scale for s in surveys]),
        bad_offset=np.concatenate([s.bad_offset for s in surveys]),
        large_offset=np.concatenate([s.large_offset for s in surveys]),
        bad_weight=np.concatenate([s.bad_weight for s in surveys]),
    )


def small(totals: np.ndarray) -> np.ndarray:
    """Totals (sample,) in the smallest type that holds them exactly: a cluster moves those of every block.

    Of 10 million cells that is 10 or 20 MB a block, and 80 MB as float64. Fractions stay as they are.
    """
    if totals.dtype != np.float64 or not totals.size:
        return totals
    least, most = totals.min(), totals.max()  # NaN, if there is one
    if not (least >= 0.0 and most < LARGEST_WHOLE):
        return totals
    whole = totals.astype(np.min_scalar_type(int(most)))
    return whole if np.array_equal(whole, totals) else totals


def _added(totals: Iterable[np.ndarray]) -> np.ndarray:
    """Sum of totals (sample,), float64: of whole numbers exact in any order, otherwise in the order of the genes."""
    first, *others = totals
    found = first.astype(np.float64)
    for other in others:
        found += other
    return found


def checked(survey: Survey, genes: np.ndarray) -> Survey:
    """Refuse what cannot be counts; of those that can be, give totals as float64.

    Raises
    ------
    ValueError
        As `checked_counts`, or not a single count.
    """
    found = checked_counts(survey, genes)
    if survey.non_zero == 0:
        fail(f"every count of the {counted(genes.size, 'gene')} is zero")
    if not survey.expressed.any():
        fail("every count with a weight above 0 is zero; are the weights those of these samples?")
    return found


def checked_counts(survey: Survey, genes: np.ndarray) -> Survey:
    """The same where all may be zero, as of some genes of a fit.

    Raises
    ------
    ValueError
        Negative, NaN, infinite or huge counts or weights, NaN, infinite or huge offsets (which genes, how many).
    """
    missing = "fill them in, or leave those genes or samples out: a count that is missing is not a zero"
    _refuse(survey.not_finite, genes, "NaN or infinite counts", missing)
    _refuse(survey.negative, genes, "negative counts", "pass raw counts, not centred or scaled values")
    if survey.largest > LARGEST_COUNT:
        advice = "beyond which the digits of a number do not tell the overdispersion; pass raw counts"
        fail(f"the largest count is {survey.largest:.3g}, and counts go up to {LARGEST_COUNT:g}, {advice}")
    _refuse(survey.bad_offset, genes, "NaN or infinite offsets", "an offset is the natural log of a scale")
    weights = f"weights below 0, above {LARGEST_WEIGHT:g} or NaN"
    _refuse(survey.bad_weight, genes, weights, "a weight of 0 leaves a count out")
    _refuse(survey.large_offset, genes, f"offsets beyond +-{LARGEST_OFFSET:g}", FORGOTTEN_LOG)
    return replace(survey, totals=survey.totals.astype(np.float64))


def with_warnings(survey: Survey) -> Survey:
    """Warn of values that hardly are counts.

    Not a part of `checked`: that runs in a task, and what a worker process warns of is seen by nobody.
    """
    doubt = _doubt(survey)
    if doubt:
        warn(
            f"these look like {doubt}. Pass raw counts (in AnnData often layers['counts']). If they are counts, "
            "silence this with warnings.simplefilter('ignore', xdelnx.XdelnxWarning)."
        )
    return survey


def _doubt(survey: Survey) -> str | None:
    """What the values look like, if not like counts; fractions alone are what Salmon and kallisto give."""
    if survey.fractions <= 0.5 * survey.non_zero:
        return None
    share = f"{survey.fractions / survey.non_zero:.0%} of the non-zero values are fractions"
    if survey.largest < LOG_VALUES_BELOW:
        return f"log-normalised values, not counts: {share} and the largest is {survey.largest:.3g}"
    mean = survey.totals.mean()
    if np.ptp(survey.totals) <= SAME_TOTAL * mean:
        return f"normalised values, not counts: {share} and each sample adds up to {mean:.6g}"
    return None


def _refuse(how_many: np.ndarray, genes: np.ndarray, what: str, advice: str) -> None:
    if how_many.any():
        named = listing(genes[how_many > 0], limit=5)
        where = counted(int(np.count_nonzero(how_many)), "gene")
        fail(f"{what}: {how_many.sum():,}, in {where} ({named}); {advice}")
