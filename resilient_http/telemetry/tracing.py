"""Tracing: one INTERNAL span per call, one CLIENT span per attempt, and the trace carried to the upstream.

    no SDK configured               the inbound traceparent and tracestate are passed on as they came
    SDK, httpx instrumented         contrib makes each attempt's span and injects; we add what it cannot know
    SDK, httpx not instrumented     we make the attempt's span and inject

`propagate` of the upstream rules what is injected: "none" nothing, "tracecontext" no baggage, "all" everything.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context as Variables
from contextvars import Token
from typing import Any

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, Context  # contrib's switch; guarded by a test
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, Tracer

from resilient_http.call import Attempt, Call
from resilient_http.semantics import TRACE_HEADERS

CLIENT, INTERNAL = SpanKind.CLIENT, SpanKind.INTERNAL  # to have them from their enum for each span costs more
RESEND_COUNT = "http.request.resend_count"


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


class CallSpan:
    """The INTERNAL span of a call; a context manager around its hops. Made only when an SDK is configured."""

    __slots__ = ("_span", "_token")

    def __init__(self, call: Call) -> None:
        parent = None
        if not trace.get_current_span().get_span_context().is_valid and call.headers:
            parent = propagate.extract(dict(call.headers), context.get_current())
        self._span = tracer().start_span(call.method, parent, kind=INTERNAL)
        self._token = context.attach(trace.set_span_in_context(self._span, parent))

    def end(self, call: Call, status: int | None, error: BaseException | None) -> None:
        """End the span with what came of the call."""
        context.detach(self._token)
        span, journal = self._span, call.journal
        if span.is_recording():
            span.set_attribute("http.request.method", call.method)
            span.set_attribute("resilient_http.upstream", journal.upstream)
            span.set_attribute("resilient_http.attempts", len(journal.attempts))
            if "://" not in journal.upstream and journal.upstream:
                span.update_name(f"{call.method} {journal.upstream}")
            _note_result(span, status, error)
        span.end()


class AttemptTracing:
    """Carries the trace into the attempts of one upstream.

    Args:
        mode: The upstream's `propagate`: "none", "tracecontext" or "all".
    """

    def __init__(self, mode: str) -> None:
        self._mode = mode

    def begin_attempt(self, attempt: Attempt) -> Token[Context] | None:
        """Put the trace into the attempt. The token goes back to leave_attempt()."""
        if attempt.call.span is None:  # no SDK when the call began
            if attempt.call.headers:
                self._pass_on(attempt)
            return None
        port = attempt.call.port
        if not port.instrumented():
            return self._own_span(attempt)
        if self._mode == "none":
            self._own_span(attempt)
            return context.attach(context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True))
        if attempt.number > 1:
            attempt.trace = _resend_hook(attempt, is_async=port.is_async)
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

    def _own_span(self, attempt: Attempt) -> Token[Context] | None:
        span = tracer().start_span(attempt.call.method, kind=CLIENT)
        if self._mode == "tracecontext":
            attempt.headers += w3c(span.get_span_context())
        elif self._mode == "all":
            carrier: dict[str, str] = {}
            propagate.inject(carrier, trace.set_span_in_context(span))
            attempt.headers += tuple(carrier.items())
        if span.is_recording():
            _describe_request(span, attempt)
            attempt.at_end(lambda ended, _now: _end_attempt(span, ended))
        return None


def w3c(span: SpanContext) -> tuple[tuple[str, str], ...]:
    """The headers that carry a span. OpenTelemetry's own propagator takes four times as long.

    Source: W3C Trace Context, sections 3.2 and 3.3.
    """
    if not span.is_valid:
        return ()
    ids = span.trace_id, span.span_id, span.trace_flags
    parent = ("traceparent", "00-%032x-%016x-%02x" % ids)  # noqa: UP031 - in half the time of an f-string
    return (parent, ("tracestate", span.trace_state.to_header())) if span.trace_state else (parent,)


def _describe_request(span: Span, attempt: Attempt) -> None:
    call, endpoint = attempt.call, attempt.endpoint
    span.set_attribute("http.request.method", call.method)
    if endpoint is not None:
        span.set_attribute("server.address", endpoint.host)
        span.set_attribute("server.port", endpoint.port)
    url = getattr(call.request, "url", None)
    if url is not None:
        # Without query and credentials, which may hold secrets.
        port = "" if url.port is None else f":{url.port}"
        span.set_attribute("url.full", f"{url.scheme}://{url.host}{port}{url.path}")
    if attempt.number > 1:
        span.set_attribute(RESEND_COUNT, attempt.number - 1)


def _end_attempt(span: Span, attempt: Attempt) -> None:
    _note_result(span, attempt.status, attempt.error)
    span.end()


def _note_result(span: Span, status: int | None, error: BaseException | None) -> None:
    if status is not None:
        span.set_attribute("http.response.status_code", status)
    kind = type(error).__name__ if error is not None else str(status)
    if error is not None or (status is not None and status >= 400):
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR))


def _resend_hook(attempt: Attempt, *, is_async: bool) -> Callable[..., Any]:
    """An httpcore trace callback: its first event comes inside contrib's span, where the repeat can be noted on it."""
    request = attempt.call.request
    users = None if request is None else request.extensions.get("trace")
    repeats = attempt.number - 1

    def note() -> None:
        nonlocal repeats
        if repeats:
            trace.get_current_span().set_attribute(RESEND_COUNT, repeats)
            repeats = 0  # events of the body come when that span has ended

    def hook(name: str, info: Any) -> Any:
        note()
        return users(name, info) if users is not None else None

    async def async_hook(name: str, info: Any) -> Any:
        note()
        return await users(name, info) if users is not None else None

    return async_hook if is_async else hook
