"""A fit in words: its design and options, and the commands that repeat it."""

from __future__ import annotations

import inspect
import json
import platform
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd
import xarray as xr

from xdelnx.designs.design import design_from_result
from xdelnx.reporting.tested import questions_of, threshold_of
from xdelnx.schema import COEFFICIENT, GENE, SAMPLE
from xdelnx.storage.dimensions import names_of
from xdelnx.verbs.inputs import GIVEN

PACKAGES = (
    "xdelnx",
    "numpy",
    "scipy",
    "numba",
    "pandas",
    "xarray",
    "dask",
    "zarr",
    "formulaic",
    "matplotlib",
)
_LEVEL = re.compile(r"^(?P<column>.+?)\[(?P<treatment>T\.)?(?P<level>.*)\]$")

OPTIONS = {
    "size_factors": "how samples of different depth are made comparable",
    "offset": "further scale of the counts",
    "weights": "observation weights",
    "overdispersion": "variance beyond Poisson",
    "shrinkage": "quasi-likelihood dispersions shrunken to a prior",
    "cox_reid": "overdispersion adjusted for the coefficients",
    "method": "where quasi-likelihood dispersions come from",
    "robust": "prior without genes of extreme variance",
    "cooks": "what is done about outlying counts",
    "ridge": "penalty of the coefficients",
    "ridge_target": "what the penalty draws coefficients to",
    "cluster": "samples that need not be independent within it",
    "subsample": "samples on which the overdispersion is estimated",
    "adjust": "adjustment of the p-values",
    "contrasts": "what was tested",
    "by": "groups that were fitted on their own",
    "counts": "variable of the counts",
}


def options_of(fit: xr.Dataset) -> dict[str, Any]:
    """Options of the fit by name; none where the attribute is gone."""
    return json.loads(fit.attrs.get("options", "{}"))


def reference_of(fit: xr.Dataset) -> dict[str, str]:
    """Reference levels that were asked for, by column."""
    return json.loads(fit.attrs.get("design_reference", "{}"))


def design_sentence(fit: xr.Dataset) -> str:
    """Say what the counts may depend on."""
    formula = fit.attrs.get("design_formula")
    size = fit.sizes[COEFFICIENT]
    if not formula:
        return f"The design was given as a matrix of {size} column{'s' * (size != 1)}."
    chosen = [f"{column} = {level}" for column, level in reference_of(fit).items()]
    against = f" Others are compared with {', '.join(chosen)}." if chosen else ""
    return f"The logarithm of a gene's expected count is a sum of effects: {formula}.{against}"


def coefficient_words(name: str) -> str:
    """Say what a coefficient of a formula means.

    >>> coefficient_words("drug[T.B]")
    'log fold change of drug = B against its reference level'
    >>> coefficient_words("drug[T.B]:age")
    'what drug = B adds to the effect of age'
    """
    if name == "Intercept":
        return "log of the expected count at the reference levels, and at 0 of covariates, for a size factor of 1"
    parts = [_part(part) for part in _split(name)]
    if len(parts) > 1:
        return f"what {' and '.join(words for words, _ in parts[:-1])} adds to the effect of {parts[-1][0]}"
    words, kind = parts[0]
    if kind == "treatment":
        return f"log fold change of {words} against its reference level"
    if kind == "level":
        return f"log of the expected count where {words}, or its effect if there is an intercept"
    return f"log fold change for one unit of {words}"


def _split(name: str) -> list[str]:
    """Split an interaction at the colons that stand outside brackets."""
    parts, depth = [""], 0
    for sign in name:
        depth += (sign in "[(") - (sign in "])")
        if sign == ":" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _part(name: str) -> tuple[str, str]:
    found = _LEVEL.match(name)
    if found is None:
        return name, "number"
    return f"{found['column']} = {found['level']}", "treatment" if found["treatment"] else "level"


def option_rows(fit: xr.Dataset) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each option."""
    return [(name, _written(value), OPTIONS.get(name, "")) for name, value in options_of(fit).items()]


def _written(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        "an array that was handed over"
        if value == GIVEN
        else value
        if isinstance(value, str)
        else json.dumps(value)
    )


def changed_options(fit: xr.Dataset) -> dict[str, Any]:
    """Options that are not those by default, as arguments of `xdelnx.fit`; a given array as `GIVEN`."""
    from xdelnx.verbs.fitting import fit as verb

    defaults = {name: one.default for name, one in inspect.signature(verb).parameters.items()}
    changed = {
        name: value for name, value in options_of(fit).items() if name in defaults and value != defaults[name]
    }
    return changed | ({"reference": reference_of(fit)} if reference_of(fit) else {}) | names_of(fit.attrs)


def test_options(
    fit: xr.Dataset, tests: Sequence[xr.Dataset], samples: pd.DataFrame | None
) -> list[dict[str, Any]]:
    """Arguments of `xdelnx.test` that repeat tests of a fit; ``contrast`` as a list."""
    if not tests:
        return []
    model = design_from_result(fit)
    return [
        {"contrast": questions_of(test, model, samples)}
        | ({"lfc_threshold": threshold_of(test)} if threshold_of(test) else {})
        for test in tests
    ]


def python_commands(fit: xr.Dataset, tests: Sequence[Mapping[str, Any]] = ()) -> str:
    """Write the Python that repeats the fit and its tests."""
    formula = fit.attrs.get("design_formula")
    arguments = [repr(formula) if formula else "design"]
    arguments += [
        f"{name}={name if value == GIVEN else repr(value)}"
        for name, value in changed_options(fit).items()
        if name not in (SAMPLE, GENE)  # which the data knows
    ]
    given = [name for name, value in changed_options(fit).items() if value == GIVEN]
    given += [] if formula else ["design"]
    dims = "".join(f", {dim}={name!r}" for dim, name in names_of(fit.attrs).items())
    lines = ["import xdelnx as xd", "", f'data = xd.open_counts("counts.zarr"{dims})']
    lines += [f"# {name}: the array that was handed over to this fit" for name in given]
    lines.append(f"fit = xd.fit(data, {', '.join(arguments)})")
    for k, test in enumerate(tests, start=1):
        asked = test["contrast"] if len(test["contrast"]) > 1 else test["contrast"][0]
        others = [f"{name}={value!r}" for name, value in test.items() if name != "contrast"]
        lines.append(f"test{k} = xd.test({', '.join(['data', 'fit', repr(asked), *others])})")
    shown = ", ".join(f"test{k}" for k in range(1, len(tests) + 1))
    lines.append(f'xd.report(fit, "report.html", data{f", tests=[{shown}]" if tests else ""})')
    return "\n".join(lines)


def shell_commands(fit: xr.Dataset, tests: Sequence[Mapping[str, Any]] = ()) -> str | None:
    """Write the commands that repeat fit and tests; None where an array was handed over, which none can take."""
    formula = fit.attrs.get("design_formula")
    changed = changed_options(fit)
    if not formula or any(
        value == GIVEN or _nested(value) for name, value in changed.items() if name != "reference"
    ):
        return None
    words = [word for name, value in changed.items() for word in _option_words(name, value)]
    command = ["xdelnx", "fit", "counts.zarr", "fit.zarr", "--design", formula, *words]
    commands, report = [command], ["xdelnx", "report", "fit.zarr", "report.html", "--data", "counts.zarr"]
    for k, test in enumerate(tests, start=1):
        if any(not isinstance(one, str) for one in test["contrast"]):
            return None
        words = [word for name, value in test.items() for word in _option_words(name, value)]
        commands.append(["xdelnx", "test", "counts.zarr", "fit.zarr", f"test{k}.zarr", *words])
        report += ["--tests", f"test{k}.zarr"]
    return "\n".join(map(shlex.join, [*commands, report]))


def _nested(value: Any) -> bool:
    entries = value if isinstance(value, list) else []
    return isinstance(value, Mapping) or any(not isinstance(entry, str) for entry in entries)


def _option_words(name: str, value: Any) -> Iterator[str]:
    """Option of the command line, by the rules of `xdelnx.cli`."""
    option = f"--{name.replace('_', '-')}"
    if name == "reference":
        for column, level in value.items():
            yield from (option, f"{column}={level}")
    elif isinstance(value, bool) and name != "overdispersion":
        yield option if value else f"--no-{name.replace('_', '-')}"
    elif isinstance(value, list):
        for entry in value:
            yield from (option, entry)
    else:
        yield from (
            option,
            "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value),
        )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages at hand, by name."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
