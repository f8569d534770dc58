"""The command line that all benchmarks have."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any


def parser(script: str) -> argparse.ArgumentParser:
    """A parser that says what the docstring of the script says."""
    return argparse.ArgumentParser(description=script, formatter_class=argparse.RawDescriptionHelpFormatter)


def parse(own: argparse.ArgumentParser, quick: dict[str, Any]) -> argparse.Namespace:
    """The options.

    Args:
        own: With the options of the script's own.
        quick: What `--quick` makes of those that are not given.
    """
    own.add_argument("--quick", action="store_true", help="to try it out: too short to say anything; writes no results")
    own.add_argument("--results", type=Path, help="directory for the JSON and the picture (default: where they belong)")
    if own.parse_known_args()[0].quick:
        own.set_defaults(**quick)
    # Whoever is told to end, ends its servers first.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    return own.parse_args()


def progress(text: str) -> None:
    """Say how far it is, on stderr; on a terminal the next one takes its place."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:118]}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def progress_ends() -> None:
    """Leave the line to what is printed next."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
