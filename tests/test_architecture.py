"""The house: imports run downwards, heavy packages load when they are needed, nothing grows too large."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xdelnx

PACKAGE = Path(xdelnx.__file__).parent


def module_of(path):
    """Dotted name inside the package: ``chunks.blocks``; that of a room's ``__init__`` is the room's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in PACKAGE.rglob("*.py")}
MODULES = sorted(FILES)

# Module -> floor. A module may import from the floors below its own, and from nowhere else in the package.
FLOORS = {
    # names, units, words: what every room may use
    "after_import": 0,
    "errors": 0,
    "messages": 0,
    "progress": 0,
    "status": 0,
    "schema": 5,
    "checks": 40,
    # the facade names everything and, lazily, imports it all
    "__init__": 100,
    "accessor": 99,
    "__main__": 100,
    # the scalar formulas, each written once
    "scalars": 0,
    "scalars.logarithms": 0,
    "scalars.negative_binomial": 1,
    # NumPy and Numba on the CPU, CuPy on a GPU
    "kernels": 0,
    "kernels.dense": 10,
    "kernels.block": 11,
    "kernels.linear": 11,
    "kernels.moments": 11,
    "kernels.nodes": 11,
    "kernels.nonzero": 11,
    "kernels.weighted": 11,
    "kernels.backend": 12,
    "kernels.cuda": 0,
    "kernels.cuda.translate": 0,
    "kernels.cuda.namespace": 0,
    "kernels.cuda.loops": 12,
    "kernels.cuda.catalogue": 13,
    "kernels.cuda.flat": 13,
    "kernels.cuda.device": 14,
    "kernels.cuda.hosted": 15,
    "kernels.cuda.card": 16,
    "kernels.devices": 17,
    # one file per step of the method
    "algorithms": 0,
    "algorithms.basis": 20,
    "algorithms.bias_adjustment": 20,
    "algorithms.matrices": 20,
    "algorithms.mixture": 20,
    "algorithms.observations": 20,
    "algorithms.one_sided": 21,
    "algorithms.ordination": 20,
    "algorithms.outcomes": 20,
    "algorithms.zeros": 20,
    "algorithms.covariate": 21,
    "algorithms.expression": 21,
    "algorithms.glm": 21,
    "algorithms.grouping": 21,
    "algorithms.normalized": 21,
    "algorithms.ranks": 21,
    "algorithms.robust_prior": 21,
    "algorithms.scaling": 21,
    "algorithms.subsampling": 21,
    "algorithms.weighting": 21,
    "algorithms.centring": 22,
    "algorithms.compressed": 22,
    "algorithms.dispersion": 22,
    "algorithms.influence": 22,
    "algorithms.node_observations": 22,
    "algorithms.penalties": 22,
    "algorithms.sandwich": 22,
    "algorithms.shrinkage": 22,
    "algorithms.trend": 21,
    "algorithms.significance": 22,
    "algorithms.survey": 22,
    "algorithms.tiles": 23,
    "algorithms.adjustment": 23,
    "algorithms.independent_filtering": 23,
    # of a block, and of all genes
    "steps": 0,
    "steps.tilewise": 24,
    "steps.blockwise": 25,
    "steps.bias_adjusted": 26,
    "steps.covariances": 26,
    "steps.fit_residuals": 26,
    "steps.outliers": 26,
    "steps.gathered": 27,
    # from words to matrices
    "designs": 0,
    "designs.formulas": 40,
    "designs.model_matrix": 41,
    "designs.design": 42,
    "designs.expressions": 43,
    "designs.contrasts": 44,
    # chunks and devices
    "chunks": 0,
    "chunks.schedulers": 42,
    "chunks.watching": 44,
    "chunks.disks": 43,
    "chunks.faults": 42,
    "chunks.strict": 43,
    "chunks.reading": 44,
    "chunks.journal": 44,
    "chunks.blocks": 45,
    "chunks.devices": 46,
    "chunks.tasks": 46,
    "chunks.skipping": 47,
    "chunks.factor_passes": 47,
    "chunks.group_passes": 47,
    "chunks.passes": 47,
    "chunks.fitted_passes": 48,
    "chunks.outlier_passes": 48,
    # counts in, results out
    "storage": 0,
    "storage.delimited": 47,
    "storage.labels": 46,
    "storage.pieces": 48,
    "storage.spill": 49,
    "storage.remote": 45,
    "storage.outputs": 46,
    "storage.unfinished": 46,
    "storage.unreadable": 46,
    "storage.untrusted": 46,
    "storage.stores": 47,
    "storage.anndata_parts": 47,
    "storage.counts_at": 49,
    "storage.dimensions": 46,
    "storage.gene_major": 51,
    "storage.io": 48,
    "storage.readers": 0,
    "storage.readers.arrays": 51,
    "storage.readers.source": 51,
    "storage.readers.anndata_files": 52,
    "storage.readers.tables": 52,
    "storage.readers.ten_x": 52,
    "storage.readers.zarr_stores": 52,
    "storage.readers.matrix_market": 53,
    "storage.readers.opening": 54,
    "storage.conversion": 55,
    "storage.fingerprint": 51,
    # on Datasets
    "verbs": 0,
    "verbs.dimensions": 50,
    "verbs.adjusting": 51,
    "verbs.simulation": 51,
    "verbs.tables": 51,
    "verbs.inputs": 52,
    "verbs.tables_for_others": 52,
    "verbs.annotated": 53,
    "verbs.describing": 54,
    "verbs.ridge_given": 52,
    "verbs.skipped": 53,
    "verbs.fitted": 54,
    "verbs.labelled": 53,
    "verbs.aggregation": 54,
    "verbs.fold_changes": 54,
    "verbs.repeating": 55,
    "verbs.sizing": 55,
    "verbs.weights_given": 54,
    "verbs.clustering": 55,
    "verbs.running": 56,
    "verbs.groups_compared": 55,
    "verbs.groupwise": 56,
    "verbs.inference": 56,
    "verbs.testing": 56,
    "verbs.filtering": 57,
    "verbs.fitting": 57,
    "verbs.looking": 57,
    "verbs.markers": 57,
    "verbs.normalizing": 57,
    "verbs.planning": 58,
    "verbs.predictions": 58,
    # people: pictures
    "plot.placement": 0,
    "plot.drawing": 60,
    "plot.columns": 61,
    "plot.figures": 61,
    "plot.genes": 62,
    "plot.markup": 62,
    "plot.interactive": 63,
    "plot.heat_map": 62,
    "plot.samples": 62,
    "plot": 64,
    # people: a page about a fit
    "reporting": 0,
    "reporting.diagnostics": 65,
    "reporting.pictures": 65,
    "reporting.sample_columns": 65,
    "reporting.tables": 65,
    "reporting.tested": 64,
    "reporting.words": 65,
    "reporting.pvalue_shapes": 66,
    "reporting.checkup": 67,
    "reporting.results": 68,
    "reporting.page": 69,
    "reporting.writing": 70,
    # people: the command line
    "cli.cards": 65,
    "cli.counts_given": 71,
    "cli.option_types": 70,
    "cli.jobs": 71,
    "cli.option_groups": 71,
    "cli.command": 70,
    "cli.health": 72,
    "cli.output": 72,
    "cli.convert_command": 73,
    "cli.counts_commands": 74,
    "cli.doctor_command": 73,
    "cli.looking_commands": 73,
    "cli.fit_command": 73,
    "cli.model_commands": 74,
    "cli.result_commands": 73,
    "cli.options": 75,
    "cli.entry": 76,
    "cli": 77,
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
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


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
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name.partition(".")[2] in FILES else str(node.module) for name in whole)


def test_every_module_has_a_floor():
    homeless = set(MODULES) - set(FLOORS)
    assert not homeless, f"{homeless} have no floor: give them one in FLOORS, next to what they resemble"


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module):
    for name in imports(module):
        package, _, other = name.partition(".")
        if package == "xdelnx" and other:
            assert FLOORS[other] < FLOORS[module], f"{module} imports {other}, which is not below it"


@pytest.mark.parametrize("module", [m for m in MODULES if FLOORS.get(m, 100) < ARRAYS_ONLY])
def test_algorithms_know_arrays_only(module):
    found = {name.split(".")[0] for name in imports(module, statements)} & LABELS_AND_CHUNKS
    assert not found, f"{module} is an algorithm on arrays, and imports {found}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_stay_short(module):
    lines = FILES[module].read_text(encoding="utf-8").count("\n")
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


def test_neither_does_the_command_line(tmp_path):
    from xdelnx import simulate

    simulate(n_samples=6, n_genes=40, seed=1).to_zarr(tmp_path / "counts.zarr")
    words = [
        "fit",
        f"{tmp_path}/counts.zarr",
        f"{tmp_path}/fit.zarr",
        "--design",
        "~ condition",
        "--progress",
    ]
    assert loaded_after(f"from xdelnx.cli import main; assert main({words!r}) == 0") == set()


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
