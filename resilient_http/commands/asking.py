"""Asking: what the subcommands have in common that ask a console, another process's or their own.

Such a subcommand is a module with `own(parser)`, for the arguments beside the address, and `tell(options, console,
write)`, which gives the exit status.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from resilient_http.console.actions import ActionRefused
from resilient_http.console.foreign import understood
from resilient_http.console.remote import TOKEN, NoConsoleError, Remote

NAMES = ("status", "calls", "circuit")
UNUSABLE = 2  # exit status: it could not be looked at

Write = Callable[[str], object]


class Asked(Protocol):
    """A console: that of a Resilience, or a Remote."""

    def snapshot(self, process: str = "all") -> dict[str, Any]:
        """How everything stands; for commands as console/foreign.py makes it."""

    def act(self, action: Mapping[str, Any], by: str = "") -> dict[str, Any]:
        """Do something."""


class _Understood:
    """A console of this process, which has heard of others, as it would be asked over HTTP: see Remote."""

    def __init__(self, console: Asked) -> None:
        self._console = console

    def snapshot(self, process: str = "all") -> dict[str, Any]:
        return understood(self._console.snapshot(process))

    def act(self, action: Mapping[str, Any], by: str = "") -> dict[str, Any]:
        try:
            return self._console.act(action, by)
        except ActionRefused as exc:
            raise NoConsoleError(str(exc)) from None


class ConsoleCommand:
    """A subcommand that asks a console, for a framework that has commands of its own.

    Args:
        module: Its.

    Attributes:
        description: What it does; the first line is its help.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self.description = module.__doc__ or ""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add them: `--url` among them, which may be left out."""
        self._module.own(parser)
        address(parser, needed=False)

    def run(self, options: argparse.Namespace, console: Asked | None, write: Write, token: str | None = None) -> int:
        """Ask, and write down what a person wants to know, line by line.

        Args:
            options: The arguments.
            console: Whom to ask; None for whom `--url` names.
            write: Takes a line.
            token: Lets in there.

        Returns:
            The exit status: 0, or 1 for trouble.

        Raises:
            OSError: It does not answer, or refuses.
        """
        if console is None:
            with remote(options, token) as asked:
                return int(self._module.tell(options, asked, write))
        return int(self._module.tell(options, _Understood(console), write))


def console_commands() -> dict[str, ConsoleCommand]:
    """The subcommands that ask a console, by name."""
    return {name: ConsoleCommand(import_module(f"resilient_http.commands.{name}")) for name in NAMES}


def address(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    """The arguments that say which console is asked.

    Args:
        parser: Gets them.
        needed: Whether there must be an address.
    """
    parser.add_argument(
        "--url", required=needed, help="where the live page is mounted: http://127.0.0.1:8000/resilience/"
    )
    parser.add_argument(
        "--header", action="append", type=_header, default=[], metavar="'NAME: VALUE'",
        help=f"sent too, for who guards it otherwise than by the token that {TOKEN} names",
    )  # fmt: skip


def remote(options: argparse.Namespace, token: str | None = None) -> Remote:
    """The console that the arguments of address() name."""
    return Remote(options.url, token or os.environ.get(TOKEN), options.header)


def ask(tell: Callable[[argparse.Namespace, Asked, Write], int], options: argparse.Namespace) -> int:
    """Have a subcommand ask the console that the arguments name; the exit status."""
    with remote(options) as console:
        return tell(options, console, _print)


def positive(text: str) -> float:
    """A number of seconds, of an argument."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


positive.__name__ = "number of seconds above 0"  # as argparse tells it


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError
    return name.strip(), value.strip()


_header.__name__ = "'NAME: VALUE'"


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what it is for
