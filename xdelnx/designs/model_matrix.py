"""From sample metadata and a formula to numbers: columns made ready, then evaluated by formulaic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xdelnx.designs.formulas import Uses, plain, read
from xdelnx.messages import brief, closest, fail, listing

if TYPE_CHECKING:
    from formulaic import ModelMatrix

# Formulaic knows log, log2, log10 and exp by these names, but not:
FUNCTIONS = {"log1p": np.log1p, "sqrt": np.sqrt}


@dataclass(frozen=True, eq=False)
class Model:
    """A formula evaluated on samples: the matrix with formulaic's specification, and what it was made of."""

    matrix: ModelMatrix
    frame: pd.DataFrame
    uses: Uses

    @property
    def terms(self) -> dict[str, tuple[int, ...]]:
        """Term of the formula -> its columns of the matrix, in the order of the columns."""
        indices = self.matrix.model_spec.term_indices
        return {
            "Intercept" if str(term) == "1" else str(term): tuple(columns)
            for term, columns in indices.items()
        }


def evaluate(formula: str, samples: pd.DataFrame, reference: Mapping[str, Any] | None = None) -> Model:
    """Check a formula and make its matrix.

    Parameters
    ----------
    formula
        One-sided formula, for example ``"~ batch + condition"``.
    samples
        One row per sample. Text, booleans and categoricals are factors (a categorical keeps its
        order of levels, levels without a sample are left out), numbers are covariates.
    reference
        Column -> level that comes first, compared as text.

    Raises
    ------
    ValueError
        The formula cannot be read or asks for more than is allowed, a column is absent, has missing
        values or a single level, a reference is unknown, or the matrix would not be finite.
    """
    samples = samples.rename(columns=str)
    uses = read(formula, samples.columns)
    for name in uses.columns:
        _check_column(samples[name], name, uses)
    _check_reference(formula, samples, uses, reference or {})
    frame = pd.DataFrame(
        {name: _ready(samples[name], name, uses, (reference or {}).get(name)) for name in uses.columns},
        index=pd.RangeIndex(len(samples)),
    )
    _check_width(formula, frame, uses)
    model = Model(_materialise(formula, frame), frame, uses)
    _check_values(formula, model, samples.index)
    return model


def row_of(model: Model, values: Mapping[Any, Any]) -> np.ndarray:
    """Row of the matrix, shape (coefficient,), for one imagined sample with a value for every column used."""
    row = pd.DataFrame(
        {
            name: pd.Categorical([values[name]], categories=column.cat.categories)
            if isinstance(column.dtype, pd.CategoricalDtype)
            else [float(values[name])]
            for name, column in model.frame.items()
        },
        index=[0],
    )
    with np.errstate(all="ignore"):
        return np.asarray(model.matrix.model_spec.get_model_matrix(row, context=FUNCTIONS), dtype=float)[0]


def rows_of(
    formula: str, samples: pd.DataFrame, reference: Mapping[str, Any], new: pd.DataFrame
) -> np.ndarray:
    """Rows of a formula's matrix (new sample, coefficient) for new samples, coded as those of the samples are.

    Raises
    ------
    ValueError
        A column is absent or has missing values, or a level is not among those of the samples.
    """
    model = evaluate(formula, samples, reference)
    new = new.rename(columns=str)
    absent = [name for name in model.frame if name not in new]
    if absent:
        fail(f"newdata lacks the column {listing(map(repr, absent))} of the formula {brief(formula)}")
    columns = {
        name: _as_fitted(new[name], str(name), column, model.uses) for name, column in model.frame.items()
    }
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(new)))
    with np.errstate(all="ignore"):
        matrix = model.matrix.model_spec.get_model_matrix(frame, context=FUNCTIONS)
    rows = np.asarray(matrix, dtype=float)
    _check_finite(rows.sum(axis=1), f"the formula {brief(formula)}", new.index)
    return rows


def _as_fitted(column: pd.Series, name: str, fitted: pd.Series, uses: Uses) -> Any:
    """Values of new samples as the formula saw those of the fit."""
    _check_missing(column, name)
    if isinstance(fitted.dtype, pd.CategoricalDtype):
        levels, text = list(fitted.cat.categories), column.astype(object).map(str)
        _check_seen(text, levels, name)
        return pd.Categorical(text, categories=levels)
    if kind_of(column) != "number":
        fail(f"column {name!r} of newdata holds {kind_of(column)}; the fit has numbers there")
    values = column.to_numpy(dtype=float)
    if fitted.dtype.kind in "iu" and (values == np.floor(values)).all():
        values = values.astype(int)
    if name in uses.coded.values():
        _check_seen(pd.Series(values), sorted(fitted.unique()), name)
    return values


def _check_seen(values: pd.Series, levels: list[Any], name: str) -> None:
    unseen = [level for level in values.unique() if level not in levels]
    if unseen:
        saw = f"it saw {listing(levels)}"
        fail(f"newdata has levels of {name!r} that the fit has not seen: {listing(unseen, 5)}; {saw}")


# ---- columns ---------------------------------------------------------------------------------------------


def levels_of(column: pd.Series) -> list[str]:
    """Levels of a factor that at least one sample has, as text, in their order."""
    return list(_as_factor(column).cat.categories)


def first_levels(formula: str, samples: pd.DataFrame) -> dict[str, str]:
    """Level that comes first of each factor of a formula, apart from those whose coding the formula says."""
    uses = read(formula, samples.columns)
    names = [name for name in uses.columns if name not in uses.transformed and name not in uses.own_coding]
    return {name: levels_of(samples[name])[0] for name in names if _is_factor(samples, name, uses)}


def _as_factor(column: pd.Series) -> pd.Series:
    return column.astype("category").cat.remove_unused_categories().cat.rename_categories(str)


def kind_of(column: pd.Series) -> str:
    """``factor``, ``number``, or in words what else the column holds."""
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(column.dtype):
        return "factor"
    kinds = {
        "string": "factor",
        "boolean": "factor",
        "empty": "factor",
        "integer": "number",
        "floating": "number",
        "mixed-integer-float": "number",
        "decimal": "number",
        "mixed-integer": "a mixture of text and numbers",
        "mixed": "a mixture of types",
        "bytes": "undecoded bytes",
    }
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    return kinds.get(inferred, f"values of type {inferred}")


def _check_column(column: pd.Series, name: str, uses: Uses) -> None:
    if isinstance(column, pd.DataFrame):
        fail(f"the samples have several columns called {name!r}; rename all but one")
    _check_missing(column, name)
    kind = kind_of(column)
    if kind not in {"factor", "number"}:
        advice = "turn it into numbers (days since the start, say) or into text"
        fail(f"column {name!r} holds {kind}, which a design cannot use; {advice}")
    if kind == "factor" and name in uses.transformed:
        fail(
            f"{uses.transformed[name]!r} computes with column {name!r}, which is a factor, not numbers; "
            f"levels of {name!r}: {listing(levels_of(column))}"
        )
    if kind == "number":
        _check_finite(column.to_numpy(dtype=float), f"column {name!r}", column.index)


def _ready(column: pd.Series, name: str, uses: Uses, first: Any) -> pd.Series:
    """Return a column as formulaic should see it: a categorical of text, or floating point numbers."""
    if kind_of(column) == "number" and name in {*uses.plain, *uses.transformed}:
        whole = pd.api.types.is_integer_dtype(column.dtype) and name in uses.coded.values()
        return pd.Series(column.to_numpy(dtype=int if whole else float))  # whole: C(day)[T.2], not [T.2.0]
    factor = _as_factor(column)
    if first is not None:
        factor = factor.cat.reorder_categories(
            sorted(factor.cat.categories, key=lambda level: level != str(first))
        )
    return factor.cat.as_unordered().reset_index(drop=True)


def _check_missing(column: pd.Series, name: str) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        fail(
            f"column {name!r} is missing (NA) in {missing.sum()} of {len(column)} samples: "
            f"{listing(column.index[missing], 10)}. Samples are never dropped silently: select those that "
            f"have a value, or fill it in (for example with a level 'unknown'), before fitting"
        )


def _check_finite(values: np.ndarray, what: str, labels: pd.Index) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        fail(f"{what} is not finite in {bad.sum()} of {len(labels)} samples: {listing(labels[bad], 10)}")


def _check_reference(formula: str, samples: pd.DataFrame, uses: Uses, reference: Mapping[str, Any]) -> None:
    for name, level in reference.items():
        factors = [c for c in uses.columns if c not in uses.transformed and _is_factor(samples, c, uses)]
        if name not in uses.columns:
            where = "is not used by" if name in samples.columns else "is not a column of the samples, nor in"
            hint = closest(str(name), factors, "factors of the formula")
            fail(f"reference={dict(reference)!r}: {name!r} {where} the formula {brief(formula)}; {hint}")
        if name not in factors:
            fail(
                f"reference={dict(reference)!r}: column {name!r} holds numbers and so has no levels; "
                f"write C({name}) in the formula to treat it as a factor"
            )
        if name in uses.own_coding:
            fail(f"the coding of {name!r} is given twice, by `reference` and inside C({name}, ...); keep one")
        levels = levels_of(samples[name])
        if str(level) not in levels:
            hint = closest(str(level), levels, f"levels of {name!r} with samples")
            fail(f"reference={dict(reference)!r}: {name!r} has no level {str(level)!r}; {hint}")


def _is_factor(samples: pd.DataFrame, name: str, uses: Uses) -> bool:
    return name not in uses.plain or kind_of(samples[name]) == "factor"


# ---- the matrix ------------------------------------------------------------------------------------------


def _check_width(formula: str, frame: pd.DataFrame, uses: Uses) -> None:
    """Stop before a factor with a level per cell becomes a matrix of cells by cells."""
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype) and len(column.cat.categories) >= len(frame) > 1:
            fail(
                f"the formula {brief(formula)} leaves no residual degrees of freedom: each of the {len(frame)} "
                f"samples has its own level of {name!r}; leave {name!r} out"
            )
    width = sum(_least_columns(term, frame, uses) for term in _formula(formula))
    if width >= len(frame) > 1:
        fail(
            f"the formula {brief(formula)} leaves no residual degrees of freedom: it asks for at least {width} "
            f"coefficients from {len(frame)} samples; use fewer terms or interactions"
        )


def _least_columns(term: Any, frame: pd.DataFrame, uses: Uses) -> int:
    """Columns of a term if each of its factors is coded with one column less than it has levels."""
    names = (uses.coded.get(factor.expr, factor.expr) for factor in term.factors)
    factors = [frame[n] for n in names if n in frame and isinstance(frame[n].dtype, pd.CategoricalDtype)]
    return int(np.prod([len(column.cat.categories) - 1 for column in factors], dtype=float))


def _formula(formula: str) -> Any:
    """Parse a formula that `read` has let through."""
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    try:
        return Formula(formula)
    except FormulaicError as error:
        fail(f"cannot read the formula {brief(formula)}: {plain(error)}")


def _materialise(formula: str, frame: pd.DataFrame) -> ModelMatrix:
    from formulaic.errors import FormulaicError

    try:
        with np.errstate(all="ignore"):
            # "ignore": formulaic would drop samples whose transform is NaN, we name them
            return _formula(formula).get_model_matrix(
                frame, context=FUNCTIONS, na_action="ignore", output="pandas"
            )
    except (FormulaicError, ValueError, TypeError, KeyError, IndexError, np.linalg.LinAlgError) as error:
        hint = "(levels of a factor are text: base='2')"
        msg = f"cannot evaluate the formula {brief(formula)}: {plain(error)} {hint}"
        raise ValueError(msg) from error


def _check_values(formula: str, model: Model, labels: pd.Index) -> None:
    for name in model.matrix.columns:
        _check_finite(
            np.asarray(model.matrix[name], dtype=float), f"{name!r} of the formula {brief(formula)}", labels
        )
    for term, columns in model.terms.items():
        if not columns:
            single = _single_levels(model.frame)
            fail(
                f"the term {term!r} of the formula {brief(formula)} has nothing to compare: {single}. Leave it "
                f"out, or include samples of other levels"
            )


def _single_levels(frame: pd.DataFrame) -> str:
    single = [
        f"every sample has {name} = {column.cat.categories[0]!r}"
        for name, column in frame.items()
        if isinstance(column.dtype, pd.CategoricalDtype) and len(column.cat.categories) == 1
    ]
    return " and ".join(single)
