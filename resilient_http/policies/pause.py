"""Pause: when an upstream says 429 and when to come back, nobody asks it for the same till then.

A route is known by a keyed hash of method, path and credential, or of the credential alone: neither a credential nor a
path is kept.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from resilient_http.call import Attempt, Reply
from resilient_http.errors import RateLimited
from resilient_http.events import Hub, Observed, RoutePaused
from resilient_http.policies import AttemptProceed
from resilient_http.semantics import TOO_MANY, come_back_in
from resilient_http.state.pauses import Pauses
from resilient_http.state.stored_response import has_credentials
from resilient_http.state.tally import Tally


class PausePolicy:
    """Refuses attempts on a paused route, and pauses routes.

    Args:
        pauses: The upstream's.
        most: Longest pause, seconds.
        by_path: Whether the path makes a route, besides the credential.
        observe: Pause nothing, and tell what would have been paused.
        tally: Counts what was decided.
        hub: Where to tell.
    """

    def __init__(
        self, pauses: Pauses, most: float, tally: Tally, hub: Hub, *, by_path: bool = True, observe: bool = False
    ) -> None:
        self._pauses = pauses
        self._most = most
        self._tally = tally
        self._hub = hub
        self._by_path = by_path
        self._observe = observe

    async def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Any:
        """Raise RateLimited while the route is paused."""
        call = attempt.call
        now = call.port.now()
        if self._pauses.any(now):
            left = self._pauses.left(self._route(attempt), now)
            if left > 0:
                self._tally.add("refused")
                message = f"{call.upstream}: it asked (429) to be left alone for {left:.3g} s more on this route"
                raise RateLimited(message, upstream=call.upstream, retry_in=left)
        reply = await proceed(attempt)
        if reply.status_code in TOO_MANY:
            self._pause(attempt, reply)
        return reply

    def _pause(self, attempt: Attempt, reply: Reply) -> None:
        call = attempt.call
        asked = come_back_in(reply.headers, wall_now=call.port.wall_now())
        if not asked:
            return
        seconds = min(asked, self._most)
        if self._observe:
            self._tally.add("would pause")
            if self._hub.listeners:
                self._hub.emit(Observed(call.upstream, "pauses", f"pause the route for {seconds:.3g} s"))
            return
        self._pauses.pause(self._route(attempt), call.port.now() + seconds)
        self._tally.add("paused")
        call.journal.note(f"pauses: the route is left alone for {seconds:.3g} s")
        if self._hub.listeners:
            self._hub.emit(RoutePaused(call.upstream, seconds))

    def _route(self, attempt: Attempt) -> bytes:
        call, request = attempt.call, attempt.call.request
        parts = [call.method, request.url.path] if self._by_path and request is not None else []
        if request is not None:
            headers = request.headers
            parts += [f"{name}: {headers[name]}" for name in sorted(headers) if has_credentials((name,))]
        return blake2b("\0".join(parts).encode("utf-8", "replace"), key=self._pauses.salt, digest_size=16).digest()
