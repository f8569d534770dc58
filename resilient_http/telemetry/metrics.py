"""Metrics: the table of instruments.py, through OpenTelemetry's API, to whatever exporter the application has set up.

    no MeterProvider is set     nothing is measured, and no listener is there
    one is set, at any time     the next call finds it; gauges and counted decisions are read when somebody collects

Every worker process has its own exporter, which tells itself apart by `service.instance.id`; a provider that is made
before a fork counts what its parent did. See docs/observe.md.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.metrics import _internal as api

from resilient_http.events import (
    AttemptFinished,
    CallFinished,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    EndpointsChanged,
    Event,
    Hub,
    ReloadRejected,
    SettingsReloaded,
    Stalled,
    StreamReclaimed,
)
from resilient_http.telemetry.instruments import BOUNDS, COUNTER, GAUGE, HISTOGRAM, INSTRUMENTS, Instrument
from resilient_http.telemetry.readings import Measured, readings

OVERRUN = 0.02  # seconds after its deadline that a call may end for reasons of ours
REFUSALS = {
    "CircuitOpen": "circuit_open", "RateLimited": "rate_limited", "Saturated": "saturated", "NoEndpoint": "no_endpoint",
    "DeadlineExceeded": "deadline",
}  # fmt: skip


class Metering:
    """Has one Resilience measured, as soon as a MeterProvider is set. Thread-safe.

    Args:
        measured: What is read; not kept alive.
        hub: Where it listens while there is a provider.

    Attributes:
        provider: The one that is followed, or None. Compare it with current_provider() for each call.
    """

    def __init__(self, measured: Measured, hub: Hub) -> None:
        self.provider: Any = None
        self._measured = weakref.ref(measured)
        self._hub = hub
        self._listener: Recorder | None = None

    def follow(self) -> None:
        """Go by the provider that is set now."""
        provider, before, measured = current_provider(), self._listener, self._measured()
        if provider is self.provider or measured is None:
            return
        self.provider = provider
        self._listener = None if provider is None else Recorder(meters().instruments, measured)
        if before is not None:
            self._hub.remove(before)
        if self._listener is not None:
            meters().measured.add(measured)
            self._hub.add(self._listener)


def current_provider() -> Any:
    """The MeterProvider that the application has set, or None."""
    # The public getter reads the environment, and gives a proxy when there is none; a test guards the name.
    return api._METER_PROVIDER  # noqa: SLF001


class Meters:
    """The instruments of one provider; every Resilience of the process shares them.

    Attributes:
        instruments: By name, those that events are told to.
        measured: What is read.
    """

    def __init__(self, provider: Any) -> None:
        self.provider = provider
        self.measured: weakref.WeakSet[Any] = weakref.WeakSet()
        meter = metrics.get_meter("resilient_http")
        self.instruments: dict[str, Any] = {}
        for row in INSTRUMENTS:
            self.instruments[row.name.removeprefix("resilient_http.")] = self._made(meter, row)

    def _made(self, meter: metrics.Meter, row: Instrument) -> Any:
        if row.kind == HISTOGRAM:
            bounds = {"explicit_bucket_boundaries_advisory": BOUNDS}
            return meter.create_histogram(row.name, row.unit, row.means, **bounds)
        if row.kind == COUNTER:
            return meter.create_counter(row.name, row.unit, row.means)
        make = meter.create_observable_gauge if row.kind == GAUGE else meter.create_observable_counter
        return make(row.name, [self._reader(row.name.removeprefix("resilient_http."))], row.unit, row.means)

    def _reader(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            found: dict[Any, float] = {}
            for measured in list(self.measured):
                found |= readings(name, measured, time.monotonic())
            return [Observation(value, dict(labels)) for labels, value in found.items()]

        return read


_known: list[Meters | None] = [None]


def meters() -> Meters:
    """Those of the provider that is set now."""
    known, provider = _known[0], current_provider()
    if known is None or known.provider is not provider:
        known = _known[0] = Meters(provider)
    return known


def load_provider() -> None:
    """Have OpenTelemetry set up the provider that the environment names (OTEL_PYTHON_METER_PROVIDER), if any."""
    metrics.get_meter_provider()


class Recorder:
    """Listens to what each call has to say. Thread-safe.

    Args:
        instruments: By name without the prefix.
        measured: Knows what endpoints are called.
    """

    def __init__(self, instruments: dict[str, Any], measured: Measured) -> None:
        self._labels = measured.labels
        self._instruments = instruments
        self._calls = instruments["call.duration"]
        self._attempts = instruments["attempt.duration"]
        self._at_start = instruments["deadline.at_start"]
        self._at_end = instruments["deadline.at_end"]
        self._hear: dict[type[Event], Callable[[Any], None]] = {
            CallFinished: self._call,
            AttemptFinished: self._attempt,
            CircuitOpened: lambda event: self._circuit(event, "open"),
            CircuitHalfOpened: lambda event: self._circuit(event, "half-open"),
            CircuitClosed: lambda event: self._circuit(event, "closed"),
            EndpointsChanged: lambda event: self._labels.forget(event.upstream, event.removed),
            SettingsReloaded: lambda _: self._add("settings.reloads", result="applied"),
            ReloadRejected: lambda _: self._add("settings.reloads", result="rejected"),
            Stalled: lambda event: self._add("stalls", upstream=self._labels.upstream(event.upstream)),
            StreamReclaimed: lambda event: self._add(
                "streams.reclaimed", upstream=self._labels.upstream(event.upstream)
            ),
        }

    def __call__(self, event: Event) -> None:
        """Measure it, if it is one of those that are measured."""
        hear = self._hear.get(type(event))
        if hear is not None:
            hear(event)

    def _call(self, event: CallFinished) -> None:
        upstream = self._labels.upstream(event.upstream)
        labels = {"upstream": upstream, "route": event.route or "", "outcome": outcome_of(event)}
        self._calls.record(event.duration, labels)
        if event.given is None or event.left is None:
            return
        labels = {"upstream": upstream}
        self._at_start.record(event.given, labels)
        self._at_end.record(max(0.0, event.left), labels)
        if event.left < -OVERRUN:
            self._instruments["deadline.overruns"].add(1, labels)

    def _attempt(self, event: AttemptFinished) -> None:
        upstream = event.upstream
        labels = {
            "upstream": self._labels.upstream(upstream),
            "endpoint": self._labels.endpoint(upstream, event.endpoint),
            "outcome": str(event.outcome),
        }
        self._attempts.record(event.duration, labels)

    def _circuit(self, event: Any, state: str) -> None:
        upstream = event.upstream
        endpoint = self._labels.endpoint(upstream, event.endpoint)
        self._add("circuit.transitions", upstream=self._labels.upstream(upstream), endpoint=endpoint, state=state)

    def _add(self, name: str, **labels: str) -> None:
        self._instruments[name].add(1, labels)


def outcome_of(event: CallFinished) -> str:
    """One of CALL_OUTCOMES."""
    if event.cancelled:
        return "cancelled"
    if event.error is not None:
        return REFUSALS.get(event.error, "failed")
    status = event.status or 0
    return "success" if status < 400 else "client_error" if status < 500 else "server_error"
