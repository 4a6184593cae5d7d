"""Write tables with the date and the machine."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import machine

RESULTS = Path(__file__).parent / "results"


def write_table(
    name: str,
    title: str,
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]],
    folder: str | Path | None = None,
) -> None:
    """Print tables (title, head, rows) and write them to FOLDER/DATE-NAME.md and .json."""
    date, about = datetime.datetime.now(datetime.UTC).date().isoformat(), machine()
    versions = ", ".join(f"{key} {number}" for key, number in about["versions"].items())
    lines = [
        f"# {title}, {date}",
        "",
        f"{about['processor']}, {about['cores']} cores, {about['memory_gb']} GB; Python {about['python']}, {versions}. "
        f"Load {about['load_at_start']}.",
        "",
    ]
    for heading, head, rows in tables:
        lines += [f"## {heading}", ""] if heading else []
        lines += [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in rows] + [""]
    print("\n".join(lines))
    path = Path(folder or RESULTS)
    path.mkdir(parents=True, exist_ok=True)
    (path / f"{date}-{name}.md").write_text("\n".join(lines).rstrip() + "\n")
    contents = {"date": date, "machine": about, "tables": [list(table) for table in tables]}
    (path / f"{date}-{name}.json").write_text(json.dumps(contents, indent=1) + "\n")
