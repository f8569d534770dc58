"""Telemetry: tell listeners and the trace about each attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from resilient_http.call import Attempt
from resilient_http.events import AttemptFinished, Hub
from resilient_http.policies import AttemptProceed


class Detail(Protocol):
    """What the telemetry package hands in to tell all of an attempt to whoever wants to read that much."""

    @property
    def wanted(self) -> Callable[[], bool]:
        """Says whether somebody does."""

    def sending(self, attempt: Attempt) -> None:
        """It is about to be sent."""

    def received(self, attempt: Attempt, reply: Any) -> None:
        """Its answer has come."""


class AttemptTracer(Protocol):
    """What the telemetry package hands in; policies know no OpenTelemetry."""

    @property
    def detail(self) -> Detail | None:
        """Who is told all of an attempt, or None."""

    def begin_attempt(self, attempt: Attempt) -> object:
        """Give the attempt its trace headers, and its span where nobody else makes one. A token, or None."""

    def leave_attempt(self, token: Any) -> None:
        """The attempt has been sent; its span may last longer."""


class Untraced:
    """Makes no span: of what is not HTTP, whatever client of its own it has makes one."""

    def __init__(self) -> None:
        self.detail: Detail | None = None

    def begin_attempt(self, attempt: Attempt) -> None:
        """Nothing."""

    def leave_attempt(self, token: Any) -> None:
        """Nothing."""


class TelemetryPolicy:
    """The innermost layer: it sees each attempt as it is sent.

    Args:
        tracer: Puts the trace into the attempt.
        hub: Where finished attempts are told.
    """

    def __init__(self, tracer: AttemptTracer, hub: Hub) -> None:
        self._tracer = tracer
        self._hub = hub
        self._detail = tracer.detail

    def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Awaitable[Any]:
        """Begin the attempt's span and have its end told."""
        if self._hub.listeners:
            attempt.at_end(self._tell)
        call, detail = attempt.call, self._detail
        if detail is not None and call.request is not None and detail.wanted():
            proceed = self._detailed(detail, proceed)
        return self._traced(attempt, proceed) if call.span is not None or call.headers else proceed(attempt)

    async def _traced(self, attempt: Attempt, proceed: AttemptProceed) -> Any:
        token = self._tracer.begin_attempt(attempt)
        if token is None:
            return await proceed(attempt)
        try:
            return await proceed(attempt)
        finally:
            self._tracer.leave_attempt(token)

    def _detailed(self, detail: Detail, proceed: AttemptProceed) -> AttemptProceed:
        async def tell_all(attempt: Attempt) -> Any:
            detail.sending(attempt)
            reply = await proceed(attempt)
            detail.received(attempt, reply)
            return reply

        return tell_all

    def _tell(self, attempt: Attempt, now: float) -> None:
        entry = attempt.entry
        self._hub.emit(
            AttemptFinished(
                attempt.call.upstream,
                entry.endpoint,
                entry.number,
                entry.duration,
                entry.status,
                entry.error,
                entry.outcome,
            )
        )
