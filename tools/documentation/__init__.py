"""Pages of the documentation that are made from the package itself, so that they cannot drift from it."""

from __future__ import annotations

import shutil
from pathlib import Path

from documentation import commands, comparisons, notebooks, pictures, reference

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED = DOCS / "generated"
# What pages include, and is no page of its own
PARTS = ("variables.md", "statuses.md", "functions.md", "codings.md", "gpu_link.md")
PARTS += ("validation_summary.md", "how_it_compares.md", "how_fast.md", "calibration.md")
GPU_PAGE = "[On GPUs](gpu.md) says how.\n"
NO_GPU_PAGE = "This version computes on CPUs: `device` of a result is `cpu`.\n"


def pages() -> dict[str, str]:
    """Text of every generated page and part of a page, by its path under `docs/generated`."""
    made = reference.pages() | commands.pages() | comparisons.pages(ROOT)
    made["gpu_link.md"] = GPU_PAGE if (DOCS / "gpu.md").exists() else NO_GPU_PAGE
    return made | notebooks.pages(ROOT / "examples", GENERATED / "examples")


def generate(*_: object) -> None:
    """Write `docs/generated` anew (Sphinx calls it before it reads the sources)."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    (GENERATED / "images").mkdir(parents=True)
    for name, text in pages().items():
        path = GENERATED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    results = ROOT / "validation" / "results"
    picture = comparisons.latest(results, "study").with_suffix(".png")
    shutil.copy(picture, GENERATED / picture.name)
    pictures.draw(GENERATED / "images")
