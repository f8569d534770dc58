"""Concurrency: the one limiter before the connection pool, so that nothing ever queues inside httpcore."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

from resilient_http.call import Attempt
from resilient_http.errors import Saturated
from resilient_http.events import Hub, Observed
from resilient_http.policies import AttemptProceed
from resilient_http.state.concurrency import CRITICAL, DEFAULT, SHEDDABLE, ConcurrencyLimit
from resilient_http.state.tally import Tally

ADVICE = "raise concurrency.limit and pool.max_connections, or call it less"


class ConcurrencyPolicy:
    """Holds a permit for each attempt, to the end of its body. First attempts may queue for it; repeats never do.

    Args:
        limit: The upstream's limiter.
        wait: Longest wait for a permit in seconds, or None for as long as the deadline allows.
        usual: Gives the seconds that an attempt usually takes: a wait that leaves less is in vain.
        tally: Counts the refusals.
        priority: Of all its calls, or None for what their inbound request says.
        advice: What to do when there is never a permit.
    """

    def __init__(
        self,
        limit: ConcurrencyLimit,
        wait: float | None,
        usual: Callable[[], float],
        tally: Tally,
        priority: str | None = None,
        advice: str = ADVICE,
    ) -> None:
        self._advice = advice
        self._limit = limit
        self._wait = math.inf if wait is None else wait
        self._usual = usual
        self._tally = tally
        self._priority = priority

    def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Awaitable[Any]:
        """Raise Saturated when there is no permit, and DeadlineExceeded when there will be none in time."""
        priority = self._priority or attempt.call.priority or DEFAULT
        if not self._limit.admit(priority):
            return self._after_the_queue(attempt, priority, proceed)
        attempt.at_end(self._release_critical if priority == CRITICAL else self._release)
        return proceed(attempt)

    async def _after_the_queue(self, attempt: Attempt, priority: str, proceed: AttemptProceed) -> Any:
        await self._queue(attempt, priority)
        attempt.at_end(self._release_critical if priority == CRITICAL else self._release)
        return await proceed(attempt)

    async def _queue(self, attempt: Attempt, priority: str) -> None:
        call, limit = attempt.call, self._limit
        if priority == SHEDDABLE:
            raise self._saturated(
                attempt, "shed", f"shed, being sheddable: {limit.in_flight} of {limit.limit} permits are taken"
            )
        taken = f"all {limit.limit} permits are taken"
        if call.tried:
            raise self._saturated(attempt, "repeat", f"{taken}, and repeats do not queue")
        began = call.port.now()
        fits = call.expires - began - self._usual()
        if fits <= 0:
            raise call.exceeded()
        wait = min(fits, self._wait)
        admission = await call.port.acquire(limit, wait, call.cancellation, priority)
        attempt.entry.queued += call.port.now() - began
        if admission == "granted":
            return
        if admission == "cancelled":
            raise call.cancelled()
        if admission == "too late" and fits < self._wait:
            raise call.exceeded()
        full = admission == "queue full"
        why = f"its queue of {limit.queue} is full" if full else f"none came back in {wait:.3g} s"
        raise self._saturated(attempt, "queue full" if full else "too late", f"{taken} and {why}; {self._advice}")

    def _saturated(self, attempt: Attempt, kind: str, why: str) -> Saturated:
        self._tally.add(kind)
        upstream = attempt.call.upstream
        return Saturated(f"{upstream}: {why}", upstream=upstream)

    def _release(self, attempt: Attempt, now: float) -> None:
        self._limit.release()

    def _release_critical(self, attempt: Attempt, now: float) -> None:
        self._limit.release(CRITICAL)


class ConcurrencyObserver:
    """Counts attempts as ConcurrencyPolicy does, lets them all pass, and tells what that would have done.

    Args:
        limit: The limiter that is tried out.
        tally: Counts what would have been done.
        priority: As ConcurrencyPolicy's.
        hub: Where to tell.
    """

    def __init__(self, limit: ConcurrencyLimit, tally: Tally, priority: str | None, hub: Hub) -> None:
        self._limit = limit
        self._tally = tally
        self._priority = priority
        self._hub = hub

    def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Awaitable[Any]:
        """Go on, whatever the limiter says."""
        priority = self._priority or attempt.call.priority or DEFAULT
        if not self._limit.admit(priority):
            self._observe(attempt, priority)
            self._limit.overrun(priority)
        attempt.at_end(self._release_critical if priority == CRITICAL else self._release)
        return proceed(attempt)

    def _observe(self, attempt: Attempt, priority: str) -> None:
        limit, upstream = self._limit, attempt.call.upstream
        if priority == SHEDDABLE:
            kind, would = "would shed", "refuse it, being sheddable"
        elif attempt.call.tried:
            kind, would = "would refuse", "refuse the repeat, because repeats do not queue"
        elif limit.in_flight - limit.limit >= limit.queue:
            kind, would = "would refuse", f"refuse it, because its queue of {limit.queue} is full"
        else:
            kind, would = "would queue", "have it wait for a permit"
        self._tally.add(kind)
        attempt.call.journal.note(f"concurrency, observed: would {would}")
        if self._hub.listeners:
            self._hub.emit(Observed(upstream, "concurrency", f"{would}: {limit.in_flight} of {limit.limit} under way"))

    def _release(self, attempt: Attempt, now: float) -> None:
        self._limit.release()

    def _release_critical(self, attempt: Attempt, now: float) -> None:
        self._limit.release(CRITICAL)
