"""Logs: what a person should hear of, through standard logging; fields in `extra`, so that JSON formatters have them.

    resilient_http.calls        WARNING     each degraded call (degraded.py), folded
    resilient_http.attempts     DEBUG       each request and response, redacted
    resilient_http.circuit      WARNING     a circuit opened; INFO half open, closed
    resilient_http.endpoints    WARNING     panic, an endpoint that is ill or paused; INFO other ones, well again
    resilient_http.process      WARNING     this process was late, or a stream was left open; folded
    resilient_http.settings     INFO        a reload; WARNING one that was rejected
    resilient_http.chaos        WARNING     a fault that was injected on purpose; folded

Discovery, sharing, the inbound side and the adapters have loggers of their own beside these. A library says nothing
where no logging is set up: a handler of "resilient_http" swallows it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from resilient_http.call import Attempt, Call
from resilient_http.events import (
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    EndpointHealthy,
    EndpointPaused,
    EndpointsChanged,
    EndpointUnhealthy,
    Event,
    FaultInjected,
    PanicBegan,
    PanicEnded,
    ReloadRejected,
    SettingsReloaded,
    Stalled,
    StreamReclaimed,
    SwitchEnded,
    SwitchThrown,
    WatchFailed,
    WatchRestored,
)
from resilient_http.settings.telemetry import LoggingSettings, TelemetrySettings
from resilient_http.state.folding import Folding
from resilient_http.telemetry.redaction import shown_headers, shown_url

ROOT = logging.getLogger("resilient_http")
ROOT.addHandler(logging.NullHandler())
CALLS = logging.getLogger("resilient_http.calls")
ATTEMPTS = logging.getLogger("resilient_http.attempts")
CIRCUIT = logging.getLogger("resilient_http.circuit")
ENDPOINTS = logging.getLogger("resilient_http.endpoints")
PROCESS = logging.getLogger("resilient_http.process")
SETTINGS = logging.getLogger("resilient_http.settings")
CHAOS = logging.getLogger("resilient_http.chaos")


class CallLog:
    """A line for each degraded call. Thread-safe.

    Args:
        settings: What is said.
    """

    def __init__(self, settings: LoggingSettings) -> None:
        self._wanted = settings.calls
        self._folding: Folding[tuple[str, str]] = Folding(settings.fold)

    def tell(self, call: Call, kind: str, status: int | None, error: BaseException | None) -> None:
        """A call has ended, degraded as `kind`."""
        if not self._wanted or not CALLS.isEnabledFor(logging.WARNING):
            return
        now, journal = call.port.now(), call.journal
        # Unnamed upstreams are many; a kind for each would let a crawler write a line for each host.
        more = self._folding.admit((journal.upstream, kind), now)
        if more is None:
            return
        last = call.entry or journal.last
        why = "" if last is None else last.why or last.error or ""
        fields = {
            **trace_of(call),
            "upstream": journal.upstream,
            "method": call.method,
            "endpoint": "" if last is None else last.endpoint,
            "attempt": 0 if last is None else last.number,
            "outcome": kind,
            "status": status,
            "error": None if error is None else type(error).__name__,
            "duration": round(now - call.started, 6),
            "why": why or (journal.notes[-1] if journal.notes else ""),
            "folded": more,
        }
        suffix = f" (and {more} more like it before)" if more else ""
        CALLS.warning("%s after %.3f s: %s%s", kind, now - call.started, journal, suffix, extra=fields)

    def flush(self) -> None:
        """Say how many were folded and never told."""
        for (upstream, outcome), count in self._folding.take_rest().items():
            fields = {"upstream": upstream, "outcome": outcome, "folded": count}
            CALLS.warning("%s: %d more calls were %s", upstream, count, outcome, extra=fields)


def trace_of(call: Call) -> dict[str, str]:
    """The ids of the call's trace and span, "" where there is none."""
    if call.span is not None:
        context = call.span.context
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    parts = next((value.split("-") for name, value in call.headers if name == "traceparent"), [])
    return {"trace_id": parts[1] if len(parts) == 4 else "", "span_id": ""}


class AttemptDetail:
    """Each request and response at DEBUG. Thread-safe.

    Args:
        settings: What may be shown.
        telemetry: Which query parameters may be.

    Attributes:
        wanted: Says whether anybody hears it.
    """

    def __init__(self, settings: LoggingSettings, telemetry: TelemetrySettings) -> None:
        self._headers = frozenset(settings.headers)
        self._query = frozenset(telemetry.query)
        self._body = settings.body
        self.wanted: Callable[[], bool] = partial(ATTEMPTS.isEnabledFor, logging.DEBUG)  # asked for each attempt

    def sending(self, attempt: Attempt) -> None:
        """It is about to be sent."""
        call, request = attempt.call, attempt.call.request
        lines = (*call.port.lines(request), *((name.lower(), value) for name, value in attempt.headers))
        fields = {
            **self._fields(attempt),
            "url": shown_url(request.url, self._query),
            "headers": shown_headers(lines, self._headers),
        }
        if self._body:
            fields["body"] = self._shown(getattr(request, "_content", None))
        ATTEMPTS.debug(
            "> %s %s at %s %s", call.method, fields["url"], fields["endpoint"], fields["headers"], extra=fields
        )

    def received(self, attempt: Attempt, reply: Any) -> None:
        """Its answer has come."""
        port = attempt.call.port
        fields = {
            **self._fields(attempt),
            "status": reply.status_code,
            "headers": shown_headers(port.lines(reply), self._headers),
            "duration": round(port.now() - attempt.started, 6),
        }
        if "location" in fields["headers"]:
            fields["headers"]["location"] = shown_url(reply.headers["location"], self._query)
        if self._body:
            fields["body"] = self._shown(port.body(reply))
        ATTEMPTS.debug("< %s from %s %s", fields["status"], fields["endpoint"], fields["headers"], extra=fields)

    def _fields(self, attempt: Attempt) -> dict[str, Any]:
        call = attempt.call
        known = {"upstream": call.upstream, "endpoint": attempt.entry.endpoint, "attempt": attempt.number}
        return {**trace_of(call), **known, "method": call.method}

    def _shown(self, body: bytes | None) -> str | None:
        """The beginning of a body; None for one that is streamed."""
        return None if body is None else body[: self._body].decode("utf-8", "backslashreplace")


class EventLog:
    """Says what is announced. Thread-safe.

    Args:
        settings: How it is folded.
        now: Monotonic seconds.
    """

    def __init__(self, settings: LoggingSettings, now: Callable[[], float]) -> None:
        self._folding: Folding[tuple[str, str]] = Folding(settings.fold)
        self._now = now

    def __call__(self, event: Event) -> None:
        """Say it, if it is one of those that are said."""
        said = LINES.get(type(event))
        if said is None:
            return
        logger, level, text, folds = said
        if not logger.isEnabledFor(level):
            return
        more = self._folding.admit((type(event).__name__, event.upstream), self._now()) if folds else 0
        if more is None:
            return
        values = event.as_dict()
        suffix = f" (and {more} more like it before)" if more else ""
        fields = {"event": type(event).__name__, "folded": more, **values}
        logger.log(level, "%s%s", text.format(**values), suffix, extra=fields)


LINES: dict[type[Event], tuple[logging.Logger, int, str, bool]] = {
    CircuitOpened: (
        CIRCUIT, logging.WARNING,
        "circuit of {upstream} at {endpoint} opened ({cause}); next probe in {retry_in:.3g} s", False,
    ),
    CircuitHalfOpened: (CIRCUIT, logging.INFO, "circuit of {upstream} at {endpoint} lets probes through", False),
    CircuitClosed: (CIRCUIT, logging.INFO, "circuit of {upstream} at {endpoint} closed ({cause})", False),
    EndpointPaused: (ENDPOINTS, logging.WARNING, "{upstream}: {endpoint} is left alone for {seconds:.3g} s", True),
    EndpointUnhealthy: (ENDPOINTS, logging.WARNING, "{upstream}: {endpoint} is not well: {why}", False),
    EndpointHealthy: (ENDPOINTS, logging.INFO, "{upstream}: {endpoint} is well again", False),
    PanicBegan: (ENDPOINTS, logging.WARNING, "{upstream}: {wanted} of {total} nodes are ill, so all are used", False),
    PanicEnded: (ENDPOINTS, logging.INFO, "{upstream}: {wanted} of {total} nodes are ill, and are left alone", False),
    EndpointsChanged: (ENDPOINTS, logging.INFO, "{upstream}: nodes added {added}, removed {removed}", False),
    FaultInjected: (CHAOS, logging.WARNING, "{upstream}: {fault} on purpose at {endpoint}, by {by}", True),
    Stalled: (PROCESS, logging.WARNING, "{upstream}: an attempt at {endpoint} says nothing: {why}", True),
    StreamReclaimed: (PROCESS, logging.WARNING, "{upstream}: a stream from {endpoint} was taken back: {why}", True),
    SettingsReloaded: (SETTINGS, logging.INFO, "settings reloaded by {by}: {changes}", False),
    ReloadRejected: (SETTINGS, logging.WARNING, "settings offered by {by} were rejected: {why}", False),
    WatchFailed: (SETTINGS, logging.WARNING, "{where} fails ({why}); the settings stay as they are", False),
    WatchRestored: (SETTINGS, logging.INFO, "{where} answers again after {failed_for:.3g} s", False),
    SwitchThrown: (SETTINGS, logging.WARNING, "{upstream}: {what} for {seconds:.3g} s, by {by}", False),
    SwitchEnded: (SETTINGS, logging.WARNING, "{upstream}: no longer {what}, as {by} had it: {why}", False),
}  # fmt: skip


class UrlFilter(logging.Filter):
    """Redacts the URLs in what httpx logs of each request.

    Attributes:
        query: Query parameters whose values may be shown.
    """

    query: frozenset[str] = frozenset()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let it pass, without credentials and query values."""
        if isinstance(record.args, tuple) and any(_is_url(value) for value in record.args):
            record.args = tuple(shown_url(value, self.query) if _is_url(value) else value for value in record.args)
        return True


def _is_url(value: object) -> bool:
    return type(value).__name__ == "URL" and type(value).__module__.partition(".")[0] in ("httpx", "httpx2")


_filter = UrlFilter()


def redact_httpx(query: frozenset[str]) -> None:
    """Have the loggers of httpx and httpx2 show URLs as ours do, in the whole process."""
    _filter.query = query
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).addFilter(_filter)
