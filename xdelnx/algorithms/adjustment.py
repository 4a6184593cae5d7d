"""Adjustment of p-values for how many there are.

Sources: Benjamini & Hochberg 1995 (bh), Benjamini & Yekutieli 2001 (by), Holm 1979 (holm), Storey & Tibshirani 2003
with the share of true nulls as in Storey, Taylor & Siegmund 2004 (storey).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xdelnx.algorithms.significance import benjamini_hochberg
from xdelnx.messages import closest, fail

NULL_SHARES_AT = np.arange(1, 20) / 20.0  # p-values above these are taken to be of true nulls


def check_method(method: object) -> str:
    """Return the method's name, or raise ValueError if there is none of that name."""
    if not isinstance(method, str) or method not in METHODS:
        fail(f"adjust={method!r} is unknown; {closest(str(method), METHODS, 'choose one of')}")
    return method


def adjust_pvalues(pval: np.ndarray, method: str) -> np.ndarray:
    """Adjust along the last axis over the p-values that are there; NaN stays NaN.

    Parameters
    ----------
    pval
        (..., gene).
    method
        One of `METHODS`.
    """
    there = np.isfinite(pval)
    adjusted = np.full(pval.shape, np.nan)
    for at in np.ndindex(pval.shape[:-1]):
        adjusted[at][there[at]] = METHODS[method](pval[at][there[at]])
    return adjusted


def benjamini_yekutieli(pval: np.ndarray) -> np.ndarray:
    """Control the false discovery rate under any dependence of the tests."""
    return np.minimum(benjamini_hochberg(pval) * np.sum(1.0 / np.arange(1, pval.size + 1)), 1.0)


def holm(pval: np.ndarray) -> np.ndarray:
    """Control the chance of a single false discovery, under any dependence."""
    order = np.argsort(pval, kind="stable")
    adjusted = np.empty(pval.shape)
    adjusted[order] = np.minimum(np.maximum.accumulate(pval[order] * np.arange(pval.size, 0, -1)), 1.0)
    return adjusted


def storey(pval: np.ndarray) -> np.ndarray:
    """q-values: Benjamini-Hochberg times the share of true nulls, as estimated."""
    return null_share(pval) * benjamini_hochberg(pval)


def null_share(pval: np.ndarray) -> float:
    """Share of true null hypotheses, at least one of them.

    Above each of 19 values there should be only nulls, which are uniform. Of the 19 estimates the one with the
    least mean squared error about their 10 % quantile is taken; its bootstrap has a closed form.
    """
    if not pval.size:
        return 1.0
    above = np.array([np.mean(pval >= at) for at in NULL_SHARES_AT])
    shares = above / (1.0 - NULL_SHARES_AT)
    variance = above * (1.0 - above) / (pval.size * (1.0 - NULL_SHARES_AT) ** 2)
    best = np.argmin(variance + (shares - np.quantile(shares, 0.1)) ** 2)
    return float(np.clip(shares[best], 1.0 / pval.size, 1.0))


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bh": benjamini_hochberg,
    "by": benjamini_yekutieli,
    "holm": holm,
    "storey": storey,
}
