"""Command: manage.py resilient_http, with a subcommand for each thing that it can say or do about RESILIENT_HTTP."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from resilient_http import ConsoleCommand, SettingsError, console_commands, plan
from resilient_http_django.conf import get_resilience, read_settings

HEARD = 2.5  # seconds after which all workers have said how they stand
TOLD = 5.0  # seconds in which they are to hear of an action

Write = Callable[[str], object]


class Subcommand(Protocol):
    """What `manage.py resilient_http NAME` does. The first line of its description is its help."""

    @property
    def description(self) -> str:
        """What it does."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add those of its own."""

    def run(self, options: argparse.Namespace, write: Write) -> int:
        """Do it, and write down what there is to say. Gives the exit status."""


class Plan:
    """The plan."""

    description = "Say what RESILIENT_HTTP means: the worst case in seconds, the most requests, when circuits open."

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """A rate, and JSON."""
        parser.add_argument("--rate", type=float, default=100.0, help="calls a second to each upstream (default: 100)")
        parser.add_argument("--json", action="store_true", help="JSON instead of a table")

    def run(self, options: argparse.Namespace, write: Write) -> int:
        """Write it down."""
        found = plan(read_settings(), rate=options.rate)
        write(json.dumps(found.as_dict()) if options.json else found.as_table())
        return 0


class Check:
    """Django's checks that are ours."""

    description = "Say what is wrong in RESILIENT_HTTP, and what is likely wrong: manage.py check, with ours alone."

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Those of `manage.py check` that matter here."""
        parser.add_argument("--deploy", action="store_true", help="tell what only matters in a deployment too")
        parser.add_argument(
            "--fail-level", default="ERROR", choices=("ERROR", "WARNING"), help="from which on it fails"
        )

    def run(self, options: argparse.Namespace, write: Write) -> int:
        """Check; Django writes down what it finds."""
        call_command("check", tags=["resilient_http"], deploy=options.deploy, fail_level=options.fail_level)
        return 0


class OfConsole:
    """A subcommand that asks the console of the workers: through the Redis that they share, or one by its address.

    Args:
        command: What it does.
    """

    def __init__(self, command: ConsoleCommand) -> None:
        self._command = command
        self.description = command.description

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Those of the command."""
        self._command.arguments(parser)

    def run(self, options: argparse.Namespace, write: Write) -> int:
        """Ask."""
        settings = read_settings()
        if options.url is not None:
            token = settings.console.token
            return self._command.run(options, None, write, None if token is None else token.get_secret_value())
        if settings.shared is None:
            message = (
                "every worker knows its own calls alone, and this command is another process: give --url, where a"
                " worker's live page is mounted, or configure SHARED (docs/live-page.md), so that all are seen"
            )
            raise CommandError(message)
        with get_resilience() as resilience:
            resilience.console.snapshot()
            time.sleep(HEARD)
            status = self._command.run(options, resilience.console, write)
            if not resilience.console.flush(TOLD):
                message = f"the workers may not have heard of it: Redis did not answer within {TOLD:g} s"
                raise CommandError(message)
        return status


SUBCOMMANDS: dict[str, Subcommand] = {
    "check": Check(),
    "plan": Plan(),
    **{name: OfConsole(command) for name, command in console_commands().items()},
}


class Command(BaseCommand):
    """manage.py resilient_http."""

    help = "Looks at RESILIENT_HTTP, and at the workers that run under it."
    requires_system_checks = ()  # in an incident it is to run, whatever else is wrong with the project

    def add_arguments(self, parser: CommandParser) -> None:
        """One subparser for each subcommand."""
        subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
        for name, subcommand in SUBCOMMANDS.items():
            told = subcommand.description
            subcommand.arguments(subparsers.add_parser(name, help=told.partition("\n")[0], description=told))

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the one that is asked for."""
        try:
            status = SUBCOMMANDS[options["subcommand"]].run(argparse.Namespace(**options), self._write)
        except (SettingsError, OSError) as exc:
            raise CommandError(str(exc)) from None
        if status:
            sys.exit(status)

    def _write(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
