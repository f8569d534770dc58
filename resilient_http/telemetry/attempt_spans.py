"""Attempt spans: one CLIENT span per attempt, and the trace carried to the upstream.

`propagate` of the upstream rules what is injected: "none" nothing, "tracecontext" no baggage, "all" everything. It is
put into the attempt's own copy of the request, so nothing of it stays when the request goes elsewhere.

Where httpx is instrumented (`instrument()`, before or after us), the span is contrib's and so is what is injected. A
client of ours on which somebody calls `instrument_client()` sends past that: it would give one span for all attempts,
and inject whatever `propagate` says. Around a transport of ours in somebody else's client it stays: its span is the
CLIENT span then, and those of the attempts are INTERNAL ones, so that nothing counts twice.

Source of the names: OpenTelemetry semantic conventions for HTTP, 1.23 and later (stable).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from typing import Any

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, Context  # contrib's switch; guarded by a test
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from resilient_http.call import Attempt
from resilient_http.semantics import TRACE_HEADERS
from resilient_http.telemetry.logs import AttemptDetail
from resilient_http.telemetry.redaction import shown_url
from resilient_http.telemetry.tracing import CallSpan, note_result, template_of, tracer

RESEND_COUNT = "http.request.resend_count"
CLIENT, INTERNAL = SpanKind.CLIENT, SpanKind.INTERNAL  # to have them from their enum for each span costs more
URLS = ("url.full", "http.url")  # as the stable conventions have it, and the old ones


class AttemptTracing:
    """Carries the trace into the attempts of one upstream.

    Args:
        mode: The upstream's `propagate`: "none", "tracecontext" or "all".
        query: Query parameters whose values may be shown.
        detail: What else is told of each attempt, or None; see policies/telemetry.py.
        hedges: Whether its attempts may be hedged, so that contrib's span of the first must be known.
    """

    def __init__(
        self,
        mode: str,
        query: frozenset[str] = frozenset(),
        detail: AttemptDetail | None = None,
        *,
        hedges: bool = False,
    ) -> None:
        self.detail = detail
        self._mode = mode
        self._query = query
        self._hedges = hedges

    def begin_attempt(self, attempt: Attempt) -> Token[Context] | None:
        """Put the trace into the attempt. The token goes back to leave_attempt()."""
        call = attempt.call
        if call.span is None:  # no SDK when the call began
            if call.headers:
                self._pass_on(attempt)
            return None
        port = call.port
        if not port.instrumented():
            self._own_span(attempt, call.span)
            return None
        if self._mode == "none":
            self._own_span(attempt, call.span)
            return context.attach(context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True))
        url = call.request.url
        shown = shown_url(url, self._query) if url.query or url.userinfo else None
        if attempt.number > 1 or self._hedges or shown:
            attempt.trace = _hook(attempt, call.span, shown, is_async=port.is_async)
        return context.attach(baggage.clear()) if self._mode == "tracecontext" else None

    def leave_attempt(self, token: Token[Context]) -> None:
        """Back to the call's own context."""
        context.detach(token)

    def _pass_on(self, attempt: Attempt) -> None:
        """Send the inbound headers on as they came, unless the user wrote his own."""
        request = attempt.call.request
        allowed = {"none": 0, "tracecontext": 2, "all": 3}[self._mode]
        own = {} if request is None else request.headers
        for name, value in attempt.call.headers:
            if name in TRACE_HEADERS[:allowed] and name not in own:
                attempt.headers += ((name, value),)

    def _own_span(self, attempt: Attempt, the_call: CallSpan) -> None:
        if not the_call.sampled:
            self._inject(attempt, the_call.context, None)
            return
        call, links = attempt.call, None
        if attempt.hedge and the_call.first is not None:
            links = [Link(the_call.first, {"resilient_http.link": "hedge of"})]
        route, values = template_of(call.route), self._described(attempt)
        kind = INTERNAL if call.traced_around else CLIENT
        if route is not None:
            values["url.template"] = route
        name = call.method if route is None else f"{call.method} {route}"
        span = tracer().start_span(name, kind=kind, attributes=values, links=links)
        the_call.first = span.get_span_context()
        self._inject(attempt, the_call.first, span)
        if span.is_recording():
            attempt.at_end(lambda ended, _now: _end_attempt(span, ended))

    def _inject(self, attempt: Attempt, carried: SpanContext, span: Span | None) -> None:
        if self._mode == "tracecontext":
            attempt.headers += w3c(carried)
        elif self._mode == "all":
            carrier: dict[str, str] = {}
            propagate.inject(carrier, None if span is None else trace.set_span_in_context(span))
            attempt.headers += tuple(carrier.items())

    def _described(self, attempt: Attempt) -> dict[str, Any]:
        call, endpoint = attempt.call, attempt.endpoint
        values: dict[str, Any] = {"http.request.method": call.method}
        if endpoint is not None:
            values["server.address"] = endpoint.host
            values["server.port"] = endpoint.port
        if call.request is not None:
            values["url.full"] = shown_url(call.request.url, self._query)
        if attempt.number > 1:
            values[RESEND_COUNT] = attempt.number - 1
        return values


def w3c(span: SpanContext) -> tuple[tuple[str, str], ...]:
    """The headers that carry a span. OpenTelemetry's own propagator takes four times as long.

    Source: W3C Trace Context, sections 3.2 and 3.3.
    """
    if not span.is_valid:
        return ()
    ids = span.trace_id, span.span_id, span.trace_flags
    parent = ("traceparent", "00-%032x-%016x-%02x" % ids)  # noqa: UP031 - in half the time of an f-string
    return (parent, ("tracestate", span.trace_state.to_header())) if span.trace_state else (parent,)


def _end_attempt(span: Span, attempt: Attempt) -> None:
    values: dict[str, Any] = {}
    if attempt.entry.queued:
        values["resilient_http.queued"] = attempt.entry.queued
    if attempt.lost:
        span.set_attributes({**values, "resilient_http.outcome": "lost"})
    else:
        note_result(span, attempt.status, attempt.error, values)
    span.end()


def _hook(attempt: Attempt, the_call: CallSpan, url: str | None, *, is_async: bool) -> Callable[..., Any]:
    """An httpcore trace callback: its first event comes inside contrib's span, where more can be noted on it."""
    request = attempt.call.request
    users = None if request is None else request.extensions.get("trace")
    repeats, noted = attempt.number - 1, False

    def note() -> None:
        nonlocal noted
        if noted:
            return  # events of the body come when that span has ended
        noted, span = True, trace.get_current_span()
        if repeats:
            span.set_attribute(RESEND_COUNT, repeats)
        if url is not None:
            known = getattr(span, "attributes", None) or {}
            span.set_attributes({name: url for name in URLS if name in known})
        if attempt.hedge and the_call.first is not None:
            span.add_link(the_call.first, {"resilient_http.link": "hedge of"})
        the_call.first = span.get_span_context()

    def hook(name: str, info: Any) -> Any:
        note()
        return users(name, info) if users is not None else None

    async def async_hook(name: str, info: Any) -> Any:
        note()
        return await users(name, info) if users is not None else None

    return async_hook if is_async else hook
