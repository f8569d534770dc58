"""Clients: one for each inbound request, with cookies of its own and bound to the request's deadline and trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from resilient_http import Answer, Arrival, AsyncClient, Cancellation, Client, Scope, enter_scope
from resilient_http_django.conf import get_resilience

ATTRIBUTE = "resilient_http"  # of the request


def get_client(request: HttpRequest | None = None) -> Client:
    """A sync client, an `httpx.Client`, for the outbound calls of an inbound request.

    Every call with the same request gives the same client, so cookies are kept within the request and never beyond it.
    The client keeps the request's deadline and trace wherever it is used: in a thread, in the body of a streaming
    response. It need not be closed; all clients share their connections.

    Args:
        request: The inbound request. None, for management commands and tasks, gives a new client each time; its calls
            take the scope that they are made in, if any.

    Raises:
        SettingsError: Something is wrong in RESILIENT_HTTP.
    """
    if request is None:
        return get_resilience().client()
    state = state_of(request)
    client: Client | None = state.clients.get("sync")
    return client or state.clients.setdefault("sync", get_resilience().client(scope=state.scope))


def get_async_client(request: HttpRequest | None = None) -> AsyncClient:
    """An async client, an `httpx.AsyncClient`, for the outbound calls of an inbound request. As get_client().

    Under WSGI each async view runs in an event loop of its own, so it connects anew: there, prefer a sync view.
    """
    if request is None:
        return get_resilience().async_client()
    state = state_of(request)
    client: AsyncClient | None = state.clients.get("async")
    return client or state.clients.setdefault("async", get_resilience().async_client(scope=state.scope))


class RequestState:
    """What an inbound request keeps for its outbound calls; it sits on the request, and ends with it.

    Attributes:
        arrival: The request's own.
        clients: Its clients, "sync" and "async".
        told: What decorators have said already.
        uncaught: The answer to the last exception of ours that Django has made a 500 of, if any.
        view: The view that the request goes to, or None before that is known.
    """

    __slots__ = ("arrival", "clients", "told", "uncaught", "view")

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.clients: dict[str, Any] = {}
        self.told: set[Any] = set()
        self.uncaught: Answer | None = None
        self.view: Any = None

    @property
    def scope(self) -> Scope:
        """The scope of its outbound calls."""
        return self.arrival.scope

    def cancel(self) -> None:
        """The caller has gone away: its outbound calls end."""
        if self.scope.cancellation is not None:
            self.scope.cancellation.request()

    def ignore_disconnect(self) -> None:
        """From now on, they do not."""
        if self.scope.cancellation is not None:
            self.scope.cancellation.lift()


handled: ContextVar[RequestState | None] = ContextVar("resilient_http_django.handled", default=None)
"""The state of the request that is handled here."""


@contextmanager
def handling(state: RequestState) -> Iterator[None]:
    """A request is handled in the with block: its scope is in force for what is called there."""
    token = handled.set(state)
    try:
        with enter_scope(state.scope):
            yield
    finally:
        handled.reset(token)


def state_of(request: HttpRequest) -> RequestState:
    """The state of `request`. The middleware asks first; without it the request's time begins with the first client."""
    # REST framework's requests hand this on to the HttpRequest that they wrap.
    state: RequestState | None = getattr(request, ATTRIBUTE, None)
    return state or vars(request).setdefault(ATTRIBUTE, RequestState(_arrival(request)))


def _arrival(request: HttpRequest) -> Arrival:
    def header(name: str) -> str | None:
        value: str | None = request.META.get("HTTP_" + name.upper().replace("-", "_"))
        return value

    inbound = get_resilience().inbound
    # Under WSGI nobody can tell whether the caller is still there.
    cancellable = isinstance(request, ASGIRequest) and inbound.settings.cancel_on_disconnect
    return inbound.arrive(header, request.META.get("REMOTE_ADDR"), cancellation=Cancellation() if cancellable else None)
