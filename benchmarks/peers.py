"""xdelnx beside its peers: fit and one test of the same counts, in alternating order.

    python -m benchmarks.peers --peers DIR      DIR as made by benchmarks/install_peers.sh

Each run is a process of its own. *Computing* is the fit and the test alone, with the data in
memory, the second time in that process (what takes long is done once); *whole
process* is from a cold shell to the end, without that repetition. Peers that are not installed are
named with the reason. The table goes to benchmarks/results/DATE-peers.md, all numbers to the
.json beside it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import atlas, measure, report
from benchmarks.atlas import COMMAND_LINE
from benchmarks.scenarios import SCENARIOS, Scenario

HERE = Path(__file__).parent
RESULTS = HERE / "results"
R_PEERS = ("glmGamPoi", "edgeR", "DESeq2")
PYTHON_PEERS = ("delnx", "pydeseq2", "inmoose", "edgepython", "crispyx")
OWN = ("xdelnx", "xdelnx command line", "xdelnx, first time")
SLOW = 10.0  # seconds: what takes longer is run once


@dataclass
class Peer:
    """A package to run: its command, given case and output folder, or why there is none."""

    name: str
    command: list[str] = field(default_factory=list)
    missing: str | None = None


def find_peers(names: Sequence[str], folder: Path | None) -> list[Peer]:
    """Say how to run each, in the order given."""
    return [_find(name, folder) for name in names]


def _find(name: str, folder: Path | None) -> Peer:
    adapters = HERE / "adapters"
    if name in OWN:
        return Peer(name, [sys.executable, str(adapters / "xdelnx_adapter.py")])
    if name in R_PEERS:
        rscript = shutil.which("Rscript")
        command = [str(rscript), str(adapters / "r_peers.R"), name]
        return Peer(name, command, None if rscript else "no Rscript on the path")
    python = None if folder is None else folder / name / "bin" / "python"
    if python is None or not python.exists():
        why = "no folder of peers given" if folder is None else "does not install here"
        return Peer(name, missing=why)
    return Peer(name, [str(python), str(adapters / f"{name}_adapter.py")])


def run_once(peer: Peer, scenario: Scenario, case: Path, out: Path, limit: float) -> dict[str, Any]:
    """Run a peer on a case in a process of its own: what it cost, or why it failed."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    env = {"PYTHONPATH": str(HERE.parent), "MPLBACKEND": "Agg"}
    command = [*peer.command, str(case), str(out)]
    if peer.name == "xdelnx command line":
        stores = [str(case / "counts.zarr"), str(out / "fit.zarr")]
        command = [*COMMAND_LINE, "fit", *stores, "--design", scenario.formula]
        command += ["--contrasts", _about(case)["coefficient"]]
    if peer.name == "xdelnx, first time":
        env["NUMBA_CACHE_DIR"] = str(out / "kernels")
    cost = measure.run(command, out / "log.txt", env=env, limit=limit)
    record = cost.record
    if cost.timed_out:
        return record | {"failed": f"stopped after {limit:.0f} s"}
    if cost.status != 0:
        ended = f"ended by signal {-cost.status}, from outside" if cost.status < 0 else cost.said[:160]
        return record | {"failed": ended or f"exit status {cost.status}"}
    if peer.name == "xdelnx command line":
        return record
    timings = json.loads((out / "timings.json").read_text())
    record["whole"] -= timings["repetition"]
    if peer.name == "xdelnx, first time":
        return record
    computing = timings["again"] if timings["again"] is not None else timings["first"]
    return record | {"computing": computing, **timings}


def _about(case: Path) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in (case / "case.txt").read_text().splitlines())


def measure_scenario(
    scenario: Scenario, peers: Sequence[Peer], work: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """Make the case, run every peer so many times, and compare their p-values."""
    case = work / scenario.name
    maker = [
        sys.executable,
        "-m",
        "benchmarks.scenarios",
        scenario.name,
        str(case),
        "--scale",
        str(args.scale),
    ]
    made = measure.run(maker, work / "make.txt", env={"PYTHONPATH": str(HERE.parent)})
    if made.status != 0:
        raise RuntimeError(made.said)
    _warm_up(peers, scenario, case, work, args.limit)
    records: dict[str, list[dict[str, Any]]] = {peer.name: [] for peer in peers}
    for number in range(args.runs):
        for peer in peers if number % 2 == 0 else reversed(peers):
            if not _wanted(peer, scenario, records[peer.name]):
                continue
            records[peer.name].append(_run_undisturbed(peer, scenario, case, work, args))
    skipped = {peer.name: peer.missing or scenario.skip.get(peer.name) for peer in peers}
    result = {
        "title": scenario.title,
        "case": _about(case),
        "runs": records,
        "skipped": {name: why for name, why in skipped.items() if why},
        "agreement": report.agreement({p.name: work / "out" / _slug(p) / "pvalues.bin" for p in peers}),
    }
    shutil.rmtree(case)
    return result


def _run_undisturbed(
    peer: Peer, scenario: Scenario, case: Path, work: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """Run again where other processes took part of the machine; the least disturbed run counts."""
    tried: list[dict[str, Any]] = []
    for _ in range(1 + args.retries):
        measure.wait_until_quiet(args.pause)
        tried.append(run_once(peer, scenario, case, work / "out" / _slug(peer), args.limit))
        _say(scenario, peer, tried[-1])
        if not tried[-1]["others"] > report.DISTURBED or tried[-1]["whole"] > SLOW or "failed" in tried[-1]:
            break
    return min(tried, key=lambda record: record["others"])


def _warm_up(peers: Sequence[Peer], scenario: Scenario, case: Path, work: Path, limit: float) -> None:
    """One run that does not count: kernels get compiled and files come into the system's cache."""
    for peer in peers:
        if peer.name == "xdelnx":
            run_once(peer, scenario, case, work / "out" / _slug(peer), limit)


def _wanted(peer: Peer, scenario: Scenario, done: list[dict[str, Any]]) -> bool:
    if peer.missing or peer.name in scenario.skip:
        return False
    slow = bool(done) and done[-1]["whole"] > SLOW
    once = bool(done) and peer.name == "xdelnx, first time"
    return not (once or slow or (done and "failed" in done[-1]))


def _slug(peer: Peer) -> str:
    return peer.name.replace(",", "").replace(" ", "_")


def _say(scenario: Scenario, peer: Peer, record: dict[str, Any]) -> None:
    outcome = record.get("failed") or f"computing {record.get('computing', float('nan')):.3f} s"
    print(
        f"{time.strftime('%H:%M:%S')} {scenario.name:12s} {peer.name:20s} {outcome}, "
        f"whole {record['whole']:.2f} s, peak {record['peak_mb']:.0f} MB, others {record['others']:.2f}",
        flush=True,
    )


def measure_atlas(work: Path, args: argparse.Namespace) -> dict[str, Any]:
    """68,579 x 20,000 at 3 %, from Zarr to Zarr, by the command line."""
    case = work / "atlas"
    size = ["--cells", str(int(atlas.CELLS * args.scale)), "--genes", str(int(atlas.GENES * args.scale))]
    maker = [sys.executable, "-m", "benchmarks.atlas", *size, "--work", str(case), "--runs", "0"]
    env = {"PYTHONPATH": str(HERE.parent)}
    made = measure.run(maker, work / "make.txt", env=env, limit=3600)
    if made.status != 0:
        raise RuntimeError(made.said)
    runs = []
    for _ in range(args.runs):
        runs.append(atlas.run_fit(case, args.limit, args.pause))
        print(f"{time.strftime('%H:%M:%S')} atlas {runs[-1]}", flush=True)
    stored = atlas.stored_bytes(case / atlas.STORE)
    shutil.rmtree(case)
    return {"runs": runs, "stored_mb": stored / 1e6, "made_in": made.seconds}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write the table."""
    args = _arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="xdelnx-benchmark-", dir=args.work))
    measure.wait_until_quiet(args.wait)
    result: dict[str, Any] = {
        "machine": measure.machine(),
        "runs": args.runs,
        "scale": args.scale,
        "scenarios": {},
    }
    result["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = args.out / f"{result['date']}-{args.name}"
    if args.add:
        earlier = json.loads(path.with_name(path.name + ".json").read_text())
        result["scenarios"] = earlier["scenarios"]
        result |= {"atlas": earlier["atlas"]} if "atlas" in earlier else {}
    try:
        for name in args.scenarios:
            if name == "atlas":
                result["atlas"] = measure_atlas(work, args)
            else:
                peers = find_peers(args.only, args.peers)
                result["scenarios"][name] = measure_scenario(SCENARIOS[name], peers, work, args)
            report.write(result, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"wrote {path}.md")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", type=Path, help="folder with the environments of the Python peers")
    everything = [*OWN, *R_PEERS, *PYTHON_PEERS]
    parser.add_argument("--only", nargs="+", default=everything, choices=everything, metavar="PEER")
    scenarios = [*SCENARIOS, "atlas"]
    parser.add_argument("--scenarios", nargs="+", default=scenarios, choices=scenarios, metavar="NAME")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the problems, to try this out")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds a run may take")
    parser.add_argument(
        "--wait", type=float, default=0.0, help="minutes to wait for a quiet machine at the start"
    )
    parser.add_argument("--pause", type=float, default=0.0, help="the same before each run")
    parser.add_argument("--retries", type=int, default=0, help="of a run that other processes disturbed")
    parser.add_argument("--add", action="store_true", help="to what the same file of today holds already")
    parser.add_argument("--work", type=Path, default=os.environ.get("TMPDIR"), help="folder for the data")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--name", default="peers")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
