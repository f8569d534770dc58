"""Observers: all who look on at one Resilience: traces, metrics, logs. Made once per process, whatever is forked."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

from resilient_http.call import Call
from resilient_http.events import Hub
from resilient_http.misplaced import InTransaction, Misplaced
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.telemetry import metrics, tracing
from resilient_http.telemetry.attempt_spans import AttemptTracing
from resilient_http.telemetry.labels import Labels
from resilient_http.telemetry.logs import AttemptDetail, CallLog, EventLog, redact_httpx
from resilient_http.telemetry.metrics import Metering
from resilient_http.telemetry.redaction import shown_url


class Observers:
    """They. What metrics read of it: see readings.Measured.

    Args:
        settings: What they are told.
        hub: Where they listen.
        in_transaction: Tells whether a database transaction is open; None where nobody can.

    Attributes:
        log: Hears of degraded calls.
        misplaced: Looks where calls are made.
        metering: Follows the provider of metrics; None for no metrics.
        traces: Whether calls have spans.
        labels: What upstreams and endpoints are called.
        keep: Hears of degraded calls too, as `log.tell` does; None for nobody.
    """

    def __init__(self, settings: Settings, hub: Hub, in_transaction: InTransaction | None = None) -> None:
        own = settings.telemetry
        self.misplaced = Misplaced(settings.misplaced, in_transaction)
        tracing.load_provider()
        metrics.load_provider()
        if settings.logging.redact_httpx:
            redact_httpx(frozenset(own.query))
        hub.told = EventLog(settings.logging, time.monotonic)
        self.labels = Labels()
        self.log = CallLog(settings.logging)
        self.traces = own.traces
        self.metering = Metering(self, hub) if own.metrics else None
        self._query = frozenset(own.query)
        self._detail = AttemptDetail(settings.logging, own)
        self.keep: Callable[[Call, str, int | None, BaseException | None], object] | None = None
        self._control: Any = lambda: None

    def look_at(self, control: Any) -> None:
        """It has the upstreams of this process from now on. Not kept alive."""
        self._control = weakref.ref(control)
        if self.metering is not None:
            self.metering.follow()

    def tell_degraded(self, call: Call, kind: str, status: int | None, error: BaseException | None) -> None:
        """A call has ended, degraded as `kind`."""
        self.log.tell(call, kind, status, error)
        if self.keep is not None:
            self.keep(call, kind, status, error)

    def tracer(self, settings: UpstreamSettings) -> AttemptTracing:
        """What carries traces to an upstream."""
        return AttemptTracing(settings.propagate, self._query, self._detail, hedges=settings.hedge is not None)

    def shown(self, url: Any) -> str:
        """A URL as it may be seen."""
        return shown_url(url, self._query)

    def upstreams(self) -> list[Any]:
        """Every upstream and guard that is known."""
        control = self._control()
        return [] if control is None else [*control.upstreams().values(), *control.guards.values()]

    def departed(self) -> list[Any]:
        """The record of the unnamed upstreams that have been dropped, if there is one."""
        control = self._control()
        return [] if control is None else [control.departed()]

    def connections_to(self, endpoint: Any) -> int:
        """How many are open."""
        control = self._control()
        return 0 if control is None else int(control.connections_to(endpoint))
