"""With an SDK configured, the inbound trace goes on to the upstream with each attempt's own span as parent."""

import httpx
import pytest
from opentelemetry.trace import format_span_id

from tests.live.servers import answer
from tests.resilient_http_fastapi.service import make_app
from tests.telemetry.sdk import tracing

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


async def get(app, path):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as inbound:
        return await inbound.get(path, headers={"traceparent": PARENT, "tracestate": "vendor=1"})


@pytest.mark.parametrize("instrumented", [False, True], ids=["ours", "contrib"])
@pytest.mark.parametrize("kind", ["async", "sync", "named"])
async def test_each_attempt_has_a_parent_id_of_its_own_in_the_inbound_trace(payments, kind, instrumented):
    server, settings = payments([answer(503), answer()])
    with tracing(instrumented=instrumented) as spans:
        await get(make_app(settings), f"/{kind}/charge")

    assert [request.header("traceparent") for request in server.requests] == [
        f"00-{TRACE_ID}-{format_span_id(span.context.span_id)}-01" for span in spans.attempts
    ]
    assert len(spans.attempts) == 2
    assert [request.header("tracestate") for request in server.requests] == ["vendor=1"] * 2


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_streaming_body_stays_in_the_trace(payments, kind):
    server, settings = payments(answer())
    with tracing(instrumented=False):
        await get(make_app(settings), f"/{kind}/stream")

    assert TRACE_ID in server.requests[0].header("traceparent")
