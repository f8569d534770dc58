"""Concurrency: the one limiter before the connection pool, so that nothing ever queues inside httpcore."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from resilient_http.call import Attempt
from resilient_http.errors import Saturated
from resilient_http.policies import AttemptProceed
from resilient_http.state.concurrency import ConcurrencyLimit


class ConcurrencyPolicy:
    """Holds a permit for each attempt, to the end of its body. First attempts may queue for it; repeats never do.

    Args:
        limit: The upstream's limiter.
        wait: Longest wait for a permit in seconds, or None for as long as the deadline allows.
        usual: Gives the seconds that an attempt usually takes: a wait that leaves less is in vain.
    """

    def __init__(self, limit: ConcurrencyLimit, wait: float | None, usual: Callable[[], float]) -> None:
        self._limit = limit
        self._wait = math.inf if wait is None else wait
        self._usual = usual

    async def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Any:
        """Raise Saturated when there is no permit, and DeadlineExceeded when there will be none in time."""
        if not self._limit.admit():
            await self._queue(attempt)
        attempt.at_end(self._release)
        return await proceed(attempt)

    async def _queue(self, attempt: Attempt) -> None:
        call, limit = attempt.call, self._limit
        if call.tried:
            raise Saturated(f"{call.upstream}: all {limit.limit} permits are taken, and repeats do not queue",
                            upstream=call.upstream)  # fmt: skip
        fits = call.expires - attempt.started - self._usual()
        if fits <= 0:
            raise call.exceeded()
        wait = min(fits, self._wait)
        admission = await call.port.acquire(limit, wait, call.cancellation)
        attempt.entry.queued = call.port.now() - attempt.started
        if admission == "granted":
            return
        if admission == "cancelled":
            raise call.cancelled()
        if admission == "too late" and fits < self._wait:
            raise call.exceeded()
        late = f"none came back in {wait:.3g} s"
        why = f"its queue of {limit.queue} is full" if admission == "queue full" else late
        raise Saturated(f"{call.upstream}: all {limit.limit} permits are taken and {why}; raise concurrency.limit "
                        "and pool.max_connections, or call it less", upstream=call.upstream)  # fmt: skip

    def _release(self, attempt: Attempt, now: float) -> None:
        self._limit.release()
