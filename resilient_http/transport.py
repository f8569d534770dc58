"""Transport: httpx in, httpx out. Passes a request to the dispatcher, once per hop.

A client opens the call above auth and redirects and leaves it in a context variable; a transport that is used by itself
(in a client of the user's, in an SDK) finds none and opens one per hop. Then it cannot know whether the body will be
streamed, so an attempt ends at its headers, and a body that breaks off is not repeated.
"""

from __future__ import annotations

from types import MethodType, TracebackType
from typing import Any, Protocol, Self

import httpx

from resilient_http.call import Call
from resilient_http.dispatcher import Dispatcher
from resilient_http.ports.asynchronous import AsyncPort
from resilient_http.ports.sync import SyncPort, drive
from resilient_http.semantics import TRACE_HEADERS
from resilient_http.telemetry.tracing import wrapped_by_contrib


def mark_traced(call: Call, request: Any, method: Any) -> None:
    """Take back what a wrapper around our transport has injected: what an upstream may see is `propagate`'s to say."""
    if wrapped_by_contrib(method):
        call.traced_around = True
        for name in TRACE_HEADERS:
            request.headers.pop(name, None)


def past_contrib(transport: Any, name: str) -> Any:
    """The same transport without the wrapper around its method, if it is contrib's; see telemetry/attempt_spans.py."""
    if not wrapped_by_contrib(getattr(transport, name)):
        return transport
    plain = object.__new__(type(transport))
    vars(plain).update({key: value for key, value in vars(transport).items() if key != name})
    return plain


class Host(Protocol):
    """What clients, transports and guards need of a Resilience; asked anew for each call, because a fork swaps it."""

    @property
    def enabled(self) -> bool:
        """Whether the policies are in force."""

    @property
    def dispatcher(self) -> Dispatcher:
        """The dispatcher of this process."""

    @property
    def sync_port(self) -> SyncPort:
        """The port that sync calls share."""

    @property
    def async_port(self) -> AsyncPort:
        """The port that async calls share."""


class SyncTransport:
    """The sync transport over either backend; see ResilientTransport.

    Args:
        host: The Resilience.
        engine: A transport of the user's to send everything through, or None for the engines that `host` shares.
        owner: What it shares with the one client that was made with it; None for a transport that is used by itself.
    """

    def __init__(self, host: Host, engine: Any = None, owner: object = None) -> None:
        self._host = host
        self._engine = engine
        self._owner = owner
        self._own_port = None if engine is None else host.sync_port.over(engine)

    @property
    def port(self) -> SyncPort:
        """What its calls wait and send with."""
        return self._own_port or self._host.sync_port

    def handle_request(self, request: Any) -> Any:
        """Pass one hop; the call is the client's, or one of its own."""
        dispatcher = self._host.dispatcher
        call = dispatcher.joined(self._owner)
        if call is not None:
            arrived, call.arrived = call.arrived, None
            return drive(dispatcher.hop(call, request)) if arrived is None else arrived
        call = dispatcher.open(self.port, request.method, streamed=True, request=request)
        if type(self.handle_request) is not MethodType:
            mark_traced(call, request, self.handle_request)
        try:
            response = drive(dispatcher.hop(call, request))
        except BaseException as exc:
            dispatcher.close(call, None, exc)
            raise
        dispatcher.close(call, response.status_code)
        return response

    def unwrapped(self) -> Self:
        """Itself, past what `instrument_client()` has put around its method."""
        return self if type(self.handle_request) is MethodType else past_contrib(self, "handle_request")

    def __enter__(self) -> Self:
        if self._engine is not None:
            self._engine.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._engine is not None:
            self._engine.__exit__(kind, error, trace)

    def close(self) -> None:
        """Close the user's engine; the shared ones are the Resilience's to close."""
        if self._engine is not None:
            self._engine.close()


class AsyncTransport:
    """The async transport over either backend; see AsyncResilientTransport. Arguments as SyncTransport."""

    def __init__(self, host: Host, engine: Any = None, owner: object = None) -> None:
        self._host = host
        self._engine = engine
        self._owner = owner
        self._own_port = None if engine is None else host.async_port.over(engine)

    @property
    def port(self) -> AsyncPort:
        """What its calls wait and send with."""
        return self._own_port or self._host.async_port

    async def handle_async_request(self, request: Any) -> Any:
        """Pass one hop; the call is the client's, or one of its own."""
        dispatcher = self._host.dispatcher
        call = dispatcher.joined(self._owner)
        if call is not None:
            arrived, call.arrived = call.arrived, None
            return await dispatcher.hop(call, request) if arrived is None else arrived
        port = self._own_port or self._host.async_port
        call = dispatcher.open(port, request.method, streamed=True, request=request)
        if type(self.handle_async_request) is not MethodType:
            mark_traced(call, request, self.handle_async_request)
        try:
            response = await port.guarded(call, dispatcher.hop(call, request))
        except BaseException as exc:
            dispatcher.close(call, None, exc)
            raise
        dispatcher.close(call, response.status_code)
        return response

    def unwrapped(self) -> Self:
        """As SyncTransport's."""
        wrapped = type(self.handle_async_request) is not MethodType
        return past_contrib(self, "handle_async_request") if wrapped else self

    async def __aenter__(self) -> Self:
        if self._engine is not None:
            await self._engine.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._engine is not None:
            await self._engine.__aexit__(kind, error, trace)

    async def aclose(self) -> None:
        """Close the user's engine; the shared ones are the Resilience's to close."""
        if self._engine is not None:
            await self._engine.aclose()


class ResilientTransport(SyncTransport, httpx.BaseTransport):
    """An httpx transport through the policies, for code or an SDK that brings its own `httpx.Client`. Thread-safe.

    Get one from `Resilience.transport()`.
    """


class AsyncResilientTransport(AsyncTransport, httpx.AsyncBaseTransport):
    """An httpx transport through the policies, for code that brings its own `httpx.AsyncClient`.

    Get one from `Resilience.async_transport()`. It serves any number of event loops.
    """
