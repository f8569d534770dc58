"""Headers: what each attempt tells its upstream about itself."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import Any

from resilient_http.call import Attempt
from resilient_http.policies import AttemptProceed
from resilient_http.semantics import IDEMPOTENCY_KEY, write_timeout
from resilient_http.state.concurrency import DEFAULT


class HeadersPolicy:
    """Adds header fields to each attempt.

    Args:
        deadline: Name and unit of the one that says how long we wait for it, or None.
        number: Name of the one that says which attempt it is, or None. It never says 1 when the inbound request is
            itself a repeat: so whoever gets it knows that somebody before us has asked already.
        priority: Name of the one that says how important the call is, and the priority of all calls, or None for what
            the inbound request says; None for no such header.
    """

    def __init__(
        self,
        *,
        deadline: tuple[str, str] | None = None,
        number: str | None = None,
        priority: tuple[str, str | None] | None = None,
    ) -> None:
        self._deadline = deadline
        self._priority = priority
        self._number = number

    def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Awaitable[Any]:
        """Add them, and go on."""
        call = attempt.call
        if self._deadline is not None:
            self._tell_deadline(attempt, *self._deadline)
        if self._number is not None:
            attempt.headers += ((self._number, str(call.made + call.repeated)),)
        if self._priority is not None:
            name, own = self._priority
            attempt.headers += ((name, own or call.priority or DEFAULT),)
        if call.key is not None:
            attempt.headers += ((IDEMPOTENCY_KEY, call.key),)
        return proceed(attempt)

    def _tell_deadline(self, attempt: Attempt, name: str, unit: str) -> None:
        # Of a streamed response the attempt's own limit ends at the headers; who sends it has longer.
        left = (attempt.call.expires if attempt.call.streamed else attempt.expires) - attempt.started
        if left < math.inf:
            attempt.headers += ((name, write_timeout(left, unit)),)
            attempt.hurried = left < attempt.patience
