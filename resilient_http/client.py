"""Client, AsyncClient: the way in, for people. httpx clients with everything that httpx users know.

A client opens the call above auth and redirects, so that all hops share one deadline and one journal, and says whether
the body will be streamed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any

import httpx

from resilient_http.dispatcher import current_call, worn_by
from resilient_http.errors import SettingsError
from resilient_http.scope import Scope
from resilient_http.shortcut import (
    ABSOLUTE,
    BODILESS,
    add_elapsed,
    is_httpxs_own,
    is_plain,
    names_of,
    needs_httpx,
    nothing_asked,
    plain_request,
    read_at_once,
    receive,
)
from resilient_http.transport import AsyncResilientTransport, AsyncTransport, Host, ResilientTransport, SyncTransport

if TYPE_CHECKING:
    from httpx import AsyncClient as _Async
    from httpx import Client as _Sync

    from resilient_http.call import Call
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


_making_cookies = threading.Lock()


class _Calls:
    """What sync and async clients do alike."""

    _library: Any = httpx
    _transport_class: type[Any]

    def __init__(self, host: Host, *, scope: Scope | None = None, **options: Any) -> None:
        owner = object()
        options = _checked(options, self._transport_class, host, owner)
        super().__init__(**options)
        self._host = host
        self._scope = scope
        self._owner = owner
        self._encoding = options.get("default_encoding", "utf-8")

    if not TYPE_CHECKING:  # a type checker sees httpx's own signature

        @classmethod
        def like(cls, model: Any, host: Host, scope: Scope | None) -> Any:
            """Another client with the options of `model`, at a fifth of what httpx's constructor costs.

            Args:
                model: A client of this class, which is used for nothing else.
                host: The Resilience.
                scope: Binds the client to one inbound request, or None.
            """
            self = object.__new__(cls)
            vars(self).update(vars(model))
            self._owner = owner = object()
            self._scope = scope
            self._transport = cls._transport_class(host, None, owner)
            # What a user may change in place is each client's own; a test tells if httpx has more of that.
            self._headers = cls._library.Headers(model.headers)
            self._timeout = cls._library.Timeout(model.timeout)
            self._event_hooks = {"request": [], "response": []}
            self._mounts = {}
            self._cookies = None
            return self

        def _transport_for_url(self, url: Any) -> Any:
            transport = super()._transport_for_url(url)
            return transport if type(transport) is not self._transport_class else transport.unwrapped()

        @property
        def cookies(self) -> Any:
            """As httpx's; the jar, which is dear, is made when it is first asked for."""
            if self._cookies is None:
                with _making_cookies:
                    self._cookies = self._library.Cookies() if self._cookies is None else self._cookies
            return self._cookies

        @cookies.setter
        def cookies(self, cookies: Any) -> None:
            self._cookies = self._library.Cookies(cookies)

        def build_request(self, method: str, url: Any, **options: Any) -> Any:
            """As httpx's."""
            plain = (
                method in BODILESS
                and type(url) is str
                and ABSOLUTE.match(url) is not None
                and (not options or options == nothing_asked(self._library))
                and not self.params
                and (self._cookies is None or not self._cookies)
            )
            build = super().build_request
            if plain:
                return plain_request(self, self._library, method, url, partial(build, method, url))
            return build(method, url, **options)

        def _is_plain(self, request: Any, stream: type, send: Any, options: Mapping[str, Any]) -> bool:
            default = self._library.USE_CLIENT_DEFAULT
            for value in options.values():
                if value is not default:
                    return False
            # httpx says so when it is a body for the other kind of client
            return isinstance(request.stream, stream) and is_plain(self, request, send)


class SyncCalls(_Calls, _Sync):
    """What a sync client does beyond httpx, over either backend."""

    _transport_class: type[Any] = ResilientTransport

    if not TYPE_CHECKING:  # a type checker sees httpx's own signature

        def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            """As httpx's; one call, however many hops auth and redirects make."""
            dispatcher, transport = self._host.dispatcher, self._transport_for_url(request.url)
            ours = isinstance(transport, SyncTransport)
            port = transport.port if ours else self._host.sync_port
            call = dispatcher.open(
                port, request.method, streamed=stream, scope=self._scope, owner=self._owner, request=request
            )
            token = current_call.set(call)
            try:
                kind, hop = self._library.SyncByteStream, getattr(transport, "handle_request", None)
                own = is_httpxs_own(self._library.Client.send)
                if ours and own and not stream and self._is_plain(request, kind, hop, options):
                    response = self._send_plain(transport, request, call)
                else:
                    call.worn = None if own else worn_by(request)
                    response = super().send(request, stream=stream, **options)
            except BaseException as exc:
                dispatcher.close(call, None, exc)
                raise
            finally:
                current_call.reset(token)
            dispatcher.close(call, response.status_code)
            return response

        def _send_plain(self, transport: Any, request: Any, call: Call) -> Any:
            started = time.perf_counter()
            try:
                response = transport.handle_request(request)
            except self._library.RequestError as exc:
                exc.request = request
                raise
            names = names_of(response)
            if needs_httpx(response.status_code, names):
                call.arrived, took = response, time.perf_counter() - started
                given = super().send(request)
                add_elapsed(response, took)  # httpx began to count when it was handed over
                return given
            receive(response, request, self._encoding)
            if not read_at_once(response, names, self._library):
                try:
                    response.read()
                except BaseException:
                    response.close()
                    raise
            response.elapsed = timedelta(seconds=time.perf_counter() - started)
            return response


class AsyncCalls(_Calls, _Async):
    """What an async client does beyond httpx, over either backend."""

    _transport_class: type[Any] = AsyncResilientTransport

    if not TYPE_CHECKING:  # a type checker sees httpx's own signature

        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            """As httpx's; one call, however many hops auth and redirects make."""
            dispatcher, transport = self._host.dispatcher, self._transport_for_url(request.url)
            ours = isinstance(transport, AsyncTransport)
            port = transport.port if ours else self._host.async_port
            call = dispatcher.open(
                port, request.method, streamed=stream, scope=self._scope, owner=self._owner, request=request
            )
            token = current_call.set(call)
            try:
                grace = None
                kind, hop = self._library.AsyncByteStream, getattr(transport, "handle_async_request", None)
                own = is_httpxs_own(self._library.AsyncClient.send)
                if ours and own and not stream and self._is_plain(request, kind, hop, options):
                    sending = self._send_plain(transport, request, call)
                else:
                    call.worn = None if own else worn_by(request)
                    if self._runs_code_of_the_users(options.get("auth", self.auth)):
                        grace = dispatcher.bound_early(call, request)
                    sending = super().send(request, stream=stream, **options)
                response = await port.guarded(call, sending, grace=grace)
            except BaseException as exc:
                dispatcher.close(call, None, exc)
                raise
            finally:
                current_call.reset(token)
            dispatcher.close(call, response.status_code)
            return response

        async def _send_plain(self, transport: Any, request: Any, call: Call) -> Any:
            started = time.perf_counter()
            try:
                response = await transport.handle_async_request(request)
            except self._library.RequestError as exc:
                exc.request = request
                raise
            names = names_of(response)
            if needs_httpx(response.status_code, names):
                call.arrived, took = response, time.perf_counter() - started
                given = await super().send(request)
                add_elapsed(response, took)  # httpx began to count when it was handed over
                return given
            receive(response, request, self._encoding)
            if not read_at_once(response, names, self._library):
                try:
                    await response.aread()
                except BaseException:
                    await response.aclose()
                    raise
            response.elapsed = timedelta(seconds=time.perf_counter() - started)
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
