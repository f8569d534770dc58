"""Watch the upstreams of a running service, live; the one with most trouble stands first. Ctrl-C ends it.

Where the terminal is narrow, the columns that matter least are left out, and the last line names them.

Needs rich, of the extra `top`: pip install "resilient-http[top]"
"""

from __future__ import annotations

import argparse
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from resilient_http.commands.asking import Asked, address, positive, remote
from resilient_http.commands.rows import GAP, NAMES, TITLES, fitting, longest_name, rows, title
from resilient_http.console.remote import NoConsoleError
from resilient_http.errors import SettingsError

EVERY = 1.0  # seconds
BAD, DOUBTFUL = 30.0, 5.0  # scores


def arguments(parser: argparse.ArgumentParser) -> None:
    """Whose, and for how long."""
    address(parser)
    parser.add_argument("--seconds", type=positive, help="how long (default: until Ctrl-C)")


def run(options: argparse.Namespace) -> int:
    """Draw it anew each second. While the service does not answer, what is known stays, and the caption says so."""
    if find_spec("rich") is None:
        message = 'top: needs rich, of the extra top: pip install "resilient-http[top]"'
        raise SettingsError(message, path="top")
    console, live = import_module("rich.console"), import_module("rich.live")
    screen = console.Console()
    with remote(options) as asked:
        table = _table(
            asked.snapshot(), screen.width
        )  # before the screen is taken: what is wrong from the start is said as an error
        ends = time.monotonic() + (options.seconds or float("inf"))
        with live.Live(table, console=screen, screen=screen.is_terminal, auto_refresh=False) as shown:
            while time.monotonic() < ends:
                time.sleep(EVERY)
                table = _next(asked, table, screen.width)
                shown.update(table, refresh=True)
    return 0


def _next(asked: Asked, table: Any, width: int) -> Any:
    try:
        return _table(asked.snapshot(), width)
    except NoConsoleError as exc:
        table.caption, table.caption_style = import_module("rich.text").Text(str(exc)), "red"
        return table


def _table(snapshot: dict[str, Any], width: int) -> Any:
    tables, text = import_module("rich.table"), import_module("rich.text")
    at = "" if snapshot["time"] is None else time.strftime(", at %H:%M:%S", time.localtime(snapshot["time"]))
    found = rows(snapshot)
    shown = fitting([TITLES, *(cells for _, cells in found)], width)
    table = tables.Table(
        title=text.Text(f"{title(snapshot)}{at}"), expand=True, box=None, padding=(0, GAP, 0, 0), pad_edge=False
    )
    for place in shown:
        last = place == len(TITLES) - 1
        side = "left" if place < NAMES or last else "right"
        # A name gives way before a figure does: it is still told from others by its beginning.
        size = {"ratio": 1} if last else {"max_width": longest_name(width)} if place < NAMES else {}
        table.add_column(TITLES[place], justify=side, no_wrap=not last, **size)
    for score, cells in found:
        # Names and reasons are others' words: text, and no markup.
        style = "red" if score >= BAD else "yellow" if score >= DOUBTFUL else ""
        table.add_row(*(text.Text(cells[place]) for place in shown), style=style)
    left_out = [name for place, name in enumerate(TITLES) if place not in shown]
    if left_out:
        table.caption = f"no room for: {', '.join(left_out)}"
    return table
