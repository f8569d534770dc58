"""Recent: what became of the calls of this process over the last minutes, and its last degraded calls.

It listens while a page is mounted, and only then. URLs, headers and bodies are not kept: of a degraded call it keeps
the journal, which has none of them.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from resilient_http.call import Call
from resilient_http.console.kept import Kept
from resilient_http.console.traffic import CANCELLED, FAILED, GOOD, REFUSED, SLICES, Traffic
from resilient_http.events import CallFinished, Event
from resilient_http.journal import Journal
from resilient_http.settings.console import ConsoleSettings
from resilient_http.telemetry.labels import OTHER, Labels
from resilient_http.telemetry.metrics import outcome_of

KIND_OF = {"success": GOOD, "client_error": GOOD, "server_error": FAILED, "failed": FAILED, "deadline": FAILED,
           "cancelled": CANCELLED}  # fmt: skip
MOST_ATTEMPTS = 30  # of one call, that are shown
Degraded = tuple[float, str, int | None, str | None, float, str | None, Journal]
"""When, as what, the status, the exception, how long it took, the route, and what happened."""


class Recent:
    """A listener. Thread-safe.

    Args:
        settings: How much is kept.
        labels: What upstreams are called: all unnamed ones are one.
    """

    def __init__(self, settings: ConsoleSettings, labels: Labels) -> None:
        self._step = settings.span / SLICES
        self._labels = labels
        self._offset = time.time() - time.monotonic()
        self._begun = self.now()
        self._traffic: dict[str, Traffic] = {}
        self._degraded: Kept[Degraded] = Kept(settings.degraded)

    def now(self) -> float:
        """Seconds since 1970, as they were told when this began; never put back."""
        return self._offset + time.monotonic()

    def __call__(self, event: Event) -> None:
        """Count it, if it is a call that has ended."""
        if isinstance(event, CallFinished):
            kind = KIND_OF.get(outcome_of(event), REFUSED)
            traffic = self.traffic(self._labels.upstream(event.upstream))
            traffic.add(self.now(), kind, event.duration, degraded=event.degraded is not None)

    def traffic(self, name: str) -> Traffic:
        """That of an upstream, by its label."""
        known = self._traffic.get(name)
        return known or self._traffic.setdefault(name, Traffic(self._step, self._begun))

    def forget_but(self, names: Collection[str]) -> None:
        """Other upstreams are no longer known: a reload has taken them away."""
        for name in [each for each in list(self._traffic) if each not in names and each != OTHER]:
            self._traffic.pop(name, None)

    def keep(self, call: Call, kind: str, status: int | None, error: BaseException | None) -> None:
        """A call has ended, degraded as `kind`."""
        took = call.port.now() - call.started
        what = None if error is None else type(error).__name__
        self._degraded.add((call.upstream, kind), (self.now(), kind, status, what, took, call.route, call.journal))

    def degraded(self) -> list[dict[str, Any]]:
        """JSON-able: the last degraded calls, the newest first."""
        return [
            {"at": round(at, 3), "kind": kind, "status": status, "error": error, "took": round(took, 6), "route": route,
             **_told(journal)}
            for at, kind, status, error, took, route, journal in self._degraded.newest()
        ]  # fmt: skip


def _told(journal: Journal) -> dict[str, Any]:
    told = journal.as_dict()
    attempts = told["attempts"]
    for attempt in attempts[:MOST_ATTEMPTS]:
        for key in ("started", "queued", "duration", "delay"):
            attempt[key] = round(attempt[key], 6)
    return {**told, "attempts": attempts[:MOST_ATTEMPTS], "left_out": max(0, len(attempts) - MOST_ATTEMPTS)}
