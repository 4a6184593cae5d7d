"""Command of the study: run what is missing, then write the page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from validation.study import page, peers, running
from validation.study.grid import FORMS


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a form of the study, going on where it stopped, and write its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--form", choices=FORMS, default="small", help="minutes, or hours (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("study-output"), help="folder of the results (default: %(default)s)"
    )
    parser.add_argument("--sets", type=int, help="data sets a cell instead of the form's")
    parser.add_argument(
        "--peer-sets", type=int, help="most data sets a cell for the peers, which take longer"
    )
    parser.add_argument(
        "--cells", nargs="+", metavar="NAME", help="only kinds of data whose names begin so (default: all)"
    )
    parser.add_argument(
        "--real", type=Path, help="folder of the airway reference, for the cells of real counts"
    )
    parser.add_argument("--peers", type=Path, metavar="DIR", help="environments of the Python peers")
    parser.add_argument("--ours-alone", action="store_true", help="leave out all peers")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    options = parser.parse_args(arguments)
    cells, sets = FORMS[options.form]
    cells = [cell for cell in cells if cell.name.startswith(tuple(options.cells or [""]))]
    sets = options.sets or sets
    versions, missing = ({}, {}) if options.ours_alone else peers.installed(options.peers)
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.jsonl"
    done = {(row["cell"], row["seed"], row["method"]) for row in running.read(results)}
    where = {"real": options.real, "environments": options.peers}
    todo = list(
        running.tasks(cells, sets, list(versions), done, peer_sets=options.peer_sets or sets, **where)
    )
    running.run(todo, results, options.workers)
    page.write(running.read(results), options.out, versions, missing, options.real)


if __name__ == "__main__":
    main()
