"""Timeout: how long one attempt may wait, as a whole and in each of its phases."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Mapping
from typing import Any

from resilient_http.call import Attempt
from resilient_http.policies import AttemptProceed

PHASES = ("connect", "read", "write", "pool")
UNLIMITED = dict.fromkeys(PHASES)  # what a client without a timeout of its own asks


class TimeoutPolicy:
    """Bounds each attempt by its own limit, by each phase's limit and by what is left of the call's deadline.

    Args:
        attempt: Seconds for one attempt, or None. To the end of its body; of a streamed one, to its headers.
        phases: Seconds for "connect", "read", "write" and "pool", each may be None.
    """

    def __init__(self, attempt: float | None, phases: Mapping[str, float | None]) -> None:
        self._attempt = math.inf if attempt is None else attempt
        self._phases = {name: phases.get(name) for name in PHASES}

    def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Awaitable[Any]:
        """Set the attempt's limits; the port and the engine keep to them."""
        attempt.patience = self._attempt
        call, ends = attempt.call, attempt.started + self._attempt
        attempt.expires = min(call.expires, ends)
        attempt.phases = self._phases
        request = call.request
        if request is not None:
            asked = request.extensions.get("timeout")
            if asked and asked != UNLIMITED:
                self._narrow(attempt, asked)
        return proceed(attempt)

    def _narrow(self, attempt: Attempt, asked: Mapping[str, Any]) -> None:
        """Apply the caller's own `timeout=`: it may shorten a phase, never lengthen one."""
        narrowed = None
        for name, own in self._phases.items():
            limit = asked.get(name)
            if limit is not None and (own is None or limit < own):
                narrowed = narrowed or dict(self._phases)
                narrowed[name] = float(limit)
        if narrowed is not None:
            attempt.phases = narrowed
            attempt.narrowed = True
