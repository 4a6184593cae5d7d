"""Some of very many samples, on which the overdispersion is estimated.

The step that takes longest gains least from the last of some ten thousand cells: an overdispersion from a
thousand of them is good to a few per cent. Means, coefficients and tests are those of all samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xdelnx.algorithms.basis import Basis, Layout, has_full_rank
from xdelnx.algorithms.zeros import SampleScale, sample_scale
from xdelnx.messages import counted, fail

SEED = 20_110_214  # the same samples are drawn every time
FEWEST_OF_A_KIND = 2  # where there are as many, and few kinds


@dataclass(frozen=True)
class Subsample:
    """Samples drawn from all.

    Parameters
    ----------
    rows
        (drawn,) which, in their own order.
    kinds
        (drawn kind,) which of the kinds are among them.
    layout
        How the samples drawn fall into those.
    """

    rows: np.ndarray
    kinds: np.ndarray
    layout: Layout

    def basis(self, whole: Basis) -> Basis:
        """Basis of all samples, at the kinds drawn: its parameters are the same."""
        return replace(whole, rows=whole.rows[self.kinds], products=whole.products[self.kinds])

    def scale(self, whole: SampleScale, layout: Layout) -> SampleScale:
        """Scale of the samples drawn, by kind, from that of all in their layout."""
        by_sample = np.empty(layout.order.size)
        by_sample[layout.order] = whole.by_kind
        return sample_scale(by_sample[self.rows[self.layout.order]], self.layout.starts)


def as_size(size: Any, n_samples: int, n_coefficients: int) -> int | None:
    """Check how many samples are to be drawn.

    Raises
    ------
    ValueError, TypeError
        No whole number, not more than there are coefficients, or more than there are samples.
    """
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int | np.integer):
        msg = f"subsample is how many samples the overdispersion is estimated on, or None; received {size!r}"
        raise TypeError(msg)
    if size <= n_coefficients:
        fail(
            f"subsample={size} leaves no degrees of freedom: there are {counted(n_coefficients, 'coefficient')}; take "
            "some hundred samples, or None for all"
        )
    if size > n_samples:
        fail(f"subsample={size:,} is more than the {counted(n_samples, 'sample')}; use None for all of them")
    return int(size)


def draw(layout: Layout, size: int, weights: np.ndarray | None = None) -> Subsample:
    """Draw samples, of every kind in proportion.

    Kinds are the distinct rows of the design. Where these are few each has at least two samples, or all that it has.

    Parameters
    ----------
    layout
        All samples.
    size
        How many to draw.
    weights
        (sample,); samples of weight 0 are not drawn. None: all weights are 1.

    Raises
    ------
    ValueError
        Too few samples have a weight, or those drawn do not determine all coefficients.
    """
    rng = np.random.default_rng(SEED)
    kind_of = np.empty(layout.order.size, dtype=np.int64)
    kind_of[layout.order] = np.repeat(np.arange(layout.sizes.size), layout.sizes)
    shuffled = rng.permutation(np.arange(kind_of.size) if weights is None else np.flatnonzero(weights))
    if shuffled.size < size:
        fail(f"subsample={size:,} is more than the {counted(shuffled.size, 'sample')} of weight above 0")
    by_kind = shuffled[np.argsort(kind_of[shuffled], kind="stable")]
    place = np.arange(by_kind.size)
    first = np.searchsorted(kind_of[by_kind], kind_of[by_kind])  # of each one's kind
    few = int(np.count_nonzero(place - first < FEWEST_OF_A_KIND))
    sure = place - first < (FEWEST_OF_A_KIND if 2 * few <= size else 0)
    others = np.flatnonzero(~sure)
    wanted = size - int(np.count_nonzero(sure))
    even = others[((np.arange(wanted) + 0.5) * others.size / max(wanted, 1)).astype(np.int64)]
    rows = np.sort(by_kind[np.concatenate([np.flatnonzero(sure), even])])
    kinds, which = np.unique(kind_of[rows], return_inverse=True)
    if not has_full_rank(layout.design[kinds]):
        fail(
            f"the subsample of {size:,} samples does not determine all coefficients: some of them rest on few samples; "
            "take more, or None for all"
        )
    starts = np.concatenate([[0], np.cumsum(np.bincount(which))]).astype(np.int64)
    return Subsample(rows, kinds, Layout(np.argsort(which, kind="stable"), starts, layout.design[kinds]))
