"""Observed: the demo's services tell an OTLP receiver of their spans, where the environment names one.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 make serve

Where DEMO_SPANS names a directory, they write them down there instead: a file for each process, a line of JSON for each
span.

An application sets up the SDK once per process, after it has been forked; resilient_http finds it by itself.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from opentelemetry import propagate, trace

Asgi = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


def observe(service: str) -> bool:
    """Set up the SDK. False where nobody wants to hear of it."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ and "DEMO_SPANS" not in os.environ:
        return False
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the demo starts quicker without
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.name": service, "service.instance.id": str(uuid.uuid4())})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(_exporter()))
    trace.set_tracer_provider(provider)
    return True


def _exporter() -> Any:
    if "DEMO_SPANS" in os.environ:
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415

        path = Path(os.environ["DEMO_SPANS"]) / f"{os.getpid()}.spans"
        return ConsoleSpanExporter(out=path.open("a"), formatter=lambda span: f"{span.to_json(indent=None)}\n")
    if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    return OTLPSpanExporter()


def with_spans(app: Asgi, service: str) -> Asgi:
    """An ASGI application of no framework, with a SERVER span for each request."""
    if not observe(service):
        return app

    async def observed(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        tracer, parent = trace.get_tracer(service), propagate.extract(headers)
        with tracer.start_as_current_span(scope["method"], parent, kind=trace.SpanKind.SERVER):
            await app(scope, receive, send)

    return observed
