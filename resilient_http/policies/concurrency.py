"""Concurrency: the one limiter before the connection pool, so that nothing ever queues inside httpcore."""

from __future__ import annotations

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
    """

    def __init__(self, limit: ConcurrencyLimit, wait: float | None) -> None:
        self._limit = limit
        self._wait = wait

    async def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Any:
        """Raise Saturated when there is no permit."""
        if not self._limit.admit():
            await self._queue(attempt)
        attempt.at_end(self._release)
        return await proceed(attempt)

    async def _queue(self, attempt: Attempt) -> None:
        call, limit = attempt.call, self._limit
        if call.tried:
            raise Saturated(f"{call.upstream}: all {limit.limit} permits are taken, and repeats do not queue",
                            upstream=call.upstream)  # fmt: skip
        left = call.expires - attempt.started
        wait = left if self._wait is None else min(left, self._wait)
        admission = await call.port.acquire(limit, wait)
        attempt.entry.queued = call.port.now() - attempt.started
        if admission != "granted":
            late = f"none came back in {wait:.3g} s"
            why = f"its queue of {limit.queue} is full" if admission == "queue full" else late
            raise Saturated(f"{call.upstream}: all {limit.limit} permits are taken and {why}; raise concurrency.limit "
                            "and pool.max_connections, or call it less", upstream=call.upstream)  # fmt: skip

    def _release(self, attempt: Attempt, now: float) -> None:
        self._limit.release()
