"""With an SDK configured, the inbound trace goes on to the upstream with each attempt's own span as parent."""

import asyncio

import pytest
from django.test import AsyncClient, Client
from opentelemetry.trace import format_span_id, format_trace_id

from tests.live.servers import answer
from tests.telemetry.sdk import tracing

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


def over_wsgi(path, headers):
    return Client().get(path, headers=headers)


def over_asgi(path, headers):
    return asyncio.run(AsyncClient().get(path, headers=headers))


@pytest.mark.parametrize("instrumented", [False, True], ids=["ours", "contrib"])
@pytest.mark.parametrize("get", [over_wsgi, over_asgi])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_each_attempt_has_a_parent_id_of_its_own_in_the_inbound_trace(payments, kind, get, instrumented):
    server = payments([answer(503), answer()])
    with tracing(instrumented=instrumented) as spans:
        get(f"/{kind}/charge", {"traceparent": PARENT, "tracestate": "vendor=1"})

    assert [request.header("traceparent") for request in server.requests] == [
        f"00-{TRACE_ID}-{format_span_id(span.context.span_id)}-01" for span in spans.attempts
    ]
    assert len(spans.attempts) == 2
    assert {format_trace_id(span.context.trace_id) for span in spans.all()} == {TRACE_ID}
    assert [request.header("tracestate") for request in server.requests] == ["vendor=1"] * 2


def test_a_streaming_body_stays_in_the_trace(payments):
    server = payments(answer())
    with tracing(instrumented=False):
        response = Client().get("/sync/stream", headers={"traceparent": PARENT})
        b"".join(response.streaming_content)

    assert TRACE_ID in server.requests[0].header("traceparent")
