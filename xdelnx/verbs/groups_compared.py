"""Whether a contrast compares the same levels in every group that is fitted on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from xdelnx.designs.contrasts import Contrast, resolve_contrasts
from xdelnx.designs.design import Design, build_design
from xdelnx.designs.model_matrix import first_levels, levels_of

ROUNDING = 1e-8  # share of a contrast's length


def compared_otherwise(
    samples: pd.DataFrame, groups: Mapping[str, np.ndarray], formula: str, reference: Any, contrasts: Any
) -> dict[str, str]:
    """Say of which groups the contrasts have another meaning, and why: by group.

    A group without a sample of the first level of a factor compares with the next one, under the same names of
    coefficients.

    Parameters
    ----------
    samples
        Metadata of all samples.
    groups
        (sample of the group,) positions of the samples of each group that can be fitted.
    formula, reference, contrasts
        As in `xdelnx.fit`.
    """
    if not groups or contrasts is None:
        return {}
    first = first_levels(formula, samples.iloc[np.sort(np.concatenate([*groups.values()]))])
    chosen = dict(reference or {})
    notes = {}
    for group, rows in groups.items():
        part = samples.iloc[rows]
        for name, level in first_levels(formula, part).items():
            lacking = name not in chosen and first.get(name, level) != level
            if lacking and not _as_with_another_first(part, name, formula, chosen, contrasts):
                notes[group] = (
                    f"no sample has {name} = {first[name]!r}, which others are compared with; choose another by "
                    f"reference=, or write the contrast out: cond({name}=...) - cond({name}=...), pairwise({name})"
                )
    return notes


def _as_with_another_first(
    part: pd.DataFrame, name: str, formula: str, reference: Mapping[str, Any], contrasts: Any
) -> bool:
    """Whether the contrasts compare the same samples, whatever level of a factor comes first."""
    model = build_design(part, formula, reference=reference)
    again = build_design(part, formula, reference={**reference, name: levels_of(part[name])[1]})
    asked = _named_by_coefficients(resolve_contrasts(model, contrasts, samples=part), name)
    try:
        others = _named_by_coefficients(resolve_contrasts(again, contrasts, samples=part), name)
    except ValueError:  # a coefficient that is there no longer
        return False
    return len(asked) == len(others) and all(
        _same(_of_samples(model, one), _of_samples(again, other), signed=not _of_a_term(one, model))
        for one, other in zip(asked, others, strict=True)
    )


def _named_by_coefficients(questions: Sequence[Contrast], factor: str) -> list[Contrast]:
    """Leave out pairs of levels, ``factor: c - b``, whose names say what is compared."""
    return [question for question in questions if not question.name.startswith(f"{factor}: ")]


def _of_a_term(question: Contrast, model: Design) -> bool:
    """Whether a test is of a term or against a reduced formula, which has no direction."""
    return question.name.startswith("~") or question.name in set(model.terms) - set(model.names)


def _of_samples(model: Design, question: Contrast) -> np.ndarray:
    """Contrast as sums of linear predictors of the samples: (restriction, sample)."""
    rows: np.ndarray = question.weights @ np.linalg.pinv(model.matrix)
    return rows


def _same(one: np.ndarray, other: np.ndarray, *, signed: bool) -> bool:
    """Whether restrictions are the same; without a sign, or of several, whether they span the same."""
    if len(one) != len(other):
        return False
    if len(one) > 1 or not signed:
        basis, another = np.linalg.qr(one.T)[0], np.linalg.qr(other.T)[0]
        one, other = basis.T, (another @ (another.T @ basis)).T
    return bool(np.linalg.norm(one - other) <= ROUNDING * np.linalg.norm(one))
