"""The command that looks whether everything works."""

from __future__ import annotations

import argparse
from typing import Any

from xdelnx.cli.command import Command
from xdelnx.messages import counted, fail


def _add_doctor(commands: Any) -> argparse.ArgumentParser:
    add = commands.add_parser("doctor", help="say what is installed and whether it works", allow_abbrev=False)
    add.description = """\
Look at the packages and their versions, the machine, the scheduler and the compiled kernels, and run a small fit.
Exit status 0: all works; 1: something does not, and beside it stands what to do."""
    add.epilog = "examples:\n  xdelnx doctor\n  xdelnx doctor --scheduler tcp://host:8786"
    return add


def _doctor(args: argparse.Namespace) -> None:
    from xdelnx.cli.health import examined, findings

    problems = 0
    for topic, found in findings(args.scheduler):
        print(topic, flush=True)
        for finding in examined(found):
            print(f"  {'!' if finding.problem else ' '} {finding.text}", flush=True)
            if finding.advice:
                print(f"      {finding.advice}", flush=True)
            problems += finding.problem
    if problems:
        fail(f"{counted(problems, 'problem')}, marked ! above")
    print("All works.")


COMMANDS = (Command("doctor", _add_doctor, _doctor, writes=False),)
