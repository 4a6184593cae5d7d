"""Results, statuses, formulas and the Python functions, from the schema and the docstrings."""

from __future__ import annotations

import inspect
from typing import Any

import xdelnx
from documentation.tables import code, table
from xdelnx import schema
from xdelnx.designs import formulas
from xdelnx.status import ADVICE, Status

# Chapter -> functions, in the order of their use; whatever is public and not named here comes in a chapter of its own.
CHAPTERS = {
    "Counts in": ("open_counts", "from_anndata", "convert", "simulate"),
    "Before a fit": (
        *("pseudobulk", "filter_by_expression", "size_factors", "length_offset", "normalize"),
        "rank_genes",
    ),
    "Fit and test": ("fit", "test", "adjust", "shrink_lfc", "covariance"),
    "Look at a fit": ("predict", "residuals", "goodness_of_fit"),
    "Results out": ("describe", "top_table", "ranked", "report", "to_anndata", "to_pertpy", "score_matrix"),
}
OTHERS = "More"
PLOTS = "Plots"


def pages() -> dict[str, str]:
    """Pages and parts of pages on what the package returns and what it has."""
    made = {"variables.md": _variables(), "statuses.md": _statuses(), "functions.md": _functions()}
    made["codings.md"] = ", ".join(map(code, formulas.CODINGS)) + "\n"
    made["api/index.md"] = _index()
    for names in chapters().values():
        made |= {f"api/{name}.md": _page(name) for name in names}
    return made


def chapters() -> dict[str, list[str]]:
    """Every public function by its chapter; those of plot as `plot.volcano`."""
    known = {name for names in CHAPTERS.values() for name in names}
    public = [name for name in xdelnx.__all__ if name != "__version__" and not _is_module(name)]
    others = sorted(set(public) - known)
    found = {chapter: [name for name in names if name in public] for chapter, names in CHAPTERS.items()}
    found[PLOTS] = [f"plot.{name}" for name in sorted(xdelnx.plot.__all__)]
    return found | ({OTHERS: others} if others else {})


def _is_module(name: str) -> bool:
    return inspect.ismodule(getattr(xdelnx, name))


def _index() -> str:
    parts = ["# Functions\n", "`import xdelnx as xd`; each function is `xd.` and its name.\n"]
    for chapter, names in chapters().items():
        rows = [(f"[`{name}`]({name}.md)", first_line(_resolve(name))) for name in names]
        parts += [f"## {chapter}\n", table(("function", "what it does"), rows), ""]
    listed = "\n".join(name for names in chapters().values() for name in names)
    parts.append(f"```{{toctree}}\n:hidden:\n\n{listed}\n```\n")
    return "\n".join(parts)


def _resolve(name: str) -> Any:
    found: Any = xdelnx
    for part in name.split("."):
        found = getattr(found, part)
    return found


def first_line(found: Any) -> str:
    """First sentence of a docstring, its code in backticks."""
    return (inspect.getdoc(found) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


def _page(name: str) -> str:
    kind = "autoclass" if inspect.isclass(_resolve(name)) else "autofunction"
    return f"# {name}\n\n```{{eval-rst}}\n.. {kind}:: xdelnx.{name}\n```\n"


def _variables() -> str:
    rows = []
    for name, variable in schema.VARIABLES.items():
        dims = f"({', '.join(variable.dims)})" if variable.dims else "one number"
        dims += ", or by gene" if variable.by_gene else ""
        rows.append((code(name), dims, variable.units, variable.long_name))
    return table(("variable", "dimensions", "unit", "what it is"), rows) + "\n"


def _statuses() -> str:
    rows = [(int(status), code(status.name.lower()), ADVICE[status]) for status in Status]
    return table(("value", "name", "what it means, and what to do"), rows) + "\n"


def _functions() -> str:
    listed = [name for name in formulas.FUNCTIONS if not name.startswith("np.")]
    return ", ".join(map(code, listed)) + "\n"
