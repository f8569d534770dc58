"""Deadline: a call ends at its deadline, or when nobody waits for it any more, and says so."""

from __future__ import annotations

from typing import Any

from resilient_http.call import Call
from resilient_http.errors import Refused, because
from resilient_http.policies import CallProceed
from resilient_http.state.outcome import Fault


class DeadlinePolicy:
    """Bounds the call, and turns what the deadline cut into DeadlineExceeded.

    Args:
        total: Seconds from the call's start, or None for no deadline of the upstream's own.
    """

    def __init__(self, total: float | None) -> None:
        self._total = total

    async def __call__(self, call: Call, proceed: CallProceed) -> Any:
        """Raise DeadlineExceeded instead of what the deadline caused, Cancelled when nobody waits for the call."""
        if self._total is not None:
            call.bound(call.started + self._total, self._total)
        if call.port.now() >= call.expires:
            raise call.exceeded()
        if call.gone:
            raise call.cancelled()
        try:
            return await proceed(call)
        except Exception as exc:
            if call.overdue(call.port.now()) and _caused_by_waiting(call, exc):
                raise because(call.exceeded(), exc) from exc
            raise


def _caused_by_waiting(call: Call, error: Exception) -> bool:
    last = call.entry
    return isinstance(error, Refused) or (last is not None and last.fault is Fault.TIMEOUT)
