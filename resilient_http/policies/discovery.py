"""Discovery: the first calls wait until it is known which nodes there are; no other call waits for that."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from resilient_http.call import Call
from resilient_http.errors import NoEndpoint
from resilient_http.policies import CallProceed
from resilient_http.state.endpoints import Endpoints

MARGIN = 0.02  # seconds before the deadline, in which no attempt would be answered any more
SHORTEST, LONGEST = 0.002, 0.05  # seconds between two looks


class Search(Protocol):
    """What finds the nodes, beside the calls."""

    running: bool
    patient_until: float

    def begin(self) -> None:
        """Have it run."""

    def refusal(self, now: float) -> tuple[str, float | None]:
        """Why no node is known, for a person; and seconds until it is tried again, or None when that is not known."""


class DiscoveryPolicy:
    """Has the nodes searched for, and lets calls wait for the first answer.

    Args:
        endpoints: The upstream's endpoints.
        search: What finds them.
        total: Seconds that a call has from its start, or None.
    """

    def __init__(self, endpoints: Endpoints, search: Search, total: float | None) -> None:
        self._endpoints = endpoints
        self._search = search
        self._total = total

    def __call__(self, call: Call, proceed: CallProceed) -> Awaitable[Any]:
        """Raise NoEndpoint when there is no answer in time."""
        if self._search.running and self._endpoints.known and not call.secure:
            return proceed(call)
        return self._begin(call, proceed)

    async def _begin(self, call: Call, proceed: CallProceed) -> Any:
        self._search.begin()
        if not self._endpoints.known:
            await self._wait(call)
        if call.secure and self._endpoints.members[0].scheme == "http":
            raise NoEndpoint(
                f"https://{call.upstream} asks for TLS, but its endpoints are http; call http://{call.upstream}",
                upstream=call.upstream,
            )
        return await proceed(call)

    async def _wait(self, call: Call) -> None:
        port, began, step = call.port, call.port.now(), SHORTEST
        ends = min(call.expires, self._search.patient_until)
        if self._total is not None:
            ends = min(ends, call.started + self._total)
        while not self._endpoints.known:
            now = port.now()
            if call.gone:
                raise call.cancelled()
            if now >= ends - MARGIN:
                why, retry_in = self._search.refusal(now)
                raise NoEndpoint(why, upstream=call.upstream, retry_in=retry_in)
            await port.sleep(min(step, ends - MARGIN - now), call.cancellation)
            step = min(LONGEST, 2 * step)
        call.journal.note(f"discovery: waited {port.now() - began:.3g} s for the first answer")
