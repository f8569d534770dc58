"""Command: manage.py resilient_http, with a subcommand for each thing that it can say about RESILIENT_HTTP."""

from __future__ import annotations

import argparse
import json
from typing import Any, Protocol

from django.core.management.base import BaseCommand, CommandError, CommandParser

from resilient_http import SettingsError, plan
from resilient_http_django.conf import read_settings


class Subcommand(Protocol):
    """What `manage.py resilient_http NAME` does. The first line of its docstring is its help."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add those of its own."""

    def run(self, options: dict[str, Any]) -> str:
        """Do it. Gives what is printed."""


class Plan:
    """Say what RESILIENT_HTTP means: the worst case in seconds, the most requests, when circuits open."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """A rate, and JSON."""
        parser.add_argument("--rate", type=float, default=100.0, help="calls a second to each upstream (default: 100)")
        parser.add_argument("--json", action="store_true", help="JSON instead of a table")

    def run(self, options: dict[str, Any]) -> str:
        """The plan."""
        found = plan(read_settings(), rate=options["rate"])
        return json.dumps(found.as_dict()) if options["json"] else found.as_table()


SUBCOMMANDS: dict[str, Subcommand] = {"plan": Plan()}


class Command(BaseCommand):
    """manage.py resilient_http."""

    help = "Looks at RESILIENT_HTTP."

    def add_arguments(self, parser: CommandParser) -> None:
        """One subparser for each subcommand."""
        subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
        for name, subcommand in SUBCOMMANDS.items():
            told = (subcommand.__doc__ or "").partition("\n")[0]
            subcommand.arguments(subparsers.add_parser(name, help=told, description=told))

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the one that is asked for."""
        try:
            self.stdout.write(SUBCOMMANDS[options["subcommand"]].run(options))
        except SettingsError as exc:
            raise CommandError(str(exc)) from None
