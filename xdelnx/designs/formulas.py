"""Formulas: what may stand in one, and the columns it uses.

Formulaic evaluates the functions of a formula as Python, and does so partly while it parses.
Formulas come from configuration files and command lines, so each is read here first, as tokens
that nothing has evaluated yet, and only columns, arithmetic and the transforms listed in
`FUNCTIONS` and `CODINGS` are let through. That holds for the formula in a stored fit as well, which `test`
and `predict` evaluate again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from xdelnx.messages import brief, closest, fail

ELEMENTWISE = ("log", "log2", "log10", "log1p", "exp", "sqrt")
SMOOTH = ("bs", "cr", "cs", "cc", "poly")
FUNCTIONS = (
    *ELEMENTWISE,
    *(f"np.{name}" for name in ELEMENTWISE),
    *SMOOTH,
    "center",
    "scale",
    "standardize",
    "I",
)
CODINGS = (
    *(f"contr.{name}" for name in ("treatment", "SAS", "sum", "helmert", "diff", "poly")),
    *("Treatment", "Sum", "Helmert", "Diff", "Poly"),
)
NO_COLUMNS = "there are none: add them as variables along 'sample', e.g. ds['condition'] = ('sample', labels)"
MAX_TERMS = 10_000
MAX_POWER = 10
MAX_SPLINE = 100
INTERCEPT = ("1", "Intercept")  # what formulaic takes for it, in backticks too
NOT_SIGNS = re.compile(r"[^-+~]")
MAX_LENGTH = 10_000


@dataclass
class Uses:
    """The columns of a formula by how they are used; a column may be in several of them."""

    plain: set[str] = field(default_factory=set)
    """By name alone."""
    coded: dict[str, str] = field(default_factory=dict)
    """`C(...)` expression -> its column."""
    own_coding: set[str] = field(default_factory=set)
    """In a `C(...)` that names a coding itself."""
    transformed: dict[str, str] = field(default_factory=dict)
    """Column -> one expression that computes with it."""

    @property
    def columns(self) -> list[str]:
        """Every column used, each once."""
        return list(dict.fromkeys([*sorted(self.plain), *self.coded.values(), *self.transformed]))


def read(formula: str, columns: Iterable[object]) -> Uses:
    """Columns that a formula uses; raise for whatever may not stand in a formula."""
    _check_sides(formula)
    if len(formula) > MAX_LENGTH:
        _too_long(formula)
    for nothing in ("``", "{}"):  # formulaic passes over these
        if nothing in formula:
            _refuse(formula, nothing, "name a column there; one whose name is empty needs another")
    uses = Uses()
    names = [str(column) for column in columns]
    tokens = _guarded(formula, _tokens)
    for token in tokens:
        kind, text = token.kind.value, token.token
        if kind == "name" and text in INTERCEPT:
            _refuse(formula, f"`{text}`", "the intercept has that name; rename the column")
        if kind == "name":
            uses.plain.add(_column(text, names, formula))
        elif kind == "python":
            _Expression(text, names, formula).check(uses)
        elif text in {".", "|", "[", "]"}:
            _refuse(formula, text, "name each column, joined by + * : / or in parentheses")
    _check_numbers(formula, tokens)
    if _guarded(formula, _count_terms) > MAX_TERMS:
        fail(f"the formula {brief(formula)} expands into more than {MAX_TERMS} terms; use fewer interactions")
    return uses


def _check_numbers(formula: str, tokens: Sequence[Any]) -> None:
    """Numbers stand alone, 0 or 1 for the intercept, or are small powers: formulaic repeats its work for each one."""
    texts = ["", *(str(token.token) for token in tokens), ""]
    for before, token, after in zip(texts[:-2], tokens, texts[2:], strict=True):
        text = str(token.token)
        if token.kind.value != "value" or text[0] in "\"'":
            continue
        if before.lstrip("+-~") in {"**", "^"}:
            if text.isdigit() and int(text[:9]) > MAX_POWER:
                _refuse(formula, f"{before}{text}", f"powers go up to {MAX_POWER}")
        elif text not in {"0", "1"} or NOT_SIGNS.search(before.strip("()") + after.strip("()")):
            advice = "a number alone is 0 or 1, for the intercept; write I(2 * column) to multiply"
            _refuse(formula, text, advice)


def _check_sides(formula: str) -> None:
    left, tilde, right = formula.partition("~")
    if not tilde:
        fail(
            f"{brief(formula)} is not a formula: it has no '~'. Write {'~ ' + (formula.strip() or 'condition')!r}"
        )
    if left.strip():
        fail(
            f"the formula {brief(formula)} has {left.strip()!r} on its left side. The counts are the response "
            f"already: write {'~ ' + right.strip()!r}"
        )
    if not right.strip():
        advice = "Write '~ 1' for an intercept alone, or name columns: '~ condition'"
        fail(f"the formula {brief(formula)} is empty. {advice}")


def _guarded(formula: str, step: Callable[[str], Any]) -> Any:
    """Run a step of formulaic's parser, with its complaints in our words."""
    from formulaic.errors import FormulaicError

    try:
        return step(formula)
    except (FormulaicError, SyntaxError, ValueError, TypeError, AttributeError, KeyError) as error:
        msg = (
            f"cannot read the formula {brief(formula)}: {plain(error)} A formula reads like '~ a + b'; "
            "a column whose name has spaces or signs goes in backticks: '~ `cell type`'"
        )
        raise ValueError(msg) from error
    except (RecursionError, MemoryError):
        _too_long(formula)


def plain(error: Exception) -> str:
    """First sentence of a formulaic error, without the picture of the place that follows it."""
    return str(error).split("\n")[0]


def _too_long(formula: str) -> None:
    fail(f"the formula is too long or too deeply nested ({len(formula)} characters): {brief(formula, 60)}")


def _tokens(formula: str) -> list[Any]:
    from formulaic.parser import DefaultFormulaParser

    return list(DefaultFormulaParser().get_tokens(formula))


def _count_terms(formula: str) -> int:
    """Upper bound of the terms that a formula expands into, without expanding it."""
    from formulaic.parser import DefaultFormulaParser

    return _count_node(DefaultFormulaParser().get_ast(formula))


def _count_node(node: Any) -> int:
    if not hasattr(node, "args"):
        return 1
    symbol = node.operator.symbol
    if symbol in {"**", "^"}:
        power = str(node.args[1])
        return int(_count_node(node.args[0])) ** min(int(power) if power.isdigit() else 1, MAX_POWER + 1)
    counts = [_count_node(arg) for arg in node.args]
    if symbol in {":", "in"}:
        return counts[0] * counts[1]
    if symbol == "*":
        return counts[0] * counts[1] + counts[0] + counts[1]
    return sum(counts)


class AbsentColumnError(ValueError):
    """A formula names what is not a column of the samples."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


def _column(name: str, columns: Sequence[str], formula: str) -> str:
    if name not in columns:
        # a name with spaces or signs has to be quoted, so it is shown as it should be written
        quoted = (entry if re.fullmatch(r"[\w.]+", entry) else f"`{entry}`" for entry in columns)
        hint = closest(name, quoted, "columns of the samples") if columns else NO_COLUMNS
        msg = (
            f"the formula {brief(formula)} names {brief(name)}, which is not a column of the samples; {hint}"
        )
        raise AbsentColumnError(msg, name)
    return name


def _refuse(formula: str, part: str, advice: str) -> None:
    fail(f"the formula {brief(formula)} cannot be used: {brief(part)} is not allowed; {advice}")


class _Expression:
    """One function call or ``{...}`` of a formula, checked as a syntax tree before anything runs it."""

    def __init__(self, text: str, columns: Sequence[str], formula: str) -> None:
        from formulaic.utils.code import sanitize_variable_names

        self.text, self.columns, self.formula = text, columns, formula
        self.aliases: dict[str, str] = {}
        self.tree = ast.parse(sanitize_variable_names(text, {}, self.aliases), mode="eval").body

    def check(self, uses: Uses) -> None:
        """Add the columns to `uses`, or raise."""
        if isinstance(self.tree, ast.Call) and _dotted(self.tree.func) == "C":
            uses.coded[self.text] = self._coded(self.tree, uses)
        else:
            self._numeric(self.tree)
            names = [node.id for node in _walk_values(self.tree)]
            uses.transformed.update({self._name(name): self.text for name in names})

    def _name(self, identifier: str) -> str:
        return _column(self.aliases.get(identifier, identifier), self.columns, self.formula)

    def _coded(self, call: ast.Call, uses: Uses) -> str:
        coding = [*call.args[1:], *(keyword.value for keyword in call.keywords)]
        if not call.args or not isinstance(call.args[0], ast.Name):
            self._refuse(call, "C() takes the name of a column")
        if any(keyword.arg != "contrasts" for keyword in call.keywords) or len(coding) > 1:
            self._refuse(call, "C() takes a column and a coding; choose the first level with `reference`")
        name = self._name(call.args[0].id)  # type: ignore[attr-defined]
        for node in coding:
            self._coding(node)
            uses.own_coding.add(name)
        return name

    def _coding(self, node: ast.expr) -> None:
        call = isinstance(node, ast.Call)
        values = (
            [*node.args, *(keyword.value for keyword in node.keywords)] if isinstance(node, ast.Call) else []
        )
        name = _dotted(node.func if isinstance(node, ast.Call) else node)
        literal = all(map(_is_literal, values if call or name else [node]))
        if not literal or (name not in CODINGS and (call or name)):
            self._refuse(node, f"codings of a factor are {', '.join(CODINGS)}")

    def _numeric(self, node: ast.AST) -> None:
        """Allow numbers, columns, + - * / **, and the listed functions."""
        match node:
            case ast.Name():
                self._name(node.id)
            case ast.Constant(value=int() | float()):
                pass
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self._numeric(operand)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
                self._numeric(left)
                self._numeric(right)
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int() | float() as power)):
                # a power of a column cannot grow without end; a power of a number can
                if power > MAX_POWER or not any(_walk_values(left)):
                    self._refuse(node, f"powers are of columns, up to {MAX_POWER}")
                self._numeric(left)
            case ast.Call():
                self._call(node)
            case _:
                self._refuse(node, self._allowed())

    def _call(self, call: ast.Call) -> None:
        name = _dotted(call.func)
        if name not in FUNCTIONS or not call.args:
            self._refuse(call, self._allowed())
        self._numeric(call.args[0])
        if len(call.args) + len(call.keywords) > 1 and name.removeprefix("np.") in (*ELEMENTWISE, "I"):
            self._refuse(call, f"{name}() takes one argument")  # NumPy would take out=, where=, ...
        for keyword in call.keywords:
            if keyword.arg is None or keyword.arg.startswith("_"):
                self._refuse(call, self._allowed())
        for value in [*call.args[1:], *(keyword.value for keyword in call.keywords)]:
            if not _is_literal(value):
                self._refuse(value, f"the settings of {name}() are numbers or text")
            if name in SMOOTH:
                self._spline_size(call, ast.literal_eval(value))

    def _spline_size(self, call: ast.Call, value: Any) -> None:
        if isinstance(value, int) and value > MAX_SPLINE:
            self._refuse(call, f"whole numbers up to {MAX_SPLINE} go to a spline (write a bound as 200.0)")
        if isinstance(value, list | tuple | set | dict) and len(value) > MAX_SPLINE:
            self._refuse(call, f"up to {MAX_SPLINE} knots go to a spline")

    def _allowed(self) -> str:
        return "a formula may use columns, numbers, + - * / **, C() and the functions " + ", ".join(
            name for name in FUNCTIONS if "." not in name
        )

    def _refuse(self, node: ast.AST, advice: str) -> None:
        _refuse(self.formula, ast.unparse(node), advice)


def _dotted(node: ast.AST) -> str:
    """``contr.treatment`` for an attribute of a name, ``C`` for a name, empty for anything else."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute(value=ast.Name(id=owner), attr=attr):
            return f"{owner}.{attr}"
    return ""


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return False
    return True


def _walk_values(node: ast.AST) -> Iterator[ast.Name]:
    """Names of an expression, without those of the functions called."""
    if isinstance(node, ast.Name):
        yield node
    children = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    for child in children:
        yield from _walk_values(child)
