"""Routes: what a route says about its own requests, as a dependency of the app, of a router, of a route or an endpoint.

    app = FastAPI(dependencies=[Depends(timeout(5.0))])

    @app.get("/report", dependencies=[Depends(timeout(30.0)), Depends(ignore_disconnect)])
    async def report(client: ClientDep): ...

The most specific one wins. A WebSocket has no deadline of its own, and they say nothing about it.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from fastapi.requests import HTTPConnection

from resilient_http import deadline
from resilient_http_fastapi.state import KEY, RequestState


def state_of(connection: HTTPConnection) -> RequestState:
    """What the middleware keeps for a request or a WebSocket.

    Raises:
        RuntimeError: The app has no ResilientHttpMiddleware.
    """
    state: RequestState | None = connection.scope.get(KEY)
    if state is None:
        message = "ResilientHttpMiddleware is missing: app.add_middleware(ResilientHttpMiddleware)"
        raise RuntimeError(message)
    return state


class Timeout:
    """A dependency that gives its requests a budget of their own.

    Attributes:
        seconds: The budget.
    """

    longest: float = 0.0  # of all that were made

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        Timeout.longest = max(Timeout.longest, math.inf if seconds is None else seconds)

    def __repr__(self) -> str:
        return f"timeout({self.seconds!r})"

    async def __call__(self, connection: HTTPConnection) -> None:
        """Called by FastAPI before the endpoint, those of the app first."""
        state = state_of(connection)
        if state.arrival is None:
            return
        state.arrival.allow(self.seconds)
        last = _last_of(getattr(connection.scope.get("route"), "dependant", None))
        if last is None or last is self:
            state.begin()


def timeout(seconds: float | None) -> Timeout:
    """A dependency: give requests a budget of their own, in place of `inbound.timeout`; it may be longer or shorter.

    It counts from the arrival of the request. What its caller says in a header holds as with the configured one. The
    same seconds give the same dependency, so it can be overridden in tests.

    Args:
        seconds: Float seconds, more than 0; None for no limit of ours.

    Raises:
        ValueError: `seconds` is anything else.
    """
    if seconds is not None:
        deadline(seconds)  # for its checks
        if not seconds:
            message = "timeout(0) would refuse every request; give it seconds, or None for no limit"
            raise ValueError(message)
    return _timeout(seconds)


@functools.cache
def _timeout(seconds: float | None) -> Timeout:
    return Timeout(seconds)


async def ignore_disconnect(connection: HTTPConnection) -> None:
    """A dependency: go on with a request's outbound calls when its caller goes away."""
    cancellation = state_of(connection).scope.cancellation
    if cancellation is not None:
        cancellation.lift()


def _last_of(dependant: Any) -> Timeout | None:
    """The most specific of a route's own; FastAPI calls them in this order. None when that cannot be told."""
    last = None
    for dependency in getattr(dependant, "dependencies", ()):
        last = _last_of(dependency) or last
    call = getattr(dependant, "call", None)
    return call if isinstance(call, Timeout) else last
