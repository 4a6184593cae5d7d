"""The documentation: its code runs and prints what it says, its generated parts leave nothing out, it builds."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xdelnx as xd
from xdelnx import schema
from xdelnx.status import Status

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [page for page in PAGES if not {"generated", "_build"} & set(page.relative_to(ROOT / "docs").parts)]
RUNNABLE = [
    page for page in PAGES if re.search("^```(python|console)$", page.read_text(encoding="utf-8"), re.M)
]


@pytest.fixture
def documentation(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("documentation")


def assert_same_words(printed, expected):
    """Line by line, word by word; numbers to two in a thousand, since last digits differ between machines."""
    for line, wanted_line in zip(printed.splitlines(), expected.splitlines(), strict=True):
        for word, wanted in zip(line.split(), wanted_line.split(), strict=True):
            try:
                assert float(word.strip(",")) == pytest.approx(float(wanted.strip(",")), rel=2e-3), line
            except ValueError:
                assert word == wanted


MARKS = {
    "clusters": pytest.mark.slow,  # worker processes start, compile and end
    "gpu": pytest.mark.skip(reason="its commands need a machine with CUDA cards"),
}


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.stem, marks=MARKS.get(page.stem, ())) for page in RUNNABLE]
)
def test_code_of_a_page(page, documentation, tmp_path, monkeypatch):
    """Warnings are errors here, too; a page with a warning shows how to catch it."""
    blocks = importlib.import_module("documentation.blocks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    for block, printed in blocks.run(page.read_text(encoding="utf-8"), page.name):
        if block.printed is not None:
            assert block.printed.strip(), f"{page.name} line {block.line}: run tools/documentation/blocks.py"
            assert_same_words(printed, block.printed)


def test_a_page_that_says_something_else_is_found(documentation):
    blocks = importlib.import_module("documentation.blocks")
    page = "```python\nprint(2.0)\n```\n\n```text\n3.0\n```\n"
    ((block, printed),) = blocks.run(page, "page")
    with pytest.raises(AssertionError):
        assert_same_words(printed, block.printed)
    assert blocks.updated(page, "page") == page.replace("3.0", "2.0")
    with pytest.raises(RuntimeError, match="failed"):
        list(blocks.run("```console\n$ xdelnx fit nowhere.zarr out.zarr --design '~ a'\n```\n", "page"))


def test_generated_pages_leave_nothing_out(documentation, monkeypatch):
    from xdelnx.cli.options import parser

    commands = importlib.import_module("documentation.commands")
    pages = importlib.import_module("documentation.reference").pages() | commands.pages()
    assert all(f"`{status.name.lower()}`" in pages["statuses.md"] for status in Status)
    assert all(f"| `{name}` |" in pages["variables.md"] for name in schema.VARIABLES)
    functions = {name for name in xd.__all__ if name not in ("plot", "__version__")}
    assert {f"api/{name}.md" for name in functions} <= set(pages)
    assert {f"api/plot.{name}.md" for name in xd.plot.__all__} <= set(pages)
    for name, command in commands.subparsers(parser()).items():
        assert f"## xdelnx {name}\n" in pages["cli.md"]
        section = pages["cli.md"].split(f"## xdelnx {name}\n")[1].split("\n## ")[0]
        for action in command._actions:
            assert all(
                option in section for option in action.option_strings if option not in ("-h", "--help")
            )


def test_verdicts_are_counted(documentation):
    comparisons = importlib.import_module("documentation.comparisons")
    text = comparisons.latest(ROOT / "validation" / "results", "reference").read_text(encoding="utf-8")
    table = comparisons.summary(text)
    passed = sum(int(line.split("|")[2]) for line in table.splitlines()[2:])
    assert f"{passed} pass" in text  # the page's own count


def test_no_local_paths_in_pages():
    for page in PAGES:
        found = re.search(r"/(work|root|home|tmp)/\w+", page.read_text(encoding="utf-8"))
        assert not found, f"{page.name}: {found and found[0]}"


@pytest.mark.slow
def test_builds_without_a_warning(tmp_path):
    pytest.importorskip("furo", reason="needs pip install 'xdelnx[docs]'")
    pytest.importorskip("myst_parser", reason="needs pip install 'xdelnx[docs]'")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", tmp_path / "trees"]
    done = subprocess.run(
        [*command, ROOT / "docs", tmp_path / "html"],
        env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in ("index", "generated/api/fit", "generated/cli", "generated/validation", "donors"):
        assert (tmp_path / "html" / f"{page}.html").is_file()
    cli = (tmp_path / "html" / "generated" / "cli.html").read_text(encoding="utf-8")
    assert "--lfc-threshold" in cli
