"""An OpenTelemetry SDK of metrics for one test, read by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.metrics import _internal as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader
from opentelemetry.util._once import Once


class Measurements:
    """What is measured, as it stands."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def names(self) -> set[str]:
        """The instruments that have a value."""
        return set(self._points())

    def of(self, name: str) -> dict[tuple[Any, ...], float]:
        """Values by label values, those that are empty left out; of a histogram how many were recorded."""
        return {
            tuple(value for value in point.attributes.values() if value != ""): getattr(point, "count", None)
            if hasattr(point, "count")
            else point.value
            for point in self._points().get(f"resilient_http.{name}", [])
        }

    def sums(self, name: str) -> dict[tuple[Any, ...], float]:
        """The sums of a histogram."""
        points = self._points()[f"resilient_http.{name}"]
        return {tuple(value for value in point.attributes.values() if value != ""): point.sum for point in points}

    def labels(self, name: str) -> set[str]:
        """The names of its labels."""
        return {label for point in self._points()[f"resilient_http.{name}"] for label in point.attributes}

    def _points(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@contextmanager
def provided(reader: MetricReader) -> Iterator[None]:
    """Set a MeterProvider with that reader until the end of the block, and put back what was there."""
    provider = MeterProvider(metric_readers=[reader])
    before = api._METER_PROVIDER, api._METER_PROVIDER_SET_ONCE
    api._METER_PROVIDER, api._METER_PROVIDER_SET_ONCE = None, Once()
    api.set_meter_provider(provider)
    try:
        yield
    finally:
        api._METER_PROVIDER, api._METER_PROVIDER_SET_ONCE = before
        provider.shutdown()


@contextmanager
def metering() -> Iterator[Measurements]:
    """Measure until the end of the block."""
    reader = InMemoryMetricReader()
    with provided(reader):
        yield Measurements(reader)
