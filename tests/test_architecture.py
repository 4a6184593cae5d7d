"""The house: imports run downwards, heavy packages load when they are needed, nothing grows too large."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xdelnx

PACKAGE = Path(xdelnx.__file__).parent
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))

# Module -> floor. A module may import from the floors below its own, and from nowhere else in the package.
FLOORS = {
    # the scalar formulas, each written once
    "errors": 0,
    "messages": 0,
    "logarithms": 0,
    "negative_binomial": 1,
    "placement": 0,
    "status": 0,
    # one table of names, units and statuses, which algorithms may use too
    "schema": 5,
    # NumPy and Numba on the CPU, CuPy on a GPU
    "kernels": 10,
    "linear_kernels": 11,
    "moment_kernels": 11,
    "nonzero_kernels": 11,
    "weighted_kernels": 11,
    "block_kernels": 11,
    "backend": 12,
    # algorithms, one file per step of the method
    "basis": 20,
    "bias_adjustment": 20,
    "zeros": 20,
    "matrices": 20,
    "observations": 20,
    "outcomes": 20,
    "grouping": 21,
    "weighting": 21,
    "subsampling": 21,
    "expression": 21,
    "normalized": 21,
    "ranks": 21,
    "robust_prior": 21,
    "scaling": 21,
    "centring": 22,
    "glm": 21,
    "penalties": 22,
    "dispersion": 22,
    "influence": 22,
    "shrinkage": 22,
    "significance": 22,
    "sandwich": 22,
    "clustering": 55,
    "mixture": 22,
    "adjustment": 23,
    "independent_filtering": 23,
    "survey": 22,
    "tiles": 22,
    "steps": 23,
    "gathered": 25,
    "fit_residuals": 24,
    "outliers": 24,
    "covariances": 24,
    "bias_adjusted": 24,
    # labels; chunks and devices
    "checks": 40,
    "formulas": 40,
    "model_matrix": 41,
    "design": 42,
    "expressions": 43,
    "contrasts": 44,
    "blocks": 45,
    "factor_passes": 46,
    "group_passes": 46,
    "passes": 46,
    "fitted_passes": 47,
    "outlier_passes": 47,
    # verbs on Datasets
    "delimited": 50,
    "stores": 50,
    "io": 51,
    "simulation": 51,
    "tables": 51,
    "adjusting": 51,
    "inputs": 52,
    "ridge_given": 52,
    "labelled": 53,
    "fitted": 53,
    "aggregation": 54,
    "groupwise": 56,
    "sizing": 54,
    "weights_given": 54,
    "running": 55,
    "fitting": 57,
    "testing": 56,
    "inference": 56,
    "fold_changes": 54,
    "looking": 57,
    "predictions": 58,
    "filtering": 57,
    "normalizing": 57,
    "markers": 57,
    # people
    "drawing": 60,
    "plot": 61,
    "option_types": 60,
    "option_groups": 61,
    "jobs": 61,
    "options": 62,
    "cli": 63,
    # the facade names everything and, lazily, imports it all
    "__init__": 100,
    "__main__": 100,
}
ARRAYS_ONLY = 40  # below this floor: no xarray, Dask, pandas, formulaic
LABELS_AND_CHUNKS = {
    "xarray",
    "dask",
    "distributed",
    "pandas",
    "formulaic",
    "formulaic_contrasts",
    "anndata",
    "zarr",
}
HEAVY = ("cupy", "matplotlib", "anndata", "distributed", "scipy.stats", "scipy.optimize")


def tree(module):
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


def statements(node):
    """Every node of a tree but those for the type checker alone."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from statements(child)


def imports(module, nodes=ast.walk):
    """Names of the modules that a module imports anywhere in it, also inside functions."""
    for node in nodes(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}.py line {node.lineno}: imports are absolute"
            if node.module == "xdelnx":
                yield from (f"xdelnx.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def test_every_module_has_a_floor():
    homeless = set(MODULES) - set(FLOORS)
    assert not homeless, f"{homeless} have no floor: give them one in FLOORS, next to what they resemble"


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module):
    for name in imports(module):
        package, _, rest = name.partition(".")
        if package == "xdelnx" and rest not in ("", "__version__"):
            other = rest.split(".")[0]
            assert FLOORS[other] < FLOORS[module], f"{module} imports {other}, which is not below it"


@pytest.mark.parametrize("module", [m for m in MODULES if FLOORS.get(m, 100) < ARRAYS_ONLY])
def test_algorithms_know_arrays_only(module):
    found = {name.split(".")[0] for name in imports(module, statements)} & LABELS_AND_CHUNKS
    assert not found, f"{module} is an algorithm on arrays, and imports {found}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_stay_short(module):
    lines = (PACKAGE / f"{module}.py").read_text(encoding="utf-8").count("\n")
    assert lines <= 400, f"{module}.py has {lines} lines: it has become two modules"
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            length = (node.end_lineno - body[0].lineno + 1) if body else 0
            assert length <= 60, f"{module}.{node.name} has {length} lines without its docstring"


def loaded_after(code):
    """Which heavy packages a fresh interpreter has loaded after running some code."""
    probe = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


def test_import_is_light():
    assert loaded_after("import xdelnx") == set()


def test_only_plots_load_matplotlib_and_only_when_drawing():
    assert loaded_after("import xdelnx; xdelnx.plot; xdelnx.top_table") == set()


def test_a_fit_loads_nothing_that_it_does_not_need():
    """A fifth of a second each; Dask would load distributed to ask for a client."""
    fit = "import xdelnx; xdelnx.fit(xdelnx.simulate(n_samples=6, n_genes=40, seed=1), '~ condition')"
    assert loaded_after(fit) == set()


def test_names_of_the_package():
    assert set(xdelnx.__all__) <= set(dir(xdelnx))
    for name in xdelnx.__all__:
        assert getattr(xdelnx, name) is not None
    with pytest.raises(AttributeError, match=r"'fitt'; it has .*fit"):
        _ = xdelnx.fitt


def test_public_names_are_not_hidden_by_modules():
    """A module of the same name would take a function's place as soon as anything imports it."""
    code = (
        "import importlib, xdelnx as xd\n"
        f"for module in {MODULES!r}:\n"
        "    module == '__main__' or importlib.import_module(f'xdelnx.{module}')\n"
        "functions = set(xd.__all__) - {'plot', '__version__'}\n"
        "assert all(callable(getattr(xd, name)) for name in functions)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
