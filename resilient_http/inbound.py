"""Inbound: what the headers of an inbound request say becomes the scope of its outbound calls.

Laws
    1. The deadline is the smallest of `inbound.timeout` and what the deadline headers say, less the reserve.
    2. A header only shortens. One that is malformed, negative or 0 says nothing.
    3. Trace headers are passed on when they are well formed. A tracestate means nothing without its traceparent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from resilient_http.scope import Deadline, Scope
from resilient_http.semantics import TRACE_HEADERS
from resilient_http.settings.models import InboundSettings

RESERVED_SHARE = 0.2  # of the budget, at most: a short deadline is not eaten up by the reserve

# Versions after 00 may append fields. Source: W3C Trace Context, section 3.2.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")


def inbound_scope(settings: InboundSettings | None, header: Callable[[str], str | None], *, now: float) -> Scope:
    """The scope of an inbound request, for frameworks: enter it with enter_scope(), and bind clients to it.

    Args:
        settings: `settings.inbound`. None for what outlives a request, as a WebSocket: then there is no deadline.
        header: Gives the value of a header of the request by its lower-case name, or None; repeated ones comma-joined.
        now: Monotonic seconds at which the request came.
    """
    deadline = None if settings is None else _deadline(settings, header, now)
    return Scope(deadline, tuple(_trace(header)))


def _deadline(settings: InboundSettings, header: Callable[[str], str | None], now: float) -> Deadline | None:
    asked = [seconds for name in settings.deadline_headers if (seconds := _seconds(header(name.lower())))]
    budget = min([*asked, *([] if settings.timeout is None else [settings.timeout])], default=None)
    if budget is None:
        return None
    return Deadline.after(budget - min(settings.reserve, budget * RESERVED_SHARE), now=now)


def _seconds(value: str | None) -> float | None:
    """What a deadline header says, in milliseconds. None, or to Envoy 0, for no timeout."""
    text = "" if value is None else value.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        return None
    return int(text) / 1000


def _trace(header: Callable[[str], str | None]) -> Iterator[tuple[str, str]]:
    parent = header("traceparent")
    traced = parent is not None and TRACEPARENT.fullmatch(parent) is not None
    for name in TRACE_HEADERS:
        value = header(name)
        if value and value.isascii() and value.isprintable() and (traced or name == "baggage"):
            yield name, value
