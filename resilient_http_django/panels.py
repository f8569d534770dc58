"""Panels: a panel of django-debug-toolbar (8.x, which is not installed with this package).

    DEBUG_TOOLBAR_PANELS = [..., "resilient_http_django.panels.OutboundCallsPanel"]

It shows the outbound calls of a request: when each was made and what it waited for, its attempts, and what was left of
its deadline. For sync and async views, and in the toolbar's history. URLs are shown as logs show them.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from debug_toolbar.panels import Panel
from django.http import HttpRequest, HttpResponse

from resilient_http import Recording, record_calls
from resilient_http_django.clients import state_of

WIDTH = 1000.0  # of the waterfall, in its own units


class OutboundCallsPanel(Panel):
    """The outbound calls of a request. What a streaming response's body calls comes too late for it."""

    is_async = True
    title = nav_title = "Outbound calls"
    template = "resilient_http_django/outbound_calls_panel.html"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._within = ExitStack()
        self._recording: Recording | None = None

    @property
    def nav_subtitle(self) -> str:
        """How many, how long, and how many of them a person should hear of."""
        stats = self.get_stats()
        calls = stats.get("calls", [])
        if not calls:
            return "none"
        degraded = stats["degraded"]
        text = f"{len(calls)} call{'s' if len(calls) > 1 else ''} in {stats['busy']}"
        return f"{text}, {degraded} degraded" if degraded else text

    def enable_instrumentation(self) -> None:
        """Record from here on: in this context, and by clients that are bound to the request wherever they are used."""
        if self._recording is None:
            self._recording = self._within.enter_context(record_calls())
            state_of(self.toolbar.request).arrival.record(self._recording)

    def disable_instrumentation(self) -> None:
        """No longer."""
        self._within.close()

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        """All that is shown, as JSON."""
        if self._recording is not None:
            deadline = state_of(request).scope.deadline
            expires = math.inf if deadline is None else deadline.expires - self._recording.started
            lasted = time.monotonic() - self._recording.started
            self.record_stats(stats_of(self._recording, lasted, None if expires == math.inf else expires))

    def generate_server_timing(self, request: HttpRequest, response: HttpResponse) -> None:
        """How long the request was busy with them."""
        stats = self.get_stats()
        if stats.get("calls"):
            self.record_server_timing("outbound", f"{len(stats['calls'])} outbound calls", stats["busy_ms"])


def stats_of(recording: Recording, lasted: float, deadline: float | None) -> dict[str, Any]:
    """What the panel shows.

    Args:
        recording: The calls.
        lasted: Seconds that it has lasted.
        deadline: Seconds from its beginning to the deadline of the request, or None.
    """
    scale = WIDTH / max(lasted, 0.001)
    calls = [_shown(call.as_dict(), lasted, scale) for call in recording.calls]
    busy = _covered([(call["from"], call["to"]) for call in calls])
    return {
        "calls": calls,
        "dropped": recording.dropped,
        "degraded": sum(call["degraded"] is not None for call in calls),
        "busy": _seconds(busy),
        "busy_ms": round(1000 * busy, 3),
        "queued": _seconds(sum(call["queued"] for call in calls)),
        "waited": _seconds(sum(call["waited"] for call in calls)),
        "lasted": _seconds(lasted),
        "deadline": None if deadline is None else _seconds(deadline),
        "deadline_x": None if deadline is None or not 0 < deadline <= lasted else _x(deadline * scale),
    }


def _shown(call: dict[str, Any], lasted: float, scale: float) -> dict[str, Any]:
    """A call as the panel shows it."""
    began = call["started"]
    took = lasted - began if call["took"] is None else call["took"]
    attempts = call["attempts"]
    waits = list(_waits(attempts))
    left = call["left"]
    return {
        "method": call["method"],
        "url": call["url"],
        "upstream": call["upstream"],
        "result": call["error"] or call["status"] or "under way",
        "degraded": call["degraded"],
        "took": _seconds(took),
        "from": began,
        "to": began + took,
        "queued": sum(attempt["queued"] for attempt in attempts),
        "waited": sum(to - at for at, to in waits),
        "budget": None if call["budget"] is None else _seconds(call["budget"]),
        "left": None if left is None else _seconds(left),
        "overrun": left is not None and left < 0,
        "notes": call["notes"],
        "bar": _bar("call", began, began + took, scale),
        "bars": [_bar(kind, began + at, began + to, scale) for kind, at, to in _bars(attempts, waits)],
        "attempts": [_attempt(attempt) for attempt in attempts],
    }


def _attempt(attempt: dict[str, Any]) -> dict[str, Any]:
    return {
        "number": attempt["number"],
        "hedge": attempt["hedge"],
        "endpoint": attempt["endpoint"],
        "started": _seconds(attempt["started"]),
        "queued": _seconds(attempt["queued"]),
        "took": _seconds(attempt["duration"]),
        "result": attempt["error"] or attempt["status"] or attempt["outcome"],
        "then": attempt["decision"],
        "why": attempt["why"],
    }


def _bars(attempts: list[dict[str, Any]], waits: list[tuple[float, float]]) -> Iterator[tuple[str, float, float]]:
    """What the call's time went to, as (kind, from, to), seconds from the call's start; the later are on top."""
    for at, to in waits:
        yield "wait", at, to
    for attempt in attempts:
        sent_at = attempt["started"] + attempt["queued"]
        yield "queue", attempt["started"], sent_at
        yield "hedge" if attempt["hedge"] else "attempt", sent_at, sent_at + attempt["duration"]


def _waits(attempts: list[dict[str, Any]]) -> Iterator[tuple[float, float]]:
    """The pauses between an attempt and its repeat."""
    for before, after in itertools.pairwise(attempts):
        ended = before["started"] + before["queued"] + before["duration"]
        if before["decision"] == "retry" and after["started"] > ended:
            yield ended, after["started"]


def _bar(kind: str, at: float, to: float, scale: float) -> dict[str, str]:
    return {"kind": kind, "x": _x(at * scale), "width": _x(max(0.0, to - at) * scale)}


def _x(value: float) -> str:
    return f"{min(value, WIDTH):.2f}"  # a text: no locale gives it a comma


def _covered(spans: list[tuple[float, float]]) -> float:
    """Seconds in which at least one of them was under way."""
    total, until = 0.0, -math.inf
    for at, to in sorted(spans):
        total += max(0.0, to - max(at, until))
        until = max(until, to)
    return total


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else f"{seconds:.2f} s"
