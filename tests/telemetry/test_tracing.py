"""What a trace shows of a call, and what of the trace reaches the upstream; over real sockets."""

import httpx
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from resilient_http import CircuitOpen, Scope, enter_scope
from resilient_http.telemetry.attempt_spans import w3c
from tests.live.callers import Caller
from tests.live.servers import answer, redirect, reset
from tests.telemetry.sdk import tracing

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
INBOUND = Scope(None, (("traceparent", PARENT), ("tracestate", "vendor=1"), ("baggage", "user=7")))
CHARGES = "http://payments/charges"
RESEND_COUNT = "http.request.resend_count"


@pytest.fixture(params=["sync", "asyncio", "trio"])
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["ours", "contrib"])
def spans(request):
    """An SDK; the spans of the attempts are made by us, or by opentelemetry-instrumentation-httpx."""
    with tracing(instrumented=request.param) as made:
        yield made


def call(kind, server, *, backend="httpx", method="GET", headers=None, scope=INBOUND, times=1, routes=None, **defaults):
    """Call the upstream within an inbound scope; the last response, or the last exception."""
    settings = {
        "defaults": {"retry": {"backoff": {"base": 0.001, "throttled_base": 0.001}}, **defaults},
        "upstreams": {"payments": {"endpoints": [server.url], "routes": routes or {}}},
    }
    outcome = None

    async def body(client):
        nonlocal outcome
        for _ in range(times):
            try:
                outcome = await client.request(
                    method, "http://payments/charges", headers=headers, follow_redirects=True
                )
            except Exception as exc:  # noqa: BLE001 - the outcome of the call, whatever it is
                outcome = exc

    caller = Caller(kind, backend)
    with enter_scope(scope):
        caller.run(caller.resilience(settings), body)
    return outcome


def parents(server):
    """Trace id and parent id of each request that the upstream received."""
    return [tuple(request.header("traceparent").split("-")[1:3]) for request in server.requests]


def ids(span_context):
    return format_trace_id(span_context.trace_id), format_span_id(span_context.span_id)


# Without an SDK


def test_without_an_sdk_the_inbound_trace_is_passed_on_as_it_came(kind, fault_server, backend):
    server = fault_server([answer(503), answer()])
    call(kind, server, backend=backend)

    assert [request.header("traceparent") for request in server.requests] == [PARENT, PARENT]
    assert [request.header("tracestate") for request in server.requests] == ["vendor=1", "vendor=1"]
    assert [request.header("baggage") for request in server.requests] == [None, None]


def test_without_an_sdk_propagate_all_passes_the_baggage_on_too(kind, fault_server):
    server = fault_server()
    call(kind, server, propagate="all")

    assert server.requests[0].header("baggage") == "user=7"


def test_without_an_sdk_propagate_none_passes_nothing_on(kind, fault_server):
    server = fault_server()
    call(kind, server, propagate="none")

    assert server.requests[0].header("traceparent") is None


def test_without_an_sdk_a_header_of_the_users_wins(kind, fault_server):
    server = fault_server()
    own = PARENT.replace("4", "5")
    call(kind, server, headers={"traceparent": own})

    assert [value for name, value in server.requests[0].headers if name.lower() == "traceparent"] == [own]


def test_without_a_scope_there_is_no_trace(kind, fault_server):
    server = fault_server()
    call(kind, server, scope=Scope())

    assert server.requests[0].header("traceparent") is None


# With an SDK


def test_each_attempt_is_one_client_span_under_one_internal_span(kind, fault_server, spans):
    server = fault_server([answer(503), reset(), answer()])
    call(kind, server)

    (the_call,) = spans.calls
    assert len(spans.attempts) == 3
    assert {span.parent.span_id for span in spans.attempts} == {the_call.context.span_id}
    assert len(spans.all()) == 4


def test_each_attempt_reaches_the_upstream_in_the_inbound_trace_with_its_own_span_as_parent(kind, fault_server, spans):
    server = fault_server([answer(503), answer(503), answer()])
    call(kind, server)

    (the_call,) = spans.calls
    assert (format_trace_id(the_call.context.trace_id), format_span_id(the_call.parent.span_id)) == (
        TRACE_ID,
        PARENT_ID,
    )
    assert parents(server) == [ids(span.context) for span in spans.attempts]
    assert len(set(parents(server))) == 3
    assert {trace_id for trace_id, _ in parents(server)} == {TRACE_ID}
    assert [request.header("tracestate") for request in server.requests] == ["vendor=1"] * 3


def test_repeats_carry_their_number(kind, fault_server, spans):
    call(kind, fault_server([answer(503), answer(503), answer()]))

    assert [span.attributes.get(RESEND_COUNT) for span in spans.attempts] == [None, 1, 2]
    assert RESEND_COUNT not in spans.calls[0].attributes


def test_every_request_has_one_traceparent(kind, fault_server, spans):
    server = fault_server([answer(503), answer()])
    call(kind, server)

    names = [[name.lower() for name, _ in request.headers].count("traceparent") for request in server.requests]
    assert names == [1, 1]


def test_a_redirect_stays_in_the_call(kind, fault_server, spans):
    call(kind, fault_server([redirect("/elsewhere"), answer()]))

    (the_call,) = spans.calls
    assert [span.parent.span_id for span in spans.attempts] == [the_call.context.span_id] * 2


def test_a_span_of_the_application_is_the_parent_of_the_call(kind, fault_server, spans):
    with trace.get_tracer("shop").start_as_current_span("checkout") as checkout:
        call(kind, fault_server())

    the_call = next(span for span in spans.calls if span.name != "checkout")
    assert the_call.parent.span_id == checkout.get_span_context().span_id


def test_the_call_is_named_by_method_and_upstream(kind, fault_server, spans):
    call(kind, fault_server([answer(503), answer()]))

    (the_call,) = spans.calls
    assert the_call.name == "GET payments"
    assert the_call.attributes["resilient_http.upstream"] == "payments"
    assert the_call.attributes["resilient_http.attempts"] == 2
    assert the_call.attributes["http.response.status_code"] == 200
    assert the_call.status.status_code is StatusCode.UNSET


def test_a_route_names_the_spans_by_its_template(kind, fault_server):
    with tracing(instrumented=False) as spans:
        call(kind, fault_server(), routes={"GET /{what}": {"retry": None}})

    (the_call,), (attempt,) = spans.calls, spans.attempts
    assert (the_call.name, attempt.name) == ("GET payments/{what}", "GET /{what}")
    assert the_call.attributes["url.template"] == attempt.attributes["url.template"] == "/{what}"


def test_a_failed_call_is_an_error_in_both(kind, fault_server, spans):
    error = call(kind, fault_server(reset()), retry=None)

    assert isinstance(error, httpx.HTTPError)
    (the_call,), (attempt,) = spans.calls, spans.attempts
    assert the_call.status.status_code is attempt.status.status_code is StatusCode.ERROR
    assert the_call.attributes["error.type"] == type(error).__name__


def test_a_refused_call_has_no_attempt(kind, fault_server, spans):
    error = call(kind, fault_server(reset()), retry=None, times=6)

    assert isinstance(error, CircuitOpen)
    assert len(spans.calls) == 6
    assert len(spans.attempts) == 5
    assert spans.calls[-1].attributes["error.type"] == "CircuitOpen"


def test_propagate_none_keeps_the_trace_here_and_shows_the_attempts(kind, fault_server, spans):
    server = fault_server([answer(503), answer()])
    call(kind, server, propagate="none")

    assert [request.header("traceparent") for request in server.requests] == [None, None]
    assert [span.attributes.get(RESEND_COUNT) for span in spans.attempts] == [None, 1]
    assert {span.parent.span_id for span in spans.attempts} == {spans.calls[0].context.span_id}


@pytest.mark.parametrize(("propagate", "sent"), [("tracecontext", None), ("all", "tenant=9,user=7")])
def test_baggage_goes_to_upstreams_of_ones_own_alone(kind, fault_server, spans, propagate, sent):
    server = fault_server()
    token = context.attach(baggage.set_baggage("tenant", "9"))
    try:
        call(kind, server, propagate=propagate)
    finally:
        context.detach(token)

    assert server.requests[0].header("baggage") == sent
    assert server.requests[0].header("traceparent") is not None
    assert len(spans.attempts) == 1


def test_the_context_is_as_before_when_the_call_is_over(kind, fault_server, spans):
    before = context.get_current()
    call(kind, fault_server([answer(503), answer()]))

    assert context.get_current() == before


def test_secrets_of_a_url_stay_out_of_our_spans(fault_server):
    server = fault_server()
    caller = Caller("sync", "httpx")

    async def body(client):
        await client.get("http://payments/charges?card=4111&sig=x")

    with tracing(instrumented=False) as spans:
        caller.run(caller.resilience({"upstreams": {"payments": {"endpoints": [server.url]}}}), body)

    (attempt,) = spans.attempts
    assert attempt.attributes["url.full"] == "http://payments/charges?card=REDACTED&sig=REDACTED"
    assert attempt.attributes["server.port"] == server.port


def test_httpx2_which_nobody_instruments_has_our_spans(kind, fault_server, spans):
    server = fault_server([answer(503), answer()])
    call(kind, server, backend="httpx2")

    assert parents(server) == [ids(span.context) for span in spans.attempts]
    assert [span.attributes.get(RESEND_COUNT) for span in spans.attempts] == [None, 1]


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_trace_callback_of_the_users_is_called_on_repeats_too(kind, fault_server, spans):
    server = fault_server([answer(503), answer()])
    seen = []

    def hook(name, info):
        seen.append(name)

    async def async_hook(name, info):
        seen.append(name)

    async def body(client):
        extensions = {"trace": hook if kind == "sync" else async_hook}
        await client.get("http://payments/", extensions=extensions)

    caller = Caller(kind, "httpx")
    settings = {
        "defaults": {"retry": {"backoff": {"base": 0.001, "throttled_base": 0.001}}},
        "upstreams": {"payments": {"endpoints": [server.url]}},
    }
    caller.run(caller.resilience(settings), body)

    assert seen.count("http11.send_request_headers.started") == 2


@pytest.mark.parametrize("state", [[], [("vendor", "1"), ("other", "2")]])
@pytest.mark.parametrize("flags", [0, 1, 3])
def test_what_carries_a_span_is_what_opentelemetrys_propagator_says(state, flags):
    span = trace.SpanContext(int(TRACE_ID, 16), int(PARENT_ID, 16), False, flags, trace.TraceState(state))
    carrier = {}
    TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(trace.NonRecordingSpan(span)))

    assert dict(w3c(span)) == carrier
    assert w3c(trace.INVALID_SPAN_CONTEXT) == ()
