"""Traces as a real OTLP receiver gets them, over gRPC and HTTP; and one trace through the services of the demo."""

from __future__ import annotations

import re
import urllib.request
from contextlib import ExitStack

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.live.callers import Caller
from tests.live.processes import served
from tests.live.servers import answer
from tests.telemetry.sdk import tracing

PROTOCOLS = ("grpc", "http/protobuf")
SPAN = re.compile(r"Trace ID +: (\w+)\s+Parent ID +: (\w*)\s+ID +: (\w+)\s+Name +: (.*)\s+Kind +: SPAN_KIND_(\w+)")


def spans_of(log):
    """Those that the receiver has written down: service, trace id, parent id, id, name and kind."""
    found = []
    for resource in log.split("ResourceSpans #")[1:]:
        service = re.search(r"service\.name: Str\((.*?)\)", resource)
        found += [("" if service is None else service[1], *span) for span in SPAN.findall(resource)]
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_receiver_gets_the_call_its_attempts_and_its_decisions(rotel, fault_server, kind, protocol):
    node, caller = fault_server([answer(503), answer()]), Caller(kind, "httpx")
    retry = {"backoff": {"base": 0.001, "throttled_base": 0.001}}

    async def body(client):
        await client.get("http://payments/charges")

    with tracing(instrumented=False):
        exporter = (
            GrpcExporter(endpoint=f"http://127.0.0.1:{rotel.grpc}", insecure=True)
            if protocol == "grpc"
            else HttpExporter(endpoint=f"http://127.0.0.1:{rotel.http}/v1/traces")
        )
        trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
        caller.run(caller.resilience({"upstreams": {"payments": {"endpoints": [node.url], "retry": retry}}}), body)

    log = rotel.wait_for(lambda text: len(spans_of(text)) >= 3, "three spans")
    spans = spans_of(log)
    assert sorted((name, kind) for *_, name, kind in spans) == [
        ("GET", "CLIENT"), ("GET", "CLIENT"), ("GET payments", "INTERNAL"),
    ]  # fmt: skip
    (the_call,) = [span for span in spans if span[-1] == "INTERNAL"]
    assert {span[2] for span in spans if span[-1] == "CLIENT"} == {the_call[3]}
    assert "resilient_http.retry" in log
    assert "status 503" in log


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_three_services_of_the_demo_are_one_trace(rotel, protocol):
    port = rotel.grpc if protocol == "grpc" else rotel.http
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "DJANGO_SETTINGS_MODULE": "example_project.shop.settings",
        "DEMO_CLIENT": "resilient",
    }
    uvicorn = ["uvicorn", "--fd", "FD", "--log-level", "warning"]
    gunicorn = ["gunicorn", "--bind", "fd://FD", "--worker-class", "gthread", "--no-control-socket"]
    with ExitStack() as services:
        node = services.enter_context(served([*uvicorn, "example_project.node.app:app"], environment))
        environment["DEMO_NODES"] = node.url
        pricing = services.enter_context(served([*uvicorn, "example_project.pricing.app:app"], environment))
        environment["DEMO_PRICING"] = pricing.url
        shop = services.enter_context(served([*gunicorn, "example_project.shop.wsgi"], environment))
        with urllib.request.urlopen(f"{shop.url}/checkout/42", timeout=20) as response:
            assert response.status == 200
        everybody = {("shop", "pricing"), ("pricing", "payments")}
        rotel.wait_for(lambda text: everybody <= handed_on(spans_of(text)), "who has called whom in one trace")


def handed_on(spans):
    """Which service's span has a child of which other service's, in the same trace as the shop's."""
    ours = {span[1] for span in spans if span[0] == "shop"}
    by_id = {span[3]: span for span in spans if span[1] in ours}
    return {(by_id[span[2]][0], span[0]) for span in spans if span[2] in by_id}
