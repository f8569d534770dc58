"""Middleware: pure ASGI. It holds the app's Resilience, follows the lifespan, and puts each request into its scope."""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as ASGIScope

from resilient_http import AsyncClient, Client, Resilience, Scope, SettingsError, enter_scope
from resilient_http_fastapi.settings import Source, load_settings

KEY = "resilient_http"  # of the ASGI scope, and of app.state


class RequestState:
    """What an inbound request keeps for its outbound calls; it sits in the ASGI scope, and ends with it."""

    __slots__ = ("clients", "resilience", "scope")

    def __init__(self, resilience: Resilience, scope: Scope) -> None:
        self.resilience = resilience
        self.scope = scope
        self.clients: dict[str, Any] = {}

    def client(self) -> Client:
        """The request's sync client."""
        made: Client | None = self.clients.get("sync")
        return made or self.clients.setdefault("sync", self.resilience.client(scope=self.scope))

    def async_client(self, base_url: str = "") -> AsyncClient:
        """The request's async client for a base URL."""
        made: AsyncClient | None = self.clients.get(base_url)
        if made is None:
            client = self.resilience.async_client(scope=self.scope, base_url=base_url)
            made = self.clients.setdefault(base_url, client)
        return made


class ResilientHttpMiddleware:
    """Bounds the outbound calls of each request by its deadline, and passes its trace on.

    It makes one Resilience per process and app: when the lifespan starts, or on first use where none has run. When the
    lifespan ends, its connections are closed. Once a response has been sent, the request's deadline no longer bounds
    what still runs for it, as background tasks. A WebSocket has no deadline of its own: use deadline() per message.

    Bad settings fail the start-up; give a Settings(...) to have them refused where they stand.

    Args:
        app: The ASGI application inside.
        settings: Settings(...) or a mapping; "myapp.settings" for a module; None for the environment.
    """

    def __init__(self, app: ASGIApp, settings: Source = None) -> None:
        self.app = app
        self._settings = settings
        # A dict: setdefault() hands the same Resilience to all threads, without a lock that a fork might take along.
        self._made: dict[str, Resilience] = {}
        self._at_end: weakref.finalize[..., ResilientHttpMiddleware] | None = None

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Handle a request, a WebSocket or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        resilience = self._resilience(scope)
        is_request = scope["type"] == "http"
        header, peer = _header_of(scope), (scope.get("client") or (None,))[0]
        bounds = resilience.inbound.arrive(header, peer).scope if is_request else resilience.inbound.connect(header)
        scope[KEY] = RequestState(resilience, bounds)
        with enter_scope(bounds):
            await self.app(scope, receive, _until_answered(bounds, send) if is_request else send)

    async def _lifespan(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        async def closing_send(message: Message) -> None:
            # Before the server hears that we are done: afterwards it may end the event loop at once.
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed"):
                await self._close()
            await send(message)

        try:
            self._resilience(scope)
        except Exception as exc:  # a settings module may raise anything
            # Only raised, it would tell the server that there is no lifespan, and it would start all the same; only
            # told, a TestClient would wait for ever.
            why = str(exc) if isinstance(exc, SettingsError) else traceback.format_exc()
            await receive()
            await send({"type": "lifespan.startup.failed", "message": f"resilient_http: {why}"})
            raise
        try:
            await self.app(scope, receive, closing_send)
        finally:
            await self._close()

    def _resilience(self, scope: ASGIScope) -> Resilience:
        made = self._made.get(KEY)
        if made is None:
            made = self._made.setdefault(KEY, Resilience(load_settings(self._settings)))
            # Where no lifespan runs, the end of the app is the end of its connections.
            self._at_end = weakref.finalize(self, made.close)
            state = getattr(scope.get("app"), "state", None)
            if state is not None:
                setattr(state, KEY, made)
        return made

    async def _close(self) -> None:
        made = self._made.pop(KEY, None)
        if made is not None:
            await made.aclose()
        if self._at_end is not None:
            self._at_end.detach()


def _header_of(scope: ASGIScope) -> Callable[[str], str | None]:
    def header(name: str) -> str | None:
        wanted = name.encode("latin-1")
        values: list[bytes] = [value for key, value in scope["headers"] if key == wanted]
        return b",".join(values).decode("latin-1") if values else None

    return header


def _until_answered(bounds: Scope, send: Send) -> Send:
    """Lifts the deadline when the response has ended."""

    async def lifting_send(message: Message) -> None:
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False) and bounds.deadline:
            bounds.deadline.lift()

    return lifting_send
