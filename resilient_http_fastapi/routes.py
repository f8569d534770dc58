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

import fastapi.routing
from fastapi.requests import HTTPConnection
from starlette.routing import Match
from starlette.types import Scope as ASGIScope

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


def begin(connection: HTTPConnection) -> RequestState:
    """The same, for a request that has something left of its budget.

    Raises:
        DeadlineExceeded: It has not; it is not worth beginning.
    """
    state = state_of(connection)
    arrival = state.arrival
    if arrival is not None and arrival.exhausted:
        # What the route allows may stand behind, in the order in which FastAPI calls dependencies.
        own = timeout_of(connection.scope)
        if own is not None:
            arrival.allow(own.seconds)
        if arrival.exhausted:
            raise arrival.exceeded()
    return state


class Timeout:
    """A dependency that gives its requests a budget of their own.

    Attributes:
        seconds: The budget.
    """

    longest: Timeout | None = None  # of all that were made

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        if Timeout.longest is None or Timeout.longest.most < self.most:
            Timeout.longest = self

    def __repr__(self) -> str:
        return f"timeout({self.seconds!r})"

    @property
    def most(self) -> float:
        """The seconds, or infinity."""
        return math.inf if self.seconds is None else self.seconds

    async def __call__(self, connection: HTTPConnection) -> None:
        """Called by FastAPI before the endpoint, those of the app first."""
        arrival = state_of(connection).arrival
        if arrival is not None:
            arrival.allow(self.seconds)
            begin(connection)


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


def timeout_of(scope: ASGIScope, unknown: Timeout | None = None) -> Timeout | None:
    """The most specific timeout() of the route that a request goes to, or None for none.

    Args:
        scope: Of the request, in the app or on its way there.
        unknown: What is said where it cannot be told: for another app than FastAPI's, or a path that it does not know.
    """
    app = scope.get("app")
    for route in _flat(getattr(app, "routes", ())):
        match, child_scope = route.matches({**scope})
        if match is not Match.FULL:
            continue
        inner = getattr(route, "app", None)
        if getattr(route, "dependant", None) is not None:
            last = _last_of(route.dependant)
            put = getattr(app, "dependency_overrides", {}).get(last, last)
            return put if isinstance(put, Timeout) else None
        return timeout_of({**scope, **child_scope, "app": inner}, unknown) if hasattr(inner, "routes") else unknown
    return unknown


def _flat(routes: Any) -> Any:
    """Those of included routers as well, where FastAPI keeps them apart."""
    return getattr(fastapi.routing, "iter_route_contexts", iter)(routes)


def _last_of(dependant: Any) -> Timeout | None:
    """The most specific of a route's own; FastAPI calls them in this order."""
    last = None
    for dependency in dependant.dependencies:
        last = _last_of(dependency) or last
    return dependant.call if isinstance(dependant.call, Timeout) else last
