"""Contrasts written as text: arithmetic over coefficient names and `cond()`."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xdelnx.messages import brief, closest, fail, listing

if TYPE_CHECKING:
    from xdelnx.designs.design import Design
    from xdelnx.designs.model_matrix import Model

MAX_LENGTH = 10_000


class Conditions:
    """Rows of the design matrix for imagined samples, as `cond()` of formulaic-contrasts gives them."""

    def __init__(self, design: Design, samples: pd.DataFrame | None) -> None:
        self.design, self.samples = design, samples
        self._rows: dict[tuple[tuple[str, str], ...], np.ndarray] = {}

    @cached_property
    def model(self) -> Model:
        """The formula of the design, evaluated again on the samples it was fitted to."""
        from xdelnx.designs.model_matrix import evaluate

        if self.design.formula is None:
            fail("cond() needs a design made from a formula; this one was given as a matrix: use its columns")
        if self.samples is None:
            fail("cond() needs the sample metadata of the data that was fitted")
        model = evaluate(self.design.formula, self.samples, self.design.reference)
        matrix = np.asarray(model.matrix, dtype=float)
        # text and back leaves no digit out, so anything beyond rounding means other samples
        if matrix.shape != self.design.matrix.shape or not np.allclose(matrix, self.design.matrix, rtol=1e-8):
            fail(
                f"the sample metadata do not give the design of the fit ({self.design.formula!r}): they have "
                f"changed or are in another order; pass the data that was fitted"
            )
        return model

    def row(self, values: Mapping[str, Any]) -> np.ndarray:
        """Row of the design matrix, shape (coefficient,), with defaults for the columns not given."""
        key = tuple(sorted((name, repr(value)) for name, value in values.items()))
        if key not in self._rows:  # many contrasts name few conditions, and a row takes milliseconds
            self._rows[key] = self._row(values)
        return self._rows[key]

    def levels(self, name: str) -> list[Any]:
        """Levels of a factor of the formula, in their order, with samples.

        Raises
        ------
        ValueError
            There is no such column, or it holds numbers that are not coded as levels.
        """
        frame, uses = self.model.frame, self.model.uses
        coded = {column for column in map(str, frame) if column in uses.coded.values()}
        factors = [
            c for c in map(str, frame) if isinstance(frame[c].dtype, pd.CategoricalDtype) or c in coded
        ]
        if name not in factors:
            fail(
                f"{name!r} is not a factor of the formula {self.design.formula!r}; "
                f"{closest(name, factors, 'its factors')}"
            )
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            return list(column.cat.categories)
        return sorted(column.unique().tolist())

    def _row(self, values: Mapping[str, Any]) -> np.ndarray:
        frame = self.model.frame
        for name in values:
            if name not in frame:
                hint = closest(name, frame, "columns of the formula")
                fail(f"cond(): {name!r} is not a column of the formula {self.design.formula!r}; {hint}")
        complete = {name: self._default(name) for name in map(str, frame)} | {
            name: self._value(name, value) for name, value in values.items()
        }
        return self._evaluate(complete)

    def _evaluate(self, values: dict[str, Any]) -> np.ndarray:
        from formulaic.errors import FormulaicError

        from xdelnx.designs.model_matrix import row_of

        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        try:
            row = row_of(self.model, values)
        except (FormulaicError, ValueError) as error:
            reason = str(error).split("\n")[0]
            msg = f"cond({shown}) cannot be evaluated: {reason}; give values within the range of the samples"
            raise ValueError(msg) from error
        if not np.isfinite(row).all():
            fail(f"cond({shown}) is not finite; give values within the range of the samples")
        return row

    def _value(self, name: str, value: Any) -> Any:
        column = self.model.frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            if str(value) not in column.cat.categories:
                hint = closest(str(value), column.cat.categories, f"levels of {name!r}")
                fail(f"cond(): {name!r} has no level {str(value)!r}; {hint}")
            return str(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            fail(f"cond(): column {name!r} holds numbers, not {value!r}")
        if name in self.model.uses.coded.values() and value not in column.to_numpy():
            levels = listing(sorted(column.unique()))
            fail(f"cond(): {name!r} has no level {value!r}; levels of {name!r}: {levels}")
        return value

    def _default(self, name: str) -> Any:
        """First level of a factor; zero for a number, or its mean where a function of it is fitted.

        Zero, as in formulaic-contrasts, is often outside the domain of a logarithm or a spline.
        """
        column = self.model.frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            return self._base(name) or column.cat.categories[0]
        if name in self.model.uses.coded.values():
            return column.min()
        return float(column.mean()) if name in self.model.uses.transformed else 0.0

    def _base(self, name: str) -> str | None:
        """Level that `C(name, contr.treatment(base=...))` compares with, if it says so."""
        for factor, state in self.model.matrix.model_spec.factor_contrasts.items():
            if self.model.uses.coded.get(factor.expr) == name:
                base = getattr(state.contrasts, "base", None)
                return base if isinstance(base, str) else None
        return None


def evaluate_expression(text: str, design: Design, conditions: Conditions) -> np.ndarray:
    """Weights of the coefficients, shape (coefficient,), that an expression describes.

    Coefficient names stand as they are or in backticks, with ``+ - * /``, numbers and
    parentheses; ``cond(column='level', ...)`` is the linear predictor of such a sample.

    Raises
    ------
    ValueError
        The text cannot be read, names an unknown coefficient, is not linear in the coefficients
        or has a constant.
    """
    result = _Expression(text, design, conditions).weights()
    if isinstance(result, float):
        fail(f"the contrast {text!r} is a number; {_allowed(text, design)}")
    return result


def unknown_coefficient(name: str, design: Design, text: str) -> str:
    """Message for a name that is no coefficient of the design."""
    place = "" if name == text else f" in the contrast {text!r}"
    return f"{name!r}{place} is not a coefficient of the design; {_allowed(name, design)}"


def _allowed(name: str, design: Design) -> str:
    terms = f"; or a term: {', '.join(design.terms)}" if design.formula else ""
    return closest(name, design.names, "coefficients") + terms


class _Expression:
    def __init__(self, text: str, design: Design, conditions: Conditions) -> None:
        self.text, self.design, self.conditions = text, design, conditions
        self.names: dict[str, str] = {}
        self.code = self._pattern().sub(self._placeholder, text)

    def weights(self) -> np.ndarray | float:
        if len(self.text) > MAX_LENGTH:
            fail(f"the contrast is too long ({len(self.text)} characters): {brief(self.text, 60)}")
        try:
            return self._value(ast.parse(self.code.strip(), mode="eval").body)
        except SyntaxError as error:
            msg = (
                f"cannot read the contrast {brief(self.text)}. It is a coefficient, or arithmetic over "
                f"coefficients such as 'a - b' or '(a + b) / 2', or cond(column='level') - "
                f"cond(column='other'), or a reduced formula '~ ...'; {_allowed(self.text, self.design)}"
            )
            raise ValueError(msg) from error
        except (RecursionError, MemoryError, OverflowError):
            fail(f"the contrast is too deeply nested, or a number in it too large: {brief(self.text, 60)}")

    def _pattern(self) -> re.Pattern[str]:
        """Backticks, coefficient names (longest first), and quoted text, in which no name is looked for."""
        names = [
            re.escape(name) for name in sorted(self.design.names, key=len, reverse=True) if not _number(name)
        ]
        name = rf"(?<![\w.])(?:{'|'.join(names)})(?![\w\[:(]|\.\w)" if names else "(?!)"
        return re.compile(rf"`([^`]+)`|({name})|'[^']*'|\"[^\"]*\"")

    def _placeholder(self, match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name is None:
            return match.group(0)
        placeholder = f"coefficient_{len(self.names)}_"
        self.names[placeholder] = name
        return f" {placeholder} "

    def _value(self, node: ast.AST) -> np.ndarray | float:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return self._finite(float(number))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._value(operand)
            case ast.BinOp(left=left, op=op, right=right):
                return self._combine(self._value(left), op, self._value(right))
            case ast.Call(func=ast.Name(id="cond"), args=[], keywords=keywords):
                return self.conditions.row(dict(map(self._condition, keywords)))
            case ast.Tuple():
                fail(f"the contrast {self.text!r} holds several; give a list, or a mapping of labels")
            case ast.Call(func=ast.Name(id="cond")):
                fail(f"cond() takes column='level', as cond(treatment='B') ({self.text!r})")
            case ast.Name(id=identifier) if self.names.get(identifier) in self.design.names:
                unit = np.zeros(len(self.design.names))
                unit[self.design.names.index(self.names[identifier])] = 1.0
                return unit
        msg = unknown_coefficient(self._source(node), self.design, self.text)
        raise ValueError(msg)

    def _finite(self, number: float) -> float:
        if not np.isfinite(number):
            fail(f"a number in the contrast {self.text!r} is not finite")
        return number

    def _combine(
        self, left: np.ndarray | float, op: ast.operator, right: np.ndarray | float
    ) -> np.ndarray | float:
        numbers = isinstance(left, float) + isinstance(right, float)
        match op:
            case ast.Add() if numbers != 1:
                return left + right
            case ast.Sub() if numbers != 1:
                return left - right
            case ast.Mult() if numbers:
                return left * right
            case ast.Div() if isinstance(right, float) and right != 0:
                return left / right
        msg = (
            f"the contrast {self.text!r} is not a linear combination of coefficients: add and subtract "
            f"coefficients, multiply and divide them by numbers (not zero), and add no constant"
        )
        raise ValueError(msg)

    def _condition(self, keyword: ast.keyword) -> tuple[str, Any]:
        try:
            value = ast.literal_eval(keyword.value)
        except (ValueError, TypeError):
            source = self._source(keyword.value)
            fail(
                f"cond() takes a level in quotes or a number, as cond(treatment='B'), not {source} "
                f"({self.text!r})"
            )
        if keyword.arg is None:
            fail(f"cond() takes column='level', not ** ({self.text!r})")
        return self.names.get(keyword.arg, keyword.arg), value

    def _source(self, node: ast.AST) -> str:
        """Text of a node, with the coefficient names back in it."""
        return re.sub(r" ?coefficient_\d+_ ?", lambda m: self.names[m.group(0).strip()], ast.unparse(node))


def _number(name: str) -> bool:
    """Whether a coefficient's name would hide a number, or nothing at all; such names go in backticks."""
    try:
        float(name)
    except ValueError:
        return not name.strip()
    return True
