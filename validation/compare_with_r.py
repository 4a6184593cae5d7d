"""Compare xdelnx with R's own results on every reference case, and print the table.

    python validation/compare_with_r.py REFERENCE_DIR [--case NAME ...] [--write FILE]

Exit status 1 if a bar is missed and the likelihood does not speak for xdelnx.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import scipy
from quantities import BY_RULE, FAIL, PASS, R_DIFFERS, Row, rows
from reference_cases import CASES, GOLDEN, cases

import xdelnx

COLUMNS = ("case", "variant", "quantity", "bar", "measured", "verdict", "note")


def markdown(lines: Sequence[Row]) -> Iterator[str]:
    """Table, one string a line."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|" + " --- |" * len(COLUMNS)
    for row in lines:
        yield "| " + " | ".join(str(getattr(row, column)).replace("|", "\\|") for column in COLUMNS) + " |"


def summary(lines: Sequence[Row]) -> Iterator[str]:
    """Date, versions and counts of verdicts."""
    counts = Counter(row.verdict for row in lines)
    yield "# xdelnx against R"
    yield ""
    yield (
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, xdelnx {xdelnx.__version__}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}, Python {platform.python_version()}."
    )
    yield ""
    yield (
        f"{len(lines)} comparisons: {counts[PASS]} pass; {counts[R_DIFFERS]} miss the bar but R's own inputs or the "
        f"likelihood explain it (see the note); {counts[BY_RULE]} by a rule of the method; {counts[FAIL]} fail."
    )
    yield ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reference", type=Path, help="folder of the reference cases")
    parser.add_argument(
        "--case", action="append", choices=[*CASES, *GOLDEN], help="only this one; repeatable"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the table there")
    options = parser.parse_args(arguments)
    found = [case for case in cases(options.reference) if not options.case or case.name in options.case]
    if not found:
        parser.error(f"{options.reference} has no case; expected folders named {', '.join(CASES)}")
    lines = []
    for case in found:
        for variant in case.variants:
            print(f"{case.name} {variant}", file=sys.stderr)
            lines += rows(case, variant)
    text = "\n".join([*summary(lines), *markdown(lines)]) + "\n"
    print(text)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(text, encoding="utf-8")
    return int(any(row.verdict == FAIL for row in lines))


if __name__ == "__main__":
    sys.exit(main())
