"""Retry: repeat what may be repeated, within the budget and the deadline.

A failed attempt is repeated when all of these hold, asked in this order:

    1. its status is one of `statuses`, without the marker of a dependency that is down, or it ended in a fault of the
       network;
    2. it provably was not sent, or the method is one of `methods` or carries an Idempotency-Key;
    3. its body can be sent again (what was not sent needs no replay);
    4. fewer than `max_attempts` were made;
    5. the wait is at most `max_wait`, and fits together with a usual attempt into what is left of the deadline;
    6. the budget has a token.

Else the call ends with what it has: the last real response, or the last real exception.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from resilient_http.call import Call, Reply
from resilient_http.errors import Refused
from resilient_http.events import Hub, RetryScheduled, RetrySuppressed
from resilient_http.journal import Entry
from resilient_http.policies import CallProceed
from resilient_http.semantics import DEPENDENCY_DOWN, RETRYABLE_STATUSES, THROTTLED, retry_after
from resilient_http.state.backoff import Backoff
from resilient_http.state.outcome import Fault
from resilient_http.state.retry_budget import RetryBudget

KEEP_WITHIN = 0.5  # seconds that reading the rest of a response may take that is set aside
TRANSIENT = frozenset({Fault.UNREACHABLE, Fault.TIMEOUT, Fault.BROKEN, Fault.LOCAL})


@dataclass(frozen=True, slots=True)
class RetryRules:
    """The numbers of a retry; see RetrySettings for their meaning."""

    max_attempts: int = 3
    statuses: frozenset[int] = RETRYABLE_STATUSES
    max_wait: float = 5.0
    trusts_marker: bool = False


class RetryPolicy:
    """Repeats failed attempts of a call.

    Args:
        rules: What is repeated, how often.
        backoff: How long to wait before.
        budget: The upstream's bucket, or None for no budget.
        usual: Gives the seconds that an attempt usually takes, for "does it still fit".
        hub: Where to tell what was decided.
    """

    def __init__(
        self, rules: RetryRules, backoff: Backoff, budget: RetryBudget | None, usual: Callable[[], float], hub: Hub
    ) -> None:
        self._rules = rules
        self._backoff = backoff
        self._budget = budget
        self._usual = usual
        self._hub = hub

    async def __call__(self, call: Call, proceed: CallProceed) -> Any:
        """The first good response, or the last real outcome."""
        number = 0
        last: Callable[[], Any] | None = None  # gives the last real outcome again
        response, error = None, None
        try:
            while True:
                number += 1
                response, error = None, None
                try:
                    response = await proceed(call)
                except Refused:
                    self._refund(number)
                    if last is None:
                        raise
                    *_, before, entry = call.journal.attempts
                    then = "return" if before.error is None else "raise"
                    entry.decide(then, "refused; the last real outcome stands")
                    return last()
                except Exception as exc:  # noqa: BLE001 - raised again below, unless it may be repeated
                    error = exc
                except BaseException:
                    # Cancelled; what was sent was sent.
                    if call.journal.last is not None:
                        self._count(number, call.journal.last, call)
                    raise
                entry = call.journal.newest
                self._count(number, entry, call)
                if error is None and entry.status not in self._rules.statuses:
                    return response
                delay, why = self._plan(call, entry, response, number)
                if delay is None:
                    self._suppress(call, entry, number, error, why)
                    if error is not None:
                        raise error
                    return response
                self._schedule(call, entry, number, delay, why)
                last = await self._pause(call, number, delay, response, error)
        finally:
            # Else an exception, its traceback and this frame would hold each other.
            last = response = error = None

    def _plan(self, call: Call, entry: Entry, response: Reply | None, number: int) -> tuple[float | None, str]:
        """The delay before the next attempt and why it is made, or None and why it is not."""
        why = f"status {entry.status}" if response is not None else (entry.fault.value if entry.fault else "error")
        refusal = self._refuse(call, entry, response, number)
        if refusal:
            return None, f"{why}, {refusal}"
        now = call.port.now()
        delay = self._delay(response, number, call.port.wall_now(), call.port.rng)
        if delay > self._rules.max_wait:
            return None, f"{why}, asked to wait {delay:.3g} s, longer than max_wait {self._rules.max_wait:.3g} s"
        if now + delay + self._usual() > call.expires:
            return None, f"{why}, the next attempt does not fit into the deadline"
        if self._budget is not None and not self._budget.withdraw(now):
            return None, f"{why}, the retry budget is used up"
        return delay, why

    async def _pause(
        self, call: Call, number: int, delay: float, response: Any, error: Exception | None
    ) -> Callable[[], Any] | None:
        """Set the outcome aside and wait. Gives what gives the outcome again, or None when it was too large to keep."""
        port = call.port
        try:
            if error is not None:
                again: Callable[[], Any] | None = _raiser(error)
            else:
                spare = call.expires - port.now() - delay - self._usual()
                again = (
                    (lambda: response) if await port.set_aside(response, min(KEEP_WITHIN, max(0.0, spare))) else None
                )
            await port.sleep(delay, call.cancellation)
        except BaseException:
            # Cancelled: the repeat that was paid for will not be sent.
            self._refund(number + 1)
            raise
        if call.gone:
            self._refund(number + 1)
            raise call.cancelled()
        return again

    def _refuse(self, call: Call, entry: Entry, response: Reply | None, number: int) -> str | None:
        """Why the attempt must not be repeated, whatever the time and the budget."""
        if response is None and entry.fault not in TRANSIENT:
            return "not retryable"
        if response is not None and self._rules.trusts_marker and DEPENDENCY_DOWN in response.headers:
            return "a dependency of its own is down"
        if entry.sent and not call.repeatable:
            return f"{call.method} may have been acted on and is not idempotent"
        if entry.sent and not call.replayable:
            return "its body cannot be sent again"
        if number >= self._rules.max_attempts:
            return f"{number} of {self._rules.max_attempts} attempts made"
        return None

    def _delay(self, response: Reply | None, number: int, wall_now: float, rng: random.Random) -> float:
        if response is None:
            return self._backoff.next_delay(number, rng)
        header = response.headers.get("retry-after")
        asked = None if header is None else retry_after(header, wall_now=wall_now)
        return self._backoff.next_delay(number, rng, throttled=response.status_code in THROTTLED, retry_after=asked)

    def _count(self, number: int, entry: Entry, call: Call) -> None:
        if self._budget is None:
            return
        if not entry.sent:
            self._refund(number)
        elif number == 1:
            self._budget.deposit(call.port.now())

    def _refund(self, number: int) -> None:
        if self._budget is not None and number > 1:
            self._budget.refund()

    def _schedule(self, call: Call, entry: Entry, number: int, delay: float, why: str) -> None:
        entry.decide("retry", why, delay)
        if self._hub.listeners:
            self._hub.emit(RetryScheduled(call.upstream, number + 1, delay, why))

    def _suppress(self, call: Call, entry: Entry, number: int, error: Exception | None, why: str) -> None:
        entry.decide("return" if error is None else "raise", why)
        if self._hub.listeners:
            self._hub.emit(RetrySuppressed(call.upstream, number, why))


def _raiser(error: Exception) -> Callable[[], NoReturn]:
    def raise_again() -> NoReturn:
        raise error

    return raise_again
