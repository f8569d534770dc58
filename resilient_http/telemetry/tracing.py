"""Tracing: the OpenTelemetry SDK that the application has set up, and one INTERNAL span per call.

no SDK configured               the inbound traceparent and tracestate are passed on as they came
SDK, httpx instrumented         contrib makes each attempt's span and injects; we add what it cannot know
SDK, httpx not instrumented     we make the attempt's span and inject; see attempt_spans.py
the trace is not sampled        no attempt has a span, and the call's own is what the upstream hears of
"""

from __future__ import annotations

import math
import time
from contextvars import Context as Variables
from types import MethodType
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY  # contrib's switch; guarded by a test
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from resilient_http.call import Call
from resilient_http.telemetry.decisions import add_events
from resilient_http.telemetry.degraded import is_cancellation

CONTRIB = "opentelemetry.instrumentation."
INTERNAL = SpanKind.INTERNAL  # to have it from its enum for each span costs more
_ERROR = Status(StatusCode.ERROR)


def configured() -> bool:
    """Whether the application has set up an OpenTelemetry SDK. Asked for each call; see load_provider()."""
    # The public getter reads the environment each time, which costs more than all else here; a test guards the name.
    return trace._TRACER_PROVIDER is not None  # noqa: SLF001


def tracer() -> Tracer:
    """The tracer of the provider that is set up now. To ask the SDK for one costs more than a call's two spans."""
    provider, known = trace._TRACER_PROVIDER, _known[0]  # noqa: SLF001 - see configured()
    if known is None or known[0] is not provider:
        known = _known[0] = (provider, trace.get_tracer("resilient_http"))
    return known[1]


_known: list[tuple[Any, Tracer] | None] = [None]


def untraced() -> Variables:
    """Context variables, otherwise empty, with which OpenTelemetry's instrumentation makes no spans."""
    variables = Variables()
    variables.run(lambda: context.attach(context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True)))
    return variables


def load_provider() -> None:
    """Have OpenTelemetry set up the provider that the environment names (OTEL_PYTHON_TRACER_PROVIDER), if any."""
    trace.get_tracer_provider()


def wrapped_by_contrib(method: Any) -> bool:
    """Whether the method of a transport is what `instrument_client()` has put in its place."""
    if type(method) is MethodType:
        return False
    wrapper = getattr(method, "_self_wrapper", None)  # wrapt's; a test guards the name
    module = getattr(getattr(wrapper, "func", wrapper), "__module__", None) or ""
    return module.startswith(CONTRIB)


def template_of(route: str | None) -> str | None:
    """The template of the path alone: "/charges/{id}" of "GET /charges/{id}"."""
    return None if route is None else route.rpartition(" ")[2]


class CallSpan:
    """The INTERNAL span of a call; a context manager around its hops. Made only when an SDK is configured.

    Attributes:
        sampled: Whether anybody will see it, so that attempts have spans of their own.
        context: What carries it to an upstream.
        first: The span of the call's newest attempt, where we have made it: what a hedge is linked to.
    """

    __slots__ = ("_span", "_started", "_token", "context", "first", "sampled")

    def __init__(self, call: Call) -> None:
        parent = None
        if call.headers and not trace.get_current_span().get_span_context().is_valid:
            parent = propagate.extract(dict(call.headers), context.get_current())
        self._started = time.time_ns()
        span = tracer().start_span(call.method, parent, kind=INTERNAL, start_time=self._started)
        self._span = span
        self.context = span.get_span_context()
        self.sampled = span.is_recording() or self.context.trace_flags.sampled
        self.first: Any = None
        self._token = context.attach(trace.set_span_in_context(span, parent))

    def end(self, call: Call, status: int | None, error: BaseException | None) -> None:
        """End the span with what came of the call."""
        context.detach(self._token)
        span = self._span
        if span.is_recording():
            self._describe(call, status, error)
        span.end()

    def _describe(self, call: Call, status: int | None, error: BaseException | None) -> None:
        # Each attribute costs the SDK a microsecond: what is usual is left out.
        span, journal, route = self._span, call.journal, template_of(call.route)
        first = journal.last
        values: dict[str, Any] = {"resilient_http.upstream": journal.upstream, "resilient_http.attempts": 1}
        if call.expires != math.inf:
            values["resilient_http.deadline.left"] = max(0.0, call.expires - call.port.now())
        if route is not None:
            values["url.template"] = route
        if "://" not in journal.upstream and journal.upstream:
            span.update_name(f"{call.method} {journal.upstream}{route or ''}")
        if journal.eventful or error is not None or (first is not None and (first.why or first.queued)):
            values["resilient_http.attempts"] = len(journal.attempts)
            if call.expires != math.inf:
                values["resilient_http.deadline.budget"] = call.budget
            add_events(span, call, self._started)
        note_result(span, status, error, values)


def note_result(span: Span, status: int | None, error: BaseException | None, values: dict[str, Any]) -> None:
    """Note on a span what came of it, and what else is known. What was cancelled is nobody's error, and says so."""
    if status is not None:
        values["http.response.status_code"] = status
    if is_cancellation(error):
        values["resilient_http.outcome"] = "cancelled"
        span.add_event("resilient_http.cancelled", {"resilient_http.why": type(error).__name__})
    elif error is not None or (status is not None and status >= 400):
        values["error.type"] = type(error).__name__ if error is not None else str(status)
        span.set_status(_ERROR)
    span.set_attributes(values)
