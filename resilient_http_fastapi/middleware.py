"""Middleware: pure ASGI. It holds the app's Resilience, follows the lifespan, and puts each request into its scope."""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as ASGIScope

from resilient_http import Arrival, Resilience, SettingsError, enter_scope
from resilient_http_fastapi.inbox import Inbox
from resilient_http_fastapi.outbox import Outbox, has_handler
from resilient_http_fastapi.routes import Timeout, timeout_of
from resilient_http_fastapi.settings import Source, settings_of
from resilient_http_fastapi.state import CONSOLE, KEY, RequestState, header_of


class ResilientHttpMiddleware:
    """Bounds the outbound calls of each request by its deadline, and passes its trace on.

    It makes one Resilience per process and app: when the lifespan starts, or on first use where none has run. When the
    lifespan ends, its connections are closed.

    A request that has nothing left of its budget is answered 504, and its endpoint does not run. So is a
    DeadlineExceeded that nobody catches; a Refused is answered 503, unless `inbound.answers` is off or the app handles
    Exception or 500 itself. When the caller goes away, outbound calls end with Cancelled. Once a response has been
    sent, nothing cuts what still runs for the request, as background tasks. A WebSocket has no deadline of its own:
    use deadline() per message.

    Bad settings fail the start-up; give a Settings(...) to have them refused where they stand.

    Args:
        app: The ASGI application inside.
        settings: Settings(...) or a mapping; "myapp.settings" for a module; None for the environment.
        listeners: Plain functions that are called with each event; see resilient_http.events.
    """

    def __init__(
        self, app: ASGIApp, settings: Source = None, *, listeners: Sequence[Callable[[Any], None]] = ()
    ) -> None:
        self.app = app
        self._settings = settings
        self._listeners = tuple(listeners)
        # A dict: setdefault() hands the same Resilience to all threads, without a lock that a fork might take along.
        self._made: dict[str, Resilience] = {}
        self._at_end: weakref.finalize[..., ResilientHttpMiddleware] | None = None

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Handle a request, a WebSocket or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        resilience = self._resilience(scope)
        if scope["type"] == "http":
            await self._request(resilience, scope, receive, send)
        else:
            bounds = resilience.inbound.connect(header_of(scope))
            scope[KEY] = RequestState(resilience, bounds)
            with enter_scope(bounds):
                await self.app(scope, receive, send)

    async def _request(self, resilience: Resilience, scope: ASGIScope, receive: Receive, send: Send) -> None:
        inbound = resilience.inbound
        inbox = Inbox(receive) if inbound.settings.cancel_on_disconnect else None
        peer = (scope.get("client") or (None,))[0]
        arrival = inbound.arrive(header_of(scope), peer, cancellation=inbox.cancellation if inbox else None)
        scope[KEY] = RequestState(resilience, arrival.scope, arrival)
        outbox = Outbox(send, arrival)
        if arrival.exhausted and _is_hopeless(arrival, scope):
            await outbox.answer(scope, arrival.exceeded())
            return
        try:
            with enter_scope(arrival.scope):
                await self.app(scope, inbox.receive if inbox else receive, outbox.send)
            await outbox.release()
        except Exception as error:
            if not inbound.settings.answers or has_handler(scope) or not await outbox.answer(scope, error):
                await outbox.release()
                raise
        finally:
            arrival.answered()
            if inbox is not None:
                inbox.close()
                await _close(inbox.cancellation.abandoned())

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
            made = self._made.setdefault(KEY, Resilience(settings_of(self._settings), listeners=self._listeners))
            # Where no lifespan runs, the end of the app is the end of its connections.
            self._at_end = weakref.finalize(self, made.close)
            state = getattr(scope.get("app"), "state", None)
            if state is not None:
                setattr(state, KEY, made)
                if getattr(state, CONSOLE, False):
                    _ = made.console  # it looks at calls from now on
        return made

    async def _close(self) -> None:
        made = self._made.pop(KEY, None)
        if made is not None:
            await made.aclose()
        if self._at_end is not None:
            self._at_end.detach()


def _is_hopeless(arrival: Arrival, scope: ASGIScope) -> bool:
    """Whether there is nothing left either of what its route allows."""
    own = timeout_of(scope, unknown=Timeout.longest)
    return own is None or arrival.is_hopeless(own.seconds)


async def _close(bodies: list[Any]) -> None:
    """Close what is still streamed for a caller who has gone.

    Starlette leaves a generator that feeds a response where it stands, so that nothing closes what it holds open.
    """
    with anyio.CancelScope(shield=True):
        for body in bodies:
            with suppress(Exception):  # it is broken, or being read by a thread, which is told by itself
                if hasattr(body, "aclose"):
                    await body.aclose()
                else:
                    body.close()
