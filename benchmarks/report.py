"""Medians, ratios and agreement as JSON and as a table to read."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

# scenario, peers, what is compared, at least so many times faster
FASTEST_PYTHON = ("delnx", "pydeseq2", "inmoose", "edgepython", "crispyx")
TARGETS = [
    ("pb28", ("glmGamPoi",), "computing", 20.0),
    ("pb28", ("edgeR",), "computing", 8.0),
    ("pb28", ("delnx",), "computing", 40.0),
    ("pb28", FASTEST_PYTHON, "computing", 3.0),
    ("pb28", ("edgeR",), "whole", 1.0),
    ("multi60", ("glmGamPoi",), "computing", 15.0),
    ("cells5k", ("glmGamPoi",), "computing", 60.0),
    ("cells5k_cov", ("glmGamPoi",), "computing", 15.0),
    ("cells50k", ("glmGamPoi",), "computing", 100.0),
]
DISTURBED = 0.25  # cores that other processes kept busy during a run
ATLAS_SECONDS, ATLAS_MB = 30.0, 3000.0


def usable(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs that did not fail; of these the undisturbed, if there are any."""
    done = [record for record in records if "failed" not in record]
    return [record for record in done if not record["others"] > DISTURBED] or done


def values_of(records: list[dict[str, Any]], key: str) -> list[float]:
    """Values of the runs that count; disturbed ones do not take longer than their processor seconds."""
    values = []
    for record in usable(records):
        if key == "computing" and record["others"] > DISTURBED and key in record:
            values.append(min(record[key], record.get("processor", record[key])))
        elif key in record:
            values.append(record[key])
    return values


def middle(records: list[dict[str, Any]], key: str) -> float | None:
    """Median over the runs that have it."""
    values = values_of(records, key)
    return median(values) if values else None


def spread(records: list[dict[str, Any]], key: str) -> str:
    """Smallest to largest."""
    values = values_of(records, key)
    return f"{_seconds(min(values))} to {_seconds(max(values))}" if len(values) > 1 else ""


def agreement(files: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Of each peer's p-values with those of xdelnx: correlation of log10 p, of ranks; genes at 5 % FDR."""
    found = {name: np.fromfile(path) for name, path in files.items() if path.exists()}
    own = found.get("xdelnx")
    if own is None:
        return {}
    return {name: _agreement(own, p) for name, p in found.items() if p.size == own.size}


def _agreement(own: np.ndarray, p: np.ndarray) -> dict[str, float]:
    both = np.isfinite(own) & np.isfinite(p)
    logs = [np.log10(np.maximum(values[both], 1e-300)) for values in (own, p)]
    ranks = [np.argsort(np.argsort(values[both])) for values in (own, p)]
    enough = both.sum() > 2
    return {
        "log10_p": float(np.corrcoef(*logs)[0, 1]) if enough else float("nan"),
        "ranks": float(np.corrcoef(*ranks)[0, 1]) if enough else float("nan"),
        "significant": significant(p),
        "shared": int(np.sum(_rejected(own) & _rejected(p))),
        "tested": int(np.isfinite(p).sum()),
    }


def _rejected(p: np.ndarray, level: float = 0.05) -> np.ndarray:
    """Genes that Benjamini-Hochberg rejects."""
    ordered = np.sort(p[np.isfinite(p)])
    below = np.flatnonzero(ordered <= level * np.arange(1, ordered.size + 1) / max(ordered.size, 1))
    return p <= ordered[below[-1]] if below.size else np.zeros(p.shape, dtype=bool)


def significant(p: np.ndarray) -> int:
    """How many genes are significant at a false discovery rate of 5 %."""
    return int(_rejected(p).sum())


def write(result: dict[str, Any], path: Path) -> None:
    """Write PATH.json and PATH.md."""
    path.with_name(path.name + ".json").write_text(json.dumps(result, indent=1) + "\n")
    path.with_name(path.name + ".md").write_text(markdown(result))


def markdown(result: dict[str, Any]) -> str:
    """The whole report."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    head = [
        f"# xdelnx beside its peers, {result['date']}",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}; "
        f"Python {machine['python']}, {versions}. Revision {machine['revision']}. Load at the start "
        f"{machine['load_at_start']}; other processes kept {_disturbance(result)} cores busy during the runs "
        "that count.",
        "",
        f"Medians of {result['runs']} runs or more in alternating order (one run of what takes over 10 s), each a "
        "process of its own, of a fit and one test of the same counts. *Computing*: counts in memory, second call in "
        "the process (the first where that takes long). *Whole process*: from a cold shell, reading the data "
        "included. *x*: times xdelnx. *Peak*: resident memory of the largest process. *n*: the runs that count, "
        f"during which other processes used less than {DISTURBED} cores; or all (*) where there is none, with the "
        "smaller of elapsed and processor seconds for computing. *log p*: correlation of log10 p-values with those "
        "of xdelnx; *rank*: of their ranks; *5 %*: genes at that false discovery rate, and in brackets those that "
        "xdelnx finds, too.",
    ]
    if result["scale"] != 1.0:
        head += ["", f"Problems scaled down to {result['scale']}: this is a trial, no measurement."]
    parts = [_targets(result)] + [_table(part) for part in result["scenarios"].values()]
    if "atlas" in result:
        parts.append(_atlas(result["atlas"]))
    return "\n".join([*head, "", *[line for part in parts for line in part]]).rstrip() + "\n"


def _disturbance(result: dict[str, Any]) -> str:
    """Cores that other processes used: median and largest over the runs that count."""
    parts = [records for part in result["scenarios"].values() for records in part["runs"].values()]
    parts.append(result.get("atlas", {}).get("runs", []))
    others = [record["others"] for records in parts for record in usable(records)]
    return f"{median(others):.2f} (median; at most {max(others):.2f})" if others else "no"


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _table(part: dict[str, Any]) -> list[str]:
    lines = [
        f"## {part['title']} ({float(part['case']['non_zero']):.0%} non-zero, {part['case']['source']})",
        "",
        "| | n | computing, s | spread | x | whole process, s | spread | x | peak, MB | log p | rank | 5 % | version |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    own = part["runs"].get("xdelnx", [])
    for name, records in part["runs"].items():
        if records and "failed" not in records[-1]:
            lines.append(_row(name, records, own, part["agreement"].get(name, {})))
    skipped = dict(part["skipped"])
    skipped |= {
        name: runs[-1]["failed"] for name, runs in part["runs"].items() if runs and "failed" in runs[-1]
    }
    notes = {n: runs[-1]["note"] for n, runs in part["runs"].items() if runs and runs[-1].get("note")}
    for title, texts in (("Not run", skipped), ("Note", notes)):
        if texts:
            lines += ["", f"{title}: " + "; ".join(f"{name}: {text}" for name, text in texts.items()) + "."]
    return [*lines, ""]


def _row(
    name: str, records: list[dict[str, Any]], own: list[dict[str, Any]], agrees: dict[str, float]
) -> str:
    disturbed = all(record["others"] > DISTURBED for record in usable(records))
    cells = [name, f"{len(usable(records))}{'*' if disturbed else ''}"]
    for key in ("computing", "whole"):
        value, base = middle(records, key), middle(own, key)
        ratio = "" if value is None or not base else f"{value / base:.1f}"
        cells += [_seconds(value), spread(records, key), ratio]
    cells.append(f"{middle(records, 'peak_mb') or 0:.0f}")
    if agrees:
        cells += [f"{agrees['log10_p']:.4f}", f"{agrees['ranks']:.4f}"]
        cells.append(f"{agrees['significant']} ({agrees['shared']})")
    else:
        cells += ["", "", ""]
    version = records[-1].get("versions", {}).get(name, "")
    python = records[-1].get("versions", {}).get("R")
    cells.append(f"{version} (R {python})" if python else version)
    return f"| {' | '.join(cells)} |"


def _targets(result: dict[str, Any]) -> list[str]:
    """What was aimed at, and what was seen."""
    lines = [
        "## Targets",
        "",
        "| case | against | what | at least | seen | |",
        "|---|---|---|---:|---:|---|",
    ]
    for scenario, names, what, least in TARGETS:
        part = result["scenarios"].get(scenario)
        if part is None:
            continue
        runs = {name: middle(part["runs"].get(name, []), what) for name in names}
        seen = {name: value for name, value in runs.items() if value is not None}
        own = middle(part["runs"].get(_own(what), []), what)
        if not seen or not own:
            continue
        best = min(seen, key=seen.__getitem__)
        label = best if len(names) == 1 else f"fastest Python peer ({best})"
        ratio = seen[best] / own
        text = "whole process, command line" if what == "whole" else what
        verdict = "holds" if ratio >= least else "missed"
        lines.append(f"| {part['title']} | {label} | {text} | {least:.0f} x | {ratio:.1f} x | {verdict} |")
    return [*lines, ""] if len(lines) > 4 else []


def _own(what: str) -> str:
    return "xdelnx command line" if what == "whole" else "xdelnx"


def _atlas(part: dict[str, Any]) -> list[str]:
    failed = [run["failed"] for run in part["runs"] if "failed" in run]
    title = "## 68,579 x 20,000 cells at about 3 % non-zero, ~ condition, from Zarr to Zarr"
    if failed:
        return [title, "", f"Failed: {failed[-1]}", ""]
    seconds, peak = middle(part["runs"], "whole") or 0.0, middle(part["runs"], "peak_mb") or 0.0
    verdict = "holds" if seconds < ATLAS_SECONDS and peak < ATLAS_MB else "missed"
    return [
        title,
        "",
        f"`xdelnx fit` from a cold shell: {_seconds(seconds)} s ({spread(part['runs'], 'whole')}), peak {peak:.0f} MB; "
        f"the store has {part['stored_mb']:.0f} MB. Aim: under {ATLAS_SECONDS:.0f} s and {ATLAS_MB:.0f} MB: {verdict}.",
        "",
    ]
