"""Decisions: what a call's journal says of them, as events of its span.

Written when the call has ended, so a call that nothing was decided about pays for none.

    resilient_http.queued               an attempt waited for its permit or token
    resilient_http.retry                the call is repeated: why, after which delay, with how much of the deadline left
    resilient_http.retry_suppressed     it is not: why
    resilient_http.refused              an attempt was not sent: the circuit, a limit, no endpoint
    resilient_http.hedge                a second attempt was sent beside the first
    resilient_http.lost                 an attempt lost against its hedge, or was the hedge and lost
    resilient_http.note                 what was decided about the call as a whole: a fallback, no hedge, a pause
    resilient_http.cancelled            nobody waited for the call any more
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from opentelemetry.trace import Span

from resilient_http.call import Call
from resilient_http.journal import Entry

Values = dict[str, str | int | float]
Happened = tuple[str, float, Values]
"""Name, seconds since the start of the call, attributes."""

LEAST = 0.001  # seconds in a queue that are told


def add_events(span: Span, call: Call, started: int) -> None:
    """Add them.

    Args:
        span: That of the call.
        call: It.
        started: Nanoseconds since the epoch at which it began.
    """
    for name, at, values in _events(call):
        span.add_event(f"resilient_http.{name}", values, started + int(at * 1e9))


def _events(call: Call) -> Iterator[Happened]:
    for entry in call.journal.attempts:
        yield from _events_of(entry, call)
    for note in call.journal.notes:
        yield "note", call.port.now() - call.started, {"resilient_http.why": note}


def _events_of(entry: Entry, call: Call) -> Iterator[Happened]:
    number: Values = {"resilient_http.attempt": entry.number}
    ended = entry.started + entry.duration + (entry.queued if entry.endpoint else 0.0)
    if entry.hedge:
        yield "hedge", entry.started, number
    if entry.queued >= LEAST:
        yield "queued", entry.started, {**number, "resilient_http.queued": entry.queued}
    if entry.outcome == "refused":
        yield "refused", ended, {**number, "resilient_http.why": entry.error or entry.why}
    why: Values = {**number, "resilient_http.why": entry.why}
    if entry.decision == "retry":
        yield "retry", ended, {**why, "resilient_http.delay": entry.delay, **_left(call, ended)}
    elif entry.decision == "lost":
        yield "lost", ended, why
    elif entry.why:
        yield "retry_suppressed", ended, {**why, **_left(call, ended)}


def _left(call: Call, at: float) -> Values:
    if call.expires == math.inf:
        return {}
    return {"resilient_http.deadline.left": max(0.0, call.expires - call.started - at)}
