"""Say what settings mean: the worst case in seconds, the most requests, when circuits open."""

from __future__ import annotations

import argparse
import json

from resilient_http.settings.loading import load_settings
from resilient_http.simulate.plan import plan


def arguments(parser: argparse.ArgumentParser) -> None:
    """Those of its own."""
    parser.add_argument("settings", metavar="FILE", help="settings: .toml, .yaml, .yml or .json")
    parser.add_argument("--rate", type=float, default=100.0, help="calls a second to each upstream (default: 100)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Print it."""
    found = plan(load_settings(options.settings, environment=None), rate=options.rate)
    print(json.dumps(found.as_dict()) if options.json else found.as_table())  # noqa: T201 - what it is for
    return 0
