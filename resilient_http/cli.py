"""The command resilient-http: one file in `commands/` for each of its subcommands, imported when it is asked for.

A subcommand is a module with a docstring (its first line is the help), `arguments(parser)` and `run(options)`, which
gives the exit status: 0 when all is well, 1 when what was looked at is not, 2 when it could not be looked at.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from resilient_http.commands.asking import UNUSABLE
from resilient_http.errors import SettingsError

COMMANDS: tuple[str, ...] = (
    "calls", "check", "circuit", "dashboards", "plan", "schema", "simulate", "status", "top",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand that the arguments name; the exit status."""
    parser = argparse.ArgumentParser(
        prog="resilient-http", description="Look at settings and try them out, and look at a service that runs."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    modules = {name: import_module(f"resilient_http.commands.{name}") for name in COMMANDS}
    for name, module in modules.items():
        own = subparsers.add_parser(name, help=_first_line(module), description=module.__doc__)
        module.arguments(own)
    options = parser.parse_args(arguments)
    try:
        status: int = modules[options.command].run(options)
    except (SettingsError, OSError) as exc:
        print(f"resilient-http {options.command}: {exc}", file=sys.stderr)  # noqa: T201
        return UNUSABLE
    except KeyboardInterrupt:
        return 130
    return status


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0]
