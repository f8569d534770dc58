"""Force the circuits of an upstream open or closed, in a running service, for a time; or leave them to themselves.

    resilient-http circuit open payments --for 300 --url http://127.0.0.1:8000/resilience/

"auto" ends what was forced. Who did it is told in the log of the service.
"""

from __future__ import annotations

import argparse
import getpass
from typing import Any

from resilient_http.commands.asking import Asked, Write, address, ask, positive
from resilient_http.errors import SettingsError
from resilient_http.simulate.table import seconds

ACTIONS = {"open": "circuit open", "close": "circuit closed", "auto": "lift"}
LASTS = 600.0  # seconds


def arguments(parser: argparse.ArgumentParser) -> None:
    """What, and whose."""
    own(parser)
    address(parser)


def own(parser: argparse.ArgumentParser) -> None:
    """Those beside the address."""
    parser.add_argument(
        "position", choices=ACTIONS, help="open: nothing is sent; close: all is; auto: as it finds itself"
    )
    parser.add_argument("upstream", metavar="UPSTREAM", help='a name of the settings; "*" for all')
    parser.add_argument("--endpoint", metavar="URL", help="the circuit of that endpoint alone")
    parser.add_argument(
        "--for", dest="lasts", type=positive, default=LASTS, metavar="SECONDS",
        help=f"after which it is as before (default: {LASTS:g})",
    )  # fmt: skip
    parser.add_argument("--by", default="", help="who does it, for the log (default: your name here)")


def run(options: argparse.Namespace) -> int:
    """Do it."""
    return ask(tell, options)


def tell(options: argparse.Namespace, console: Asked, write: Write) -> int:
    """Do it, and say what was done."""
    action: dict[str, object] = {"upstream": options.upstream, "what": ACTIONS[options.position]}
    if options.position == "auto":
        action["about"] = "circuit"
        if options.endpoint is not None:
            write("what is forced ends for all endpoints")
    else:
        action["seconds"] = options.lasts
        if options.endpoint is not None:
            _check(options.endpoint, console.snapshot()["upstreams"].get(options.upstream))
            action["endpoint"] = options.endpoint
    done = console.act(action, options.by or _person())
    left = "" if options.position == "auto" else f" for {seconds(options.lasts)}"
    write(f"{options.upstream}: circuits {options.position}{left}, by {done['by']}, in {done['reaches']}")
    return 0


def _check(endpoint: str, row: dict[str, Any] | None) -> None:
    """Nobody notices in an incident that he has misspelt it."""
    known = [each["url"] for each in row["endpoints"]] if row is not None else [endpoint]
    if endpoint not in known:
        raise SettingsError(f"no endpoint {endpoint}; known: {', '.join(known)}", path="endpoint", value=endpoint)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "the command line"
