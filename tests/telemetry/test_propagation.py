"""What of a trace and of a deadline reaches which host: at redirects, at failovers, and beside contrib's own wrappers.

Over real sockets, with real instrumentation.
"""

import anyio
import httpx
import pytest
from opentelemetry import baggage, context
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.trace import SpanKind, format_span_id

from resilient_http import Resilience, Scope, deadline, enter_scope
from resilient_http.telemetry.tracing import wrapped_by_contrib
from tests.live.callers import Caller
from tests.live.servers import answer, redirect, reset
from tests.telemetry.sdk import tracing

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
INBOUND = Scope(None, (("traceparent", PARENT), ("tracestate", "vendor=1"), ("baggage", "user=7")))
DEADLINE = "x-envoy-expected-rq-timeout-ms"
QUICK = {"backoff": {"base": 0.001, "throttled_base": 0.001, "elsewhere": 1.0}}
OURS = {"propagate": "all", "deadline_header": DEADLINE, "retry": QUICK}
WIRES = ("traceparent", "tracestate", "baggage", DEADLINE)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def kind(request):
    return request.param


@pytest.fixture(params=["none", "ours", "contrib"])
def sdk(request):
    if request.param == "none":
        yield None
        return
    with tracing(instrumented=request.param == "contrib") as spans:
        yield spans


def call(kind, settings, *, headers=None, baggage_here="9"):
    async def body(client):
        await client.get("http://payments/charges", headers=headers, follow_redirects=True)

    token = context.attach(baggage.set_baggage("tenant", baggage_here))
    try:
        caller = Caller(kind, "httpx")
        with enter_scope(INBOUND), deadline(9.0):
            caller.run(caller.resilience(settings), body)
    finally:
        context.detach(token)


def told(request):
    """The headers of a request that say whose it is and how long there is."""
    return {name for name in WIRES if request.header(name) is not None}


def test_a_redirect_to_another_origin_takes_neither_baggage_nor_deadline_along(kind, fault_server, sdk):
    elsewhere = fault_server()
    node = fault_server(redirect(f"{elsewhere.url}/landed"))
    call(kind, {"upstreams": {"payments": {"endpoints": [node.url], **OURS}}})

    assert told(node.requests[0]) >= {"traceparent", "baggage", DEADLINE}
    assert told(elsewhere.requests[0]) <= {"traceparent", "tracestate"}
    assert elsewhere.requests[0].header("traceparent") is not None


def test_a_redirect_to_an_upstream_that_is_told_nothing_is_told_nothing(kind, fault_server, sdk):
    stranger = fault_server()
    node = fault_server(redirect("http://stranger/landed"))
    upstreams = {
        "payments": {"endpoints": [node.url], **OURS},
        "stranger": {"endpoints": [stranger.url], "propagate": "none"},
    }
    call(kind, {"upstreams": upstreams})

    assert told(stranger.requests[0]) == set()


def test_what_the_user_wrote_for_one_upstream_does_not_follow_a_redirect_to_another(kind, fault_server, sdk):
    """For httpx copies all headers but Authorization to the next origin."""
    elsewhere = fault_server()
    node = fault_server(redirect(f"{elsewhere.url}/landed"))
    own = {"baggage": "card=4111", DEADLINE: "700", "x-mine": "1"}
    call(kind, {"upstreams": {"payments": {"endpoints": [node.url], **OURS}}}, headers=own)

    assert node.requests[0].header("x-mine") == elsewhere.requests[0].header("x-mine") == "1"
    assert told(elsewhere.requests[0]) <= {"traceparent", "tracestate"}


def test_a_redirect_within_the_upstream_is_told_as_before(kind, fault_server, sdk):
    node = fault_server([redirect("/elsewhere"), answer()])
    call(kind, {"upstreams": {"payments": {"endpoints": [node.url], **OURS}}})

    assert told(node.requests[1]) == told(node.requests[0]) >= {"traceparent", "baggage", DEADLINE}


@pytest.mark.parametrize("mode", ["none", "tracecontext", "all"])
def test_the_node_that_a_call_fails_over_to_is_told_what_the_first_was(kind, fault_server, sdk, mode):
    nodes = [fault_server([answer(503), answer(503), answer()]), fault_server([reset(), answer()])]
    endpoints = [node.url for node in nodes]
    call(kind, {"upstreams": {"payments": {"endpoints": endpoints, "propagate": mode, "retry": QUICK}}})

    requests = [request for node in nodes for request in node.requests]
    assert len(requests) >= 2
    assert all(node.requests for node in nodes)
    assert {(request.header("baggage") is not None) for request in requests} == {mode == "all"}
    assert {(request.header("traceparent") is not None) for request in requests} == {mode != "none"}


# Beside what contrib wraps


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_instrument_may_come_before_or_after_us(fault_server, order, is_async):
    node = fault_server([answer(503), answer()])
    with tracing(instrumented=order == "before") as spans:
        resilience = Resilience({"upstreams": {"payments": {"endpoints": [node.url], "retry": QUICK}}})
        client = resilience.async_client() if is_async else resilience.client()
        if order == "after":
            HTTPXClientInstrumentor().instrument()
        try:
            get(resilience, client, is_async=is_async)
        finally:
            if order == "after":
                HTTPXClientInstrumentor().uninstrument()

    (the_call,) = spans.calls
    assert [span.parent.span_id for span in spans.attempts] == [the_call.context.span_id] * 2
    assert {span.instrumentation_scope.name for span in spans.attempts} == {"opentelemetry.instrumentation.httpx"}
    assert parents(node) == [format_span_id(span.context.span_id) for span in spans.attempts]


@pytest.mark.parametrize("everywhere", [False, True], ids=["client", "client-and-everywhere"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("mode", ["none", "tracecontext", "all"])
def test_a_client_of_ours_that_is_instrumented_has_one_client_span_per_attempt(
    fault_server, mode, is_async, everywhere
):
    node = fault_server([answer(503), answer()])
    token = context.attach(baggage.set_baggage("tenant", "9"))
    try:
        with tracing(instrumented=everywhere) as spans:
            upstream = {"endpoints": [node.url], "propagate": mode, "retry": QUICK}
            resilience = Resilience({"upstreams": {"payments": upstream}})
            client = resilience.async_client() if is_async else resilience.client()
            HTTPXClientInstrumentor.instrument_client(client)
            get(resilience, client, is_async=is_async)
    finally:
        context.detach(token)

    (the_call,) = spans.calls
    assert [span.parent.span_id for span in spans.attempts] == [the_call.context.span_id] * 2
    sent = [] if mode == "none" else [format_span_id(span.context.span_id) for span in spans.attempts]
    assert parents(node) == sent
    assert {request.header("baggage") for request in node.requests} == {"tenant=9" if mode == "all" else None}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("mode", ["none", "tracecontext", "all"])
def test_somebody_elses_client_that_is_instrumented_keeps_its_one_client_span(fault_server, mode, is_async):
    node = fault_server([answer(503), answer()])
    token = context.attach(baggage.set_baggage("tenant", "9"))
    try:
        with tracing(instrumented=False) as spans:
            upstream = {"endpoints": [node.url], "propagate": mode, "retry": QUICK}
            resilience = Resilience({"upstreams": {"payments": upstream}})
            client = (
                httpx.AsyncClient(transport=resilience.async_transport())
                if is_async
                else httpx.Client(transport=resilience.transport())
            )
            HTTPXClientInstrumentor.instrument_client(client)
            get(resilience, client, is_async=is_async)
    finally:
        context.detach(token)

    (theirs,) = spans.all(SpanKind.CLIENT)
    (the_call, *attempts) = sorted(spans.all(SpanKind.INTERNAL), key=lambda span: span.start_time)
    assert the_call.parent.span_id == theirs.context.span_id
    assert [span.parent.span_id for span in attempts] == [the_call.context.span_id] * 2
    assert {request.header("baggage") for request in node.requests} == {"tenant=9" if mode == "all" else None}
    assert parents(node) == ([] if mode == "none" else [format_span_id(span.context.span_id) for span in attempts])


def test_a_client_that_is_no_longer_instrumented_is_as_before(fault_server):
    node = fault_server()
    with tracing(instrumented=False) as spans:
        resilience = Resilience({"upstreams": {"payments": {"endpoints": [node.url]}}})
        client = resilience.client()
        HTTPXClientInstrumentor.instrument_client(client)
        assert wrapped_by_contrib(client._transport.handle_request)
        HTTPXClientInstrumentor.uninstrument_client(client)
        assert not wrapped_by_contrib(client._transport.handle_request)
        get(resilience, client, is_async=False)

    assert (len(spans.calls), len(spans.attempts)) == (1, 1)


def test_the_code_of_an_instrumented_clients_user_is_still_instrumented(fault_server):
    """An auth flow, a hook: what they send with clients of their own has its own spans."""
    node, other = fault_server(), fault_server()
    with tracing(instrumented=True) as spans, httpx.Client() as tokens:
        resilience = Resilience({"upstreams": {"payments": {"endpoints": [node.url]}}})
        client = resilience.client(event_hooks={"request": [lambda request: tokens.get(other.url) and None]})
        HTTPXClientInstrumentor.instrument_client(client)
        get(resilience, client, is_async=False)

    assert len(spans.attempts) == 2
    assert other.requests[0].header("traceparent") is not None


def get(resilience, client, *, is_async):
    if not is_async:
        with resilience, client:
            client.get("http://payments/charges")
        return

    async def send():
        async with resilience, client:
            await client.get("http://payments/charges")

    anyio.run(send)


def parents(node):
    """The spans that the node was told of."""
    lines = [request.header("traceparent") for request in node.requests]
    return [line.split("-")[2] for line in lines if line is not None]
