"""Numbers that say how well a method did on a data set whose truth is known."""

from __future__ import annotations

import numpy as np
from scipy import stats

from validation.study.drawing import Drawn
from validation.study.methods import THRESHOLD, Outcome

LEVEL = 0.05
ALPHAS = (0.05, 0.01, 0.001)


def adjusted(pval: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg over the finite p-values; NaN stays."""
    padj, known = np.full(pval.shape, np.nan), np.isfinite(pval)
    padj[known] = stats.false_discovery_control(np.clip(pval[known], 0.0, 1.0)) if known.any() else np.nan
    return padj


def null_measures(pval: np.ndarray, null: np.ndarray) -> dict[str, float]:
    """Of the genes without an effect: fractions of small p-values, and the distance from uniform."""
    p = pval[null & np.isfinite(pval)]
    if p.size == 0:
        return {}
    found = {f"null below {alpha:g}": float((p < alpha).mean()) for alpha in ALPHAS}
    return found | {"null distance": float(stats.kstest(p, "uniform").statistic)}


def discovery_measures(pval: np.ndarray, changed: np.ndarray) -> dict[str, float]:
    """Hits at 5 % false discovery rate, how many are false, how many of the changed genes they and the ranks find."""
    hits = adjusted(pval) < LEVEL
    found = {"hits": float(hits.sum()), "fdr": float((hits & ~changed).sum() / max(hits.sum(), 1))}
    if not changed.any():
        return found
    return found | {"power": float(hits[changed].mean()), "power of ranks": power_of_ranks(pval, changed)}


def power_of_ranks(pval: np.ndarray, changed: np.ndarray) -> float:
    """Fraction of the changed genes in the longest top of the list that is 5 % false in truth.

    What the order of the genes is worth, whatever the p-values promise: methods that say more than they
    keep gain nothing here.
    """
    order = np.argsort(np.where(np.isfinite(pval), pval, np.inf), kind="stable")[: np.isfinite(pval).sum()]
    right = np.cumsum(changed[order])
    kept = np.flatnonzero(1.0 - right / np.arange(1, order.size + 1) <= LEVEL)
    return float(right[kept[-1]] / changed.sum()) if kept.size else 0.0


def effect_measures(outcome: Outcome, lfc: np.ndarray) -> dict[str, float]:
    """Errors of fold changes, and whether intervals hold what they promise."""
    found = {}
    if outcome.lfc is not None:
        known = np.isfinite(outcome.lfc)
        found["error"] = float(np.sqrt(np.mean((outcome.lfc - lfc)[known] ** 2)))
    if outcome.shrunken is not None:
        known = np.isfinite(outcome.shrunken)
        found["error shrunken"] = float(np.sqrt(np.mean((outcome.shrunken - lfc)[known] ** 2)))
    if outcome.low is not None and outcome.high is not None:
        known = np.isfinite(outcome.low) & np.isfinite(outcome.high)
        inside = (outcome.low <= lfc) & (lfc <= outcome.high)
        found["coverage"] = float(inside[known].mean())
    if outcome.s_value is not None and outcome.shrunken is not None:
        sure = outcome.s_value < LEVEL
        wrong = np.sign(outcome.shrunken) != np.sign(lfc)
        found["false signs"] = float((sure & wrong).sum() / max(sure.sum(), 1))
    return found


def agreement_measures(pval: np.ndarray, default: np.ndarray) -> dict[str, float]:
    """Likeness to what the default found: correlation of the p-values' ranks, and the share of hits that both have."""
    known = np.isfinite(pval) & np.isfinite(default)
    hits, others = adjusted(pval) < LEVEL, adjusted(default) < LEVEL
    found = {"rank correlation": float(stats.spearmanr(pval[known], default[known]).statistic)}
    either = (hits | others).sum()
    return found | ({"shared hits": float((hits & others).sum() / either)} if either else {})


def measured(method: str, drawn: Drawn, outcome: Outcome, default: Outcome) -> dict[str, float]:
    """All measures; a test against a threshold has for its null the genes that change by just that."""
    null, changed = ~drawn.changed, drawn.changed
    if method.endswith("treat"):
        null, changed = np.abs(drawn.lfc) == THRESHOLD, np.abs(drawn.lfc) > THRESHOLD
    found = null_measures(outcome.pval, null) | discovery_measures(outcome.pval, changed)
    if not method.endswith("treat"):
        found |= effect_measures(outcome, drawn.lfc) | agreement_measures(outcome.pval, default.pval)
    if outcome.warned is not None:
        found["warned"] = float(outcome.warned)
    return found | {"seconds": outcome.seconds, "tested": float(np.isfinite(outcome.pval).mean())}
