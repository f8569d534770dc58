"""Dependencies: the clients of an inbound request.

    ClientDep = Annotated[AsyncClient, Depends(get_client)]
    PaymentsDep = Annotated[AsyncClient, Depends(client_for("payments"))]

In tests, `app.dependency_overrides[get_client] = ...` and `app.dependency_overrides[client_for("payments")] = ...`.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Awaitable, Callable

from fastapi.requests import HTTPConnection

from resilient_http import AsyncClient, Client, Resilience, SettingsError
from resilient_http_fastapi.routes import begin, state_of


async def get_client(connection: HTTPConnection) -> AsyncClient:
    """An async client, an `httpx.AsyncClient`, for the outbound calls of an inbound request or WebSocket.

    Every use in one request gives the same client, so cookies are kept within the request and never beyond it. The
    client keeps the request's deadline and trace wherever it is used: in a task, in the body of a streaming response.
    It need not be closed; all clients share their connections.

    Raises:
        DeadlineExceeded: The request has nothing left of its budget; its endpoint does not run.
        RuntimeError: The app has no ResilientHttpMiddleware.
    """
    return begin(connection).async_client()


async def get_sync_client(connection: HTTPConnection) -> Client:
    """A sync client, an `httpx.Client`, for endpoints that are a plain `def`. As get_client()."""
    return begin(connection).client()


async def get_resilience(connection: HTTPConnection) -> Resilience:
    """The app's Resilience, for status(), circuits(), or a client with options of its own.

    Where no request is at hand, as in the lifespan, it is `app.state.resilient_http`.

    Raises:
        RuntimeError: The app has no ResilientHttpMiddleware.
    """
    return state_of(connection).resilience


@functools.cache
def client_for(upstream: str) -> Callable[[HTTPConnection], Awaitable[AsyncClient]]:
    """A dependency: as get_client, with the upstream as base URL, so that `client.get("/charges/42")` goes there.

    The same name gives the same function, so it can be overridden in tests.

    Args:
        upstream: A name of the settings. Which those are is known when the app runs, so another is refused at the first
            request, with a SettingsError.
    """

    async def get_upstream_client(connection: HTTPConnection) -> AsyncClient:
        state = begin(connection)
        if upstream not in state.resilience.settings.upstreams:
            raise _unknown(upstream, list(state.resilience.settings.upstreams))
        return state.async_client(f"http://{upstream}")

    return get_upstream_client


def _unknown(upstream: str, names: list[str]) -> SettingsError:
    near = difflib.get_close_matches(upstream, names, n=1)
    known = f"did you mean {near[0]}?" if near else f"known: {', '.join(names) or 'none'}"
    message = f"client_for({upstream!r}): no such upstream in the settings; {known}"
    return SettingsError(message, path=f"upstreams.{upstream}")
