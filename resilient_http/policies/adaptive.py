"""Adaptive: tell the adaptive limit how each attempt went, and set the limiter to what it finds."""

from __future__ import annotations

from typing import Any

from resilient_http.call import Attempt
from resilient_http.events import Hub, LimitChanged
from resilient_http.policies import AttemptProceed
from resilient_http.semantics import THROTTLED
from resilient_http.state.adaptive_limit import AdaptiveLimit
from resilient_http.state.concurrency import ConcurrencyLimit
from resilient_http.state.outcome import Fault


class AdaptivePolicy:
    """Measures attempts, a streamed one to its headers.

    Args:
        adaptive: Decides.
        limit: What it decides about.
        hub: Where to tell.
    """

    def __init__(self, adaptive: AdaptiveLimit, limit: ConcurrencyLimit, hub: Hub) -> None:
        self._adaptive = adaptive
        self._limit = limit
        self._hub = hub

    async def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Any:
        """Go on, and learn from how it went."""
        try:
            reply = await proceed(attempt)
        except Exception:
            if attempt.fault is Fault.TIMEOUT and not attempt.stalled:
                self._time_out(attempt)
            raise
        self._record(attempt, attempt.call.port.now(), dropped=reply.status_code in THROTTLED)
        return reply

    def _time_out(self, attempt: Attempt) -> None:
        now = attempt.call.port.now()
        took = now - attempt.started
        cut_short = took < attempt.patience and (attempt.narrowed or attempt.call.overdue(now))
        # A caller that leaves no time says nothing, unless it would have been slow in any case.
        if not cut_short or took > self._adaptive.tolerated:
            self._record(attempt, now, dropped=True)

    def _record(self, attempt: Attempt, now: float, *, dropped: bool) -> None:
        why = self._adaptive.record(attempt.started, now, self._limit.in_flight, dropped=dropped)
        if why is None:
            return
        self._limit.resize(self._adaptive.limit)
        if self._hub.listeners:
            self._hub.emit(LimitChanged(attempt.call.upstream, self._adaptive.limit, why))
