"""An OpenTelemetry SDK for one test, with or without the instrumentation of httpx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.util._once import Once


class Spans:
    """The spans that have ended, oldest first."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def all(self, kind: SpanKind | None = None) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if kind is None or span.kind is kind]

    @property
    def calls(self) -> list[ReadableSpan]:
        """Those of kind INTERNAL."""
        return self.all(SpanKind.INTERNAL)

    @property
    def attempts(self) -> list[ReadableSpan]:
        """Those of kind CLIENT, in the order of their start."""
        return sorted(self.all(SpanKind.CLIENT), key=lambda span: span.start_time or 0)


@contextmanager
def tracing(*, instrumented: bool) -> Iterator[Spans]:
    """Configure an SDK until the end of the block.

    A process can set its provider once, so this goes beneath the public API, and puts back what was there.

    Args:
        instrumented: Whether httpx is, by opentelemetry-instrumentation-httpx.
    """
    spans, provider = Spans(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans.exporter))
    before = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()
    trace.set_tracer_provider(provider)
    instrumentor = HTTPXClientInstrumentor()
    if instrumented:
        instrumentor.instrument()
    try:
        yield spans
    finally:
        if instrumented:
            instrumentor.uninstrument()
        trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = before
        provider.shutdown()
