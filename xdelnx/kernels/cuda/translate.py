"""From the Python of scalar formulas and loops to C++ for a card, so that each is written once.

A part of Python is understood: numbers, tuples of them, arrays with one or two axes, ``for`` over a range, ``while``
and ``if``. Types come from annotations and, for locals, from the compiler (``auto``). A function that is called
is translated with its caller; names of constants become their values.

What a kernel's loops are is said by their variables: a loop over genes is spread over teams of
threads, loops over kinds and over samples over the threads of a team, and what such a loop adds up
(``total += ...``) is added over these by ``sum_kinds`` or ``sum_samples`` of ``prelude.h``. All other loops run in
every thread.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

GENE, THREAD, KIND, SAMPLE = "gene", "thread", "kind", "sample"
_STEP = {
    GENE: ("first_gene()", "genes_at_once()"),
    THREAD: ("this_thread()", "all_threads()"),
    KIND: ("threadIdx.y", "blockDim.y"),
    SAMPLE: ("threadIdx.x", "blockDim.x"),
}
_TYPES = {"float": "double", "int": "i64", "np.int64": "i64"}
_CALLS = {
    "abs": "fabs",
    "float": "(double)",
    "int": "(i64)",
    "math.exp": "exp",
    "math.floor": "floor",
    "math.isfinite": "isfinite",
    "math.log": "log",
    "math.sqrt": "sqrt",
    "max": "larger",
    "min": "smaller",
    "np.float64": "(double)",
    "np.int64": "(i64)",
}
_OPERATORS: dict[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "/", ast.RShift: ">>", ast.LShift: "<<",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.And: "&&", ast.Or: "||", ast.USub: "-", ast.Not: "!",
}  # fmt: skip


class UntranslatableError(TypeError):
    """A part of Python that has no translation, with its place."""


def plain(function: Any) -> Callable[..., Any]:
    """Return the Python function behind a compiled one."""
    return getattr(function, "py_func", function)


def parsed(function: Any) -> ast.FunctionDef:
    """Syntax tree of a function."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(plain(function)))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    return tree


class Program:
    """Functions and kernels in C++, each function once and before those that call it."""

    def __init__(self) -> None:
        self._functions: dict[Any, str] = {}
        self.parts: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self.parts)

    def function(self, source: Any) -> str:
        """Translate a function, unless that is done, and return its name."""
        source = plain(source)
        if source not in self._functions:
            tree, name = parsed(source), f"f_{source.__name__.lstrip('_')}"
            arguments, classes = [], []
            for i, argument in enumerate(tree.args.args):
                kind = _TYPES.get(ast.unparse(argument.annotation) if argument.annotation else "")
                if kind is None:
                    kind = f"T{i}"
                    classes.append(f"class {kind}")
                arguments.append(f"{kind} {argument.arg}")
            lines = _Lines(self, source, {}).block(tree.body, {a.arg: a.arg for a in tree.args.args}, 1)
            head = f"template <{', '.join(classes)}> " if classes else ""
            self._functions[source] = name
            self.parts.append(f"{head}DEVICE auto {name}({', '.join(arguments)}) {{\n{lines}\n}}\n")
        return self._functions[source]

    def kernel(self, name: str, source: Any, arrays: Mapping[str, str], roles: Mapping[str, str]) -> None:
        """Translate the loop over genes of a kernel.

        Parameters
        ----------
        name
            Of the kernel.
        source
            The function. What it does before the loop is translated too, but for the arrays that it makes: these are
            given to it.
        arrays
            Type of every argument, of these arrays too, in order: ``d`` or ``i`` and the number of axes, with a ``t``
            for what each thread has of its own.
        roles
            Loop variable -> `GENE` or `THREAD`, and `KIND` or `SAMPLE`.
        """
        arguments, views = [], []
        for argument, kind in arrays.items():
            pointed, axes = {"d": "double", "i": "i64"}[kind[0]], int(kind[1])
            if axes == 0:
                arguments.append(f"{pointed} {argument}")
                continue
            shape = [f"{argument}_{axis}" for axis in range(axes)]
            arguments += [f"{pointed}* {argument}_at", *(f"i64 {size}" for size in shape)]
            own = f" + this_thread() * {' * '.join(shape)}" if kind.endswith("t") else ""
            views.append(f"  Array{axes}<{pointed}> {argument}{{{argument}_at{own}, {', '.join(shape)}}};\n")
        body = [node for node in parsed(source).body if not _makes_arrays(node)]
        lines = _Lines(self, plain(source), roles).block(body, {a: a for a in arrays}, 1)
        self.parts.append(
            f'extern "C" KERNEL void {name}({", ".join(arguments)}) {{\n{"".join(views)}{lines}\n}}\n'
        )


def _makes_arrays(node: ast.stmt) -> bool:
    """Whether a statement before the loop makes an array, or is for the loops of a processor, or returns."""
    if isinstance(node, ast.Return | ast.If):
        return True
    return isinstance(node, ast.Assign) and any(
        isinstance(part, ast.Call) and ast.unparse(part.func) in {"np.empty", "np.zeros"}
        for part in ast.walk(node.value)
    )


class _Lines:
    """Statements of one function, line by line; ``scope`` says what a visible name is called in C++."""

    def __init__(self, program: Program, function: Callable[..., Any], roles: Mapping[str, str]) -> None:
        self.program, self.roles, self.name = program, roles, function.__name__
        self.globals = function.__globals__
        self.counter = 0

    def block(self, body: list[ast.stmt], scope: dict[str, str], depth: int) -> str:
        scope = dict(scope)
        lines = [line for node in body for line in self.statement(node, scope, depth)]
        return "\n".join(f"{'  ' * depth}{line}" if not line.startswith(" ") else line for line in lines)

    def statement(self, node: ast.stmt, scope: dict[str, str], depth: int) -> Iterator[str]:
        match node:
            case ast.Expr(value=ast.Constant()):
                return
            case ast.Expr(value=call):
                yield f"{self.value(call, scope)};"
            case ast.Return(value=ast.Tuple(elts=parts)):
                yield f"return doubles({', '.join(self.value(part, scope) for part in parts)});"
            case ast.Return(value=value):
                yield f"return {self.value(value, scope) if value else ''};"
            case ast.Assign(targets=[target], value=value):
                yield from self.assignment(target, value, scope)
            case ast.AugAssign(target=target, op=op, value=value):
                yield f"{self.value(target, scope)} {_OPERATORS[type(op)]}= {self.value(value, scope)};"
            case ast.If(test=test, body=body, orelse=others):
                yield f"if ({self.value(test, scope)}) {{"
                yield self.block(body, scope, depth + 1)
                yield "} else {"
                yield self.block(others, scope, depth + 1)
                yield "}"
            case ast.While(test=test, body=body, orelse=[]):
                yield f"while ({self.value(test, scope)}) {{"
                yield self.block(body, scope, depth + 1)
                yield "}"
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"))):
                yield from self.loop(node, name, scope, depth)
            case _:
                self.refuse(node)

    def assignment(self, target: ast.expr, value: ast.expr, scope: dict[str, str]) -> Iterator[str]:
        if not isinstance(target, ast.Tuple):
            yield self.set(target, self.value(value, scope), scope)
            return
        if isinstance(value, ast.Tuple):  # by way of copies: one may be of what another sets
            copies = [self.fresh() for _ in target.elts]
            for copy, part in zip(copies, value.elts, strict=True):
                yield f"auto {copy} = {self.value(part, scope)};"
        else:
            whole = self.fresh()
            yield f"auto {whole} = {self.value(value, scope)};"
            copies = [f"{whole}[{i}]" for i in range(len(target.elts))]
        for part, copy in zip(target.elts, copies, strict=True):
            yield self.set(part, copy, scope)

    def set(self, target: ast.expr, value: str, scope: dict[str, str]) -> str:
        if isinstance(target, ast.Name) and target.id not in scope:
            scope[target.id] = target.id
            return f"auto {target.id} = {value};"
        return f"{self.value(target, scope)} = {value};"

    def fresh(self, what: str = "copy") -> str:
        self.counter += 1
        return f"{what}_{self.counter}"

    def loop(self, node: ast.For, name: str, scope: dict[str, str], depth: int) -> Iterator[str]:
        assert isinstance(node.iter, ast.Call)
        bounds = [self.value(bound, scope) for bound in node.iter.args]
        start, stop = ("0", bounds[0]) if len(bounds) == 1 else bounds[:2]
        step, role = (bounds[2] if len(bounds) == 3 else "1"), self.roles.get(name)
        inside, parts = scope | {name: name}, {}
        if role is not None:
            first, step = _STEP[role]
            start = f"{start} + {first}"
        if role in {KIND, SAMPLE}:
            parts = {total: self.fresh("part") for total in self.totals(node, scope)}
            inside |= parts
            yield from (f"double {part} = 0.0;" for part in parts.values())
        compare = ">" if step.startswith("(-") else "<"
        yield f"for (i64 {name} = {start}, {name}_end = {stop}; {name} {compare} {name}_end; {name} += {step}) {{"
        yield self.block(node.body, inside, depth + 1)
        yield "}"
        yield from (f"{scope[total]} += sum_{role}s({part});" for total, part in parts.items())

    def totals(self, loop: ast.For, scope: dict[str, str]) -> list[str]:
        """Names from outside that a loop adds to; it may set no others."""
        added: dict[str, None] = {}
        for node in ast.walk(loop):
            if (
                isinstance(node, ast.AugAssign)
                and isinstance(node.target, ast.Name)
                and node.target.id in scope
            ):
                if not isinstance(node.op, ast.Add):
                    self.refuse(node)
                added[node.target.id] = None
            if isinstance(node, ast.Assign):
                set_here = {part.id for t in node.targets for part in ast.walk(t) if isinstance(part, ast.Name)
                            and isinstance(part.ctx, ast.Store)}  # fmt: skip
                if set_here & set(scope):
                    self.refuse(node)
        return list(added)

    def value(self, node: ast.expr, scope: dict[str, str]) -> str:
        translated = getattr(self, f"of_{type(node).__name__.lower()}", None)
        return self.refuse(node) if translated is None else translated(node, scope)

    def of_constant(self, node: ast.Constant, _scope: dict[str, str]) -> str:
        return _literal(node.value)

    def of_name(self, node: ast.Name, scope: dict[str, str]) -> str:
        if node.id in scope:
            return scope[node.id]
        if not isinstance(self.globals.get(node.id), int | float | np.integer | np.floating):
            self.refuse(node)
        return _literal(self.globals[node.id])

    def of_binop(self, node: ast.BinOp, scope: dict[str, str]) -> str:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        if isinstance(node.op, ast.Pow) and ast.unparse(node.right) == "2":
            return f"square({left})"
        if isinstance(node.op, ast.Div):
            return f"((double)({left}) / {right})"  # `FloorDiv` is for whole numbers that are not negative
        if type(node.op) not in _OPERATORS:
            self.refuse(node)
        return f"({left} {_OPERATORS[type(node.op)]} {right})"

    def of_unaryop(self, node: ast.UnaryOp, scope: dict[str, str]) -> str:
        return f"({_OPERATORS[type(node.op)]}{self.value(node.operand, scope)})"

    def of_boolop(self, node: ast.BoolOp, scope: dict[str, str]) -> str:
        parts = (self.value(part, scope) for part in node.values)
        return f"({f' {_OPERATORS[type(node.op)]} '.join(parts)})"

    def of_compare(self, node: ast.Compare, scope: dict[str, str]) -> str:
        if len(node.ops) > 1 or type(node.ops[0]) not in _OPERATORS:
            self.refuse(node)
        left, right = self.value(node.left, scope), self.value(node.comparators[0], scope)
        return f"({left} {_OPERATORS[type(node.ops[0])]} {right})"

    def of_ifexp(self, node: ast.IfExp, scope: dict[str, str]) -> str:
        test, one, other = (self.value(part, scope) for part in (node.test, node.body, node.orelse))
        return f"({test} ? {one} : {other})"

    def of_subscript(self, node: ast.Subscript, scope: dict[str, str]) -> str:
        array = self.value(node.value, scope)
        if isinstance(node.slice, ast.Tuple):
            row, column = (self.value(at, scope) for at in node.slice.elts)
            return f"{array}({row}, {column})"
        return f"{array}[{self.value(node.slice, scope)}]"

    def of_attribute(self, node: ast.Attribute, scope: dict[str, str]) -> str:
        if ast.unparse(node) == "np.inf":
            return "INFINITY"
        if node.attr not in {"shape", "size"}:
            self.refuse(node)
        return f"{self.value(node.value, scope)}.{'size()' if node.attr == 'size' else 'shape'}"

    def of_call(self, node: ast.Call, scope: dict[str, str]) -> str:
        called = ast.unparse(node.func)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "view":
            wanted = {"np.int64": "bits_of", "np.float64": "of_bits"}[ast.unparse(node.args[0])]
            return f"{wanted}({self.value(node.func.value, scope)})"
        arguments = ", ".join(self.value(argument, scope) for argument in node.args)
        if called in _CALLS:
            return f"{_CALLS[called]}({arguments})"
        if not isinstance(node.func, ast.Name) or not callable(self.globals.get(called)):
            self.refuse(node)
        return f"{self.program.function(self.globals[called])}({arguments})"

    def refuse(self, node: ast.AST) -> Any:
        msg = f"{self.name}: no translation for {ast.unparse(node)!r}"
        raise UntranslatableError(msg)


def _literal(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return repr(float(value)) if math.isfinite(value) else "INFINITY"
    return f"{int(value)}LL"
