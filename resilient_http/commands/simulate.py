"""Try settings against a scenario, on a virtual clock."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from resilient_http.errors import SettingsError
from resilient_http.settings.loading import load_settings
from resilient_http.settings.models import Settings
from resilient_http.simulate.picture import check_drawable, draw
from resilient_http.simulate.plain import plain
from resilient_http.simulate.result import Result, table_of
from resilient_http.simulate.run import simulate
from resilient_http.simulate.scenario import load_scenario, shipped

PLAIN = "plain"
SILENT = 2.0  # seconds without a word
SAID_EVERY = 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Those of its own."""
    parser.add_argument("settings", metavar="SETTINGS", nargs="?", help="settings: .toml, .yaml, .yml or .json")
    parser.add_argument("--scenario", metavar="NAME|FILE", help="what happens: one of --list, or a TOML file")
    parser.add_argument("--list", action="store_true", help="the scenarios that come with the library")
    parser.add_argument(
        "--compare", metavar="OTHER", help='other settings, in the same table and picture; "plain" for plain retries'
    )
    parser.add_argument("--upstream", metavar="NAME", help="which upstream (default: the only one)")
    parser.add_argument("--seed", type=int, default=1, help="another one is another run (default: 1)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--picture", metavar="FILE", help="draw it too: .svg or .png")


def run(options: argparse.Namespace) -> int:
    """Print a table, or JSON; draw a picture."""
    if options.list:
        width = max(map(len, shipped()))
        _say("\n".join(f"{name.ljust(width)}  {title}" for name, title in shipped().items()))
        return 0
    if options.settings is None or options.scenario is None:
        raise SettingsError("SETTINGS and --scenario are needed, or --list")
    if options.picture is not None:
        check_drawable(options.picture)  # before the run, and not after it
    files = [options.settings, *([options.compare] if options.compare else [])]
    results = {_name(file, files): _result(file, _settings(file, options), options) for file in files}
    if options.json:
        _say(json.dumps({name: result.as_dict() for name, result in results.items()}))
    else:
        _say(table_of(results))
    if options.picture is not None:
        draw(results, options.picture)
    return 0


def _settings(file: str, options: argparse.Namespace) -> Settings:
    return (
        plain(load_settings(options.settings, environment=None))
        if file == PLAIN
        else load_settings(file, environment=None)
    )


def _result(file: str, settings: Settings, options: argparse.Namespace) -> Result:
    scenario = load_scenario(options.scenario)
    progress = Progress(f"{Path(file).name}, {options.scenario}")
    try:
        return simulate(settings, scenario, upstream=options.upstream, seed=options.seed, progress=progress)
    except KeyError as exc:
        raise SettingsError(f"{file}: {exc.args[0]}") from None
    finally:
        progress.ends()


class Progress:
    """Says on stderr how far a run is that takes long.

    Args:
        what: The run.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = time.monotonic() + SILENT
        self._said = False

    def __call__(self, share: float) -> None:
        """So much of it is over."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SAID_EVERY
            self._said = True
            end = "" if sys.stderr.isatty() else "\n"
            print(f"\r{self._what}: {share:.0%}", end=end, file=sys.stderr, flush=True)  # noqa: T201

    def ends(self) -> None:
        """Leave the line to what is printed next."""
        if self._said and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # noqa: T201


def _name(file: str, files: list[str]) -> str:
    """How results are told apart: by the files' names, by their paths where those are alike."""
    names = [Path(each).stem for each in files]
    return Path(file).stem if len(set(names)) == len(names) else file


def _say(text: str) -> None:
    print(text)  # noqa: T201 - what it is for
