"""The command line, from its parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from documentation.tables import code, table
from xdelnx.cli.options import parser


def subparsers(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Every command by its name."""
    (commands,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def pages() -> dict[str, str]:
    """One page with every command, its arguments and its options."""
    top = parser()
    parts = [
        "# Command line\n",
        "Exit status: 0, done; 1, failed, with the reason in the last line; 2, called the wrong way. "
        "Options carry the names of the [functions'](api/index.md) arguments; "
        "`python -m xdelnx` is the same command.\n",
    ]
    for name, command in subparsers(top).items():
        parts += [f"## xdelnx {name}\n", *_command(command)]
    return {"cli.md": "\n".join(parts)}


def _command(command: argparse.ArgumentParser) -> Iterator[str]:
    if command.description:
        yield command.description + "\n"
    usage = command.format_usage().removeprefix("usage: ")
    yield f"```text\n{usage}```\n"
    rows = [
        (_spelled(action), _explained(command, action))
        for action in command._actions
        if action.dest != "help"
    ]
    yield table(("argument", "what it is"), rows) + "\n"
    if command.epilog:
        lines = [line.strip() for line in command.epilog.splitlines() if line.startswith("  ")]
        yield "```console\n" + "\n".join(f"$ {line}" for line in lines) + "\n```\n"


def _spelled(action: argparse.Action) -> str:
    names = action.option_strings or [str(action.metavar or action.dest)]
    value = str(action.metavar or "")
    if action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    takes_value = action.option_strings and action.nargs != 0 and value
    return ", ".join(code(f"{name} {value}" if takes_value else name) for name in names)


def _explained(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = command._get_formatter()._expand_help(action) if action.help else ""
    return text.replace("*", r"\*").replace("<", "&lt;")
