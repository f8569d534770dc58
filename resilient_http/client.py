"""Client, AsyncClient: the way in, for people. httpx clients with everything that httpx users know.

A client opens the call above auth and redirects, so that all hops share one deadline and one journal, and says whether
the body will be streamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any

import httpx

from resilient_http.errors import SettingsError
from resilient_http.scope import Scope
from resilient_http.transport import (
    AsyncResilientTransport,
    AsyncTransport,
    Host,
    ResilientTransport,
    SyncTransport,
    current_call,
)

if TYPE_CHECKING:
    from httpx import AsyncClient as _Async
    from httpx import Client as _Sync
else:
    _Sync = _Async = object

LOST = {
    "proxy": "proxy",
    "verify": "tls.verify",
    "cert": "tls.cert",
    "http1": "http2",
    "http2": "http2",
    "limits": "pool",
}


class SyncCalls(_Sync):
    """What a sync client does beyond httpx, over either backend."""

    _transport_class: type[Any] = ResilientTransport

    def __init__(self, host: Host, *, scope: Scope | None = None, **options: Any) -> None:
        owner = object()
        options = _checked(options, self._transport_class, host, owner)
        super().__init__(**options)
        self._host = host
        self._scope = scope
        self._owner = owner

    if not TYPE_CHECKING:  # a type checker sees httpx's own signature

        def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            """As httpx's; one call, however many hops auth and redirects make."""
            dispatcher = self._host.dispatcher
            port = getattr(self._transport_for_url(request.url), "port", None) or self._host.sync_port
            call = dispatcher.open(port, request.method, streamed=stream, scope=self._scope, owner=self._owner)
            token = current_call.set(call)
            try:
                response = super().send(request, stream=stream, **options)
            except BaseException as exc:
                dispatcher.close(call, None, exc)
                raise
            finally:
                current_call.reset(token)
            dispatcher.close(call, response.status_code)
            return response


class AsyncCalls(_Async):
    """What an async client does beyond httpx, over either backend."""

    _transport_class: type[Any] = AsyncResilientTransport

    def __init__(self, host: Host, *, scope: Scope | None = None, **options: Any) -> None:
        owner = object()
        options = _checked(options, self._transport_class, host, owner)
        super().__init__(**options)
        self._host = host
        self._scope = scope
        self._owner = owner

    if not TYPE_CHECKING:  # a type checker sees httpx's own signature

        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            """As httpx's; one call, however many hops auth and redirects make."""
            dispatcher = self._host.dispatcher
            port = getattr(self._transport_for_url(request.url), "port", None) or self._host.async_port
            call = dispatcher.open(port, request.method, streamed=stream, scope=self._scope, owner=self._owner)
            token = current_call.set(call)
            try:
                foreign = self._runs_code_of_the_users(options.get("auth", self.auth))
                grace = dispatcher.bound_early(call, request.url) if foreign else None
                sending = super().send(request, stream=stream, **options)
                response = await port.guarded(call, sending, grace=grace)
            except BaseException as exc:
                dispatcher.close(call, None, exc)
                raise
            finally:
                current_call.reset(token)
            dispatcher.close(call, response.status_code)
            return response

        def _runs_code_of_the_users(self, auth: Any) -> bool:
            """Whether an auth flow or a hook takes part, which may wait for something else than our transport."""
            kind = type(self.auth if type(auth).__name__ == "UseClientDefault" else auth)
            own = kind not in (NoneType, tuple) and kind.__module__.partition(".")[0] not in ("httpx", "httpx2")
            return own or any(self.event_hooks.values())


class Client(SyncCalls, httpx.Client):
    """An `httpx.Client` whose calls go through the policies. Thread-safe, as httpx's.

    Get one from `Resilience.client()`. Clients share the connections of their Resilience, so one may be made for each
    inbound request; closing it closes nothing that others use. A `transport=` of the user's becomes the engine and is
    closed with the client.

    Raises:
        SettingsError: An argument that would be lost beneath our transport; it names the setting to use instead.
    """


class AsyncClient(AsyncCalls, httpx.AsyncClient):
    """An `httpx.AsyncClient` whose calls go through the policies. As Client; asyncio and trio."""


def _checked(options: dict[str, Any], transport: type[Any], host: Host, owner: object) -> dict[str, Any]:
    """Refuse what would be lost, and put our transport around what the user brings."""
    for name in LOST.keys() & options.keys():
        message = f"Client({name}=...) would have no effect; use the setting {LOST[name]}, of the upstream or defaults"
        raise SettingsError(message, path=name, value=None)

    def wrap(engine: Any, path: str) -> Any:
        return transport(host, _as_engine(engine, transport, path, host.dispatcher.backend.name), owner)

    options["transport"] = wrap(options.get("transport"), "transport")
    mounts: Mapping[str, Any] | None = options.get("mounts")
    if mounts is not None:
        options["mounts"] = {
            pattern: None if engine is None else wrap(engine, f"mounts[{pattern!r}]")
            for pattern, engine in mounts.items()
        }
    if host.enabled:
        # httpx's own default of 5 s would cut what the settings allow; what the user gives narrows it.
        options.setdefault("timeout", None)
    return options


def _as_engine(engine: Any, transport: type[Any], path: str, backend: str) -> Any:
    if engine is None:
        return None
    if isinstance(engine, (SyncTransport, AsyncTransport)):
        message = f"{path} is resilient_http's own already: each call would pass the policies twice; leave it out"
        raise SettingsError(message, path=path)
    method = "handle_request" if issubclass(transport, SyncTransport) else "handle_async_request"
    if not hasattr(engine, method):
        message = f"{path} has no {method}(), so it is no transport for this client: {type(engine).__name__}"
        raise SettingsError(message, path=path)
    brought = {kind.__module__.partition(".")[0] for kind in type(engine).__mro__}
    if backend not in brought and brought & {"httpx", "httpx2"}:
        message = f'{path} is a transport of {" ".join(brought & {"httpx", "httpx2"})}, but `backend` is "{backend}"'
        raise SettingsError(message, path=path)
    return engine
