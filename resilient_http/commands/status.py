"""Say how the upstreams of a running service stand.

The exit status is 1 where one of them is in trouble, and 2 where that is not understood of one of them.
"""

from __future__ import annotations

import argparse
import json
import math

from resilient_http.commands.asking import UNUSABLE, Asked, Write, address, ask
from resilient_http.commands.rows import TITLES, rows, title
from resilient_http.simulate.table import aligned

TROUBLE = 30.0  # from which score on a person should look: an open circuit, all endpoints left alone, a third failing


def arguments(parser: argparse.ArgumentParser) -> None:
    """Whose, and how it is told."""
    own(parser)
    address(parser)


def own(parser: argparse.ArgumentParser) -> None:
    """Those beside the address."""
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")


def run(options: argparse.Namespace) -> int:
    """Print it."""
    return ask(tell, options)


def tell(options: argparse.Namespace, console: Asked, write: Write) -> int:
    """A table, or JSON."""
    snapshot = console.snapshot()
    found = rows(snapshot)
    if options.json:
        write(json.dumps(snapshot))
    else:
        write(title(snapshot))
        # What is wrong is a text of any length, and stands last.
        cells = [line for _, line in found]
        columns = [line[:-1] for line in (TITLES, *cells)]
        for start, line in zip(aligned(columns).splitlines(), (TITLES, *cells), strict=True):
            write(f"{start}  {line[-1]}".rstrip())
    if any(TROUBLE <= score < math.inf for score, _ in found):
        return 1
    return UNUSABLE if any(score == math.inf for score, _ in found) else 0
