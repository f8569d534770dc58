"""Rate limit: no more attempts a second than an upstream allows.

A token is taken before the permit, so nobody waits for one while holding the other. One whose attempt was not sent
after all goes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resilient_http.call import Attempt, Call
from resilient_http.errors import RateLimited
from resilient_http.events import Hub, Observed
from resilient_http.policies import AttemptProceed
from resilient_http.state.leased_bucket import LeasedBucket
from resilient_http.state.tally import Tally
from resilient_http.state.token_bucket import TokenBucket


class RateLimitPolicy:
    """Takes a token for each attempt. First attempts may wait for theirs; repeats never do.

    Args:
        bucket: The upstream's, or this process's part of one that processes share.
        wait: Longest wait in seconds. 0 or more.
        usual: Gives the seconds that an attempt usually takes: a wait that leaves less is in vain.
        observe: Refuse nothing, and tell what would have been done.
        tally: Counts what was decided.
        hub: Where to tell.
    """

    def __init__(
        self,
        bucket: TokenBucket | LeasedBucket,
        wait: float,
        usual: Callable[[], float],
        tally: Tally,
        hub: Hub,
        *,
        observe: bool,
    ) -> None:
        self._bucket = bucket
        self._wait = wait
        self._usual = usual
        self._tally = tally
        self._hub = hub
        self._observe = observe

    async def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Any:
        """Raise RateLimited when no token comes in time."""
        now = attempt.call.port.now()
        wait = self._bucket.reserve(now)
        if wait > 0:
            patience = self._patience(attempt, now)
            if self._observe:
                self._tell(attempt, wait, patience)
                return await proceed(attempt)
            await self._queue(attempt, now, patience)
        attempt.at_end(self._refund)
        return await proceed(attempt)

    async def _queue(self, attempt: Attempt, now: float, patience: float) -> None:
        call = attempt.call
        wait = self._bucket.reserve(now, patience)
        if wait > patience:
            raise self._refused(call, wait)
        self._tally.add("waited")
        gives_up = now + patience
        while wait > 0:
            await self._sleep(call, wait)
            wait = self._bucket.collect(call.port.now())
            if wait > 0 and call.port.now() + wait > gives_up:
                # Other processes had it.
                self._bucket.leave()
                raise self._refused(call, wait)
        attempt.entry.queued += call.port.now() - now

    async def _sleep(self, call: Call, seconds: float) -> None:
        try:
            await call.port.sleep(seconds, call.cancellation)
        except BaseException:
            # Cancelled while waiting.
            self._bucket.leave()
            raise
        if call.gone:
            self._bucket.leave()
            raise call.cancelled()

    def _refused(self, call: Call, wait: float) -> RateLimited:
        self._tally.add("refused")
        message = f"{call.upstream}: its rate limit of {self._bucket.rate:g}/s is used up; next in {wait:.3g} s"
        return RateLimited(message, upstream=call.upstream, retry_in=wait)

    def _patience(self, attempt: Attempt, now: float) -> float:
        call = attempt.call
        return 0.0 if call.tried else max(0.0, min(self._wait, call.expires - now - self._usual()))

    def _tell(self, attempt: Attempt, wait: float, patience: float) -> None:
        would = f"wait {wait:.3g} s" if wait <= patience else f"refuse; next in {wait:.3g} s"
        self._tally.add("would wait" if wait <= patience else "would refuse")
        attempt.call.journal.note(f"rate limit, observed: would {would}")
        if self._hub.listeners:
            self._hub.emit(Observed(attempt.call.upstream, "rate_limit", would))

    def _refund(self, attempt: Attempt, now: float) -> None:
        if not attempt.sent:
            self._bucket.refund()
