"""The measured tables: the latest results of benchmarks and of validation."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from documentation.tables import table


def pages(root: Path) -> dict[str, str]:
    """Latest results as pages, and the validation's verdicts counted by case."""
    made = {}
    for kind in ("peers", "contrasts", "kernels", "scaling"):
        made[f"benchmarks/{kind}.md"] = _page(latest(root / "benchmarks" / "results", kind))
    readme = (root / "README.md").read_text(encoding="utf-8")
    made |= {
        "how_it_compares.md": section(readme, "How it compares"),
        "how_fast.md": section(readme, "How fast"),
    }
    full = _page(latest(root / "validation" / "results", "reference"))
    study = _page(latest(root / "validation" / "results", "study"))
    made |= {"study.md": study, "calibration.md": parts_of(study, "In short", "What is promised")}
    return made | {"validation.md": full, "validation_summary.md": summary(full)}


def parts_of(page: str, *titles: str) -> str:
    """Sections of a page."""
    return "".join(
        re.findall(rf"^## {re.escape(title)}\n.*?(?=^## )", page, re.M | re.S)[0] for title in titles
    )


def latest(folder: Path, kind: str) -> Path:
    """File of the latest date; names begin with it."""
    return max(folder.glob(f"*-{kind}.md"))


def _page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def section(readme: str, title: str) -> str:
    """One section of the README without its title, its link to a measured table turned to the page of the latest."""
    (text,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## )", readme, re.M | re.S)
    text = text.replace("](docs/", "](../")
    return re.sub(r"\(benchmarks/results/[\d-]+-(\w+)\.md\)", r"(../generated/benchmarks/\1.md)", text)


def summary(text: str) -> str:
    """Count the verdicts of the table of comparisons with R by case and verdict."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line[:1] == "|"
    ]
    head, *rest = rows
    case, verdict = head.index("case"), head.index("verdict")
    counts = Counter((row[case], row[verdict]) for row in rest[1:])
    verdicts = [
        name for name in ("pass", "R differs", "rule", "FAIL") if any(key[1] == name for key in counts)
    ]
    cases = dict.fromkeys(row[case] for row in rest[1:])
    return (
        table(["case", *verdicts], [[name, *(counts[name, kind] for kind in verdicts)] for name in cases])
        + "\n"
    )
