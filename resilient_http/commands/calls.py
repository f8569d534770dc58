"""Show the last degraded calls of a running service: what became of each, and why.

The exit status is 2 where one of them is not understood.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from resilient_http.commands.asking import UNUSABLE, Asked, Write, address, ask, positive
from resilient_http.console.foreign import told
from resilient_http.console.remote import NoConsoleError
from resilient_http.journal import Entry
from resilient_http.simulate.table import seconds

EVERY = 1.0  # seconds

Told = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Whose, and which."""
    own(parser)
    address(parser)


def own(parser: argparse.ArgumentParser) -> None:
    """Those beside the address."""
    parser.add_argument("--follow", action="store_true", help="go on, and show each one as it comes; Ctrl-C ends it")
    parser.add_argument("--upstream", metavar="NAME", help="those to one upstream alone")
    parser.add_argument("--seconds", type=positive, help="with --follow: how long (default: until Ctrl-C)")


def run(options: argparse.Namespace) -> int:
    """Print them."""
    return ask(tell, options)


def tell(options: argparse.Namespace, console: Asked, write: Write) -> int:
    """Those that there are, the oldest first, and those that come."""
    shown: set[tuple[Any, ...]] = set()
    calls = _asked(options, console)
    if not calls and not options.follow:
        write("no call was degraded lately")
    ends = time.monotonic() + (options.seconds or float("inf"))
    away = ""
    while True:
        for line in (line for call in calls if _key(call) not in shown for line in _lines(call)):
            write(line)
        shown = shown if away else {_key(call) for call in calls}
        if not options.follow or time.monotonic() >= ends:
            return UNUSABLE if any(call["not_understood"] for call in calls) else 0
        time.sleep(EVERY)
        before = away
        try:
            calls, away = _asked(options, console), ""
        except NoConsoleError as exc:
            calls, away = [], str(exc)
        if away != before:
            write(away or "it answers again")


def _asked(options: argparse.Namespace, console: Asked) -> list[Told]:
    """Those to show, the oldest first."""
    return [call for call in reversed(console.snapshot()["degraded"]) if options.upstream in (None, call["upstream"])]


def _key(call: Told) -> tuple[Any, ...]:
    return (call["host"], call["pid"], call["at"], call["upstream"], call["took"])


def _lines(call: Told) -> Iterator[str]:
    at = "--:--:--" if call["at"] is None else time.strftime("%H:%M:%S", time.localtime(call["at"]))
    what = call["route"] or f"{call['method']} {call['upstream']}"
    where = what if call["route"] is None else f"{what} of {call['upstream']}"
    result = call["status"] or call["error"]
    yield f"{at} {call['kind']}: {where}: {result} after {seconds(call['took'])} (process {call['pid'] or '?'})"
    for attempt in call["attempts"]:
        yield f"    {Entry.told(attempt)}"
    for note in call["notes"]:
        yield f"    {note}"
    if call["not_understood"]:
        yield f"    {told(call['not_understood'])}"
