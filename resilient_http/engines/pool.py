"""Pool: one engine for each endpoint, with its own connections.

An engine is httpx's own transport, so OpenTelemetry's instrumentation and mocks that patch it keep working. It gets
our network backend, which sends the endpoint's connections to the endpoint's address while the request keeps the
logical URL. Engines are made on first use.
"""

from __future__ import annotations

import functools
import logging
import ssl
import threading
from typing import Any

from resilient_http.engines.async_network import AsyncNetwork, abandon
from resilient_http.engines.backend import Backend
from resilient_http.engines.sync_network import SyncNetwork
from resilient_http.state.endpoints import Endpoint, Link

logger = logging.getLogger("resilient_http.engines")


class EnginePool:
    """The engines of one process (sync) or of one event loop (async). Thread-safe.

    Args:
        backend: httpx or httpx2.
        is_async: Which kind of engine to make.
    """

    def __init__(self, backend: Backend, *, is_async: bool) -> None:
        self._backend = backend
        self._is_async = is_async
        self._engines: dict[Endpoint, Any] = {}
        self.closes_with_loop = False  # whether somebody sees to that, for an async one
        self.retired: list[Any] = []  # of endpoints that are gone, to be closed by whoever may wait for it
        self._lock = threading.Lock()

    def engine(self, endpoint: Endpoint) -> Any:
        """The endpoint's engine."""
        engine = self._engines.get(endpoint)
        if engine is None:
            with self._lock:
                engine = self._engines.get(endpoint)
                if engine is None:
                    engine = self._engines[endpoint] = make_engine(self._backend, endpoint, is_async=self._is_async)
        return engine

    def replace(self, endpoint: Endpoint, poisoned: Any) -> int | None:
        """Take an engine out of use whose pool holds connections that no request owns; what runs on it runs on.

        Only a call with a permit reaches the pool, and there are as many connections as permits. So a wait for a
        connection means that some are lost, whatever has cost them.

        Returns:
            How many connections were lost; None when somebody else has replaced it already.
        """
        with self._lock:
            if self._engines.get(endpoint) is not poisoned:
                return None
            del self._engines[endpoint]
        _keep_nothing(poisoned)
        lost = reclaim(poisoned)
        logger.warning("the connection pool of %s had lost %d connections; renewed", endpoint.url, lost)
        return lost

    def retire(self, endpoint: Endpoint) -> None:
        """Take the engine of an endpoint that is gone out of use."""
        with self._lock:
            engine = self._engines.pop(endpoint, None)
            if engine is not None:
                self.retired.append(engine)

    def take_retired(self) -> list[Any]:
        """Retired engines, to be closed by the caller."""
        with self._lock:
            retired, self.retired = self.retired, []
        return retired

    def take_all(self) -> list[Any]:
        """Take all engines out, to be closed by the caller."""
        with self._lock:
            engines, self._engines, self.retired = [*self._engines.values(), *self.retired], {}, []
        for engine in engines:
            _keep_nothing(engine)
        return engines

    def connections(self) -> int:
        """Connections that are open, idle ones included."""
        return sum(len(_core_pool(engine).connections) for engine in list(self._engines.values()))


def _keep_nothing(engine: Any) -> None:
    """Have connections closed when their request has ended: nobody will come back for them."""
    _core_pool(engine)._max_keepalive_connections = 0  # noqa: SLF001 - see _core_pool


def reclaim(engine: Any, request: Any = None) -> int:
    """Take back what a cut request has left in its engine's pool: its place, and connections that no request owns.

    A cancellation that arrives while httpcore cleans up leaves them there for good (httpcore issue 1093). Never
    suspends, so nothing can cut it short.

    Args:
        engine: The engine that it was sent with.
        request: The request, which has come to its end one way or another; None for none.

    Returns:
        How many connections nobody owned.
    """
    pool = _core_pool(engine)
    limits = None if request is None else request.extensions["timeout"]  # ours, an object of this request alone
    with pool._optional_thread_lock:  # noqa: SLF001 - see _core_pool; so below
        requests, connections = pool._requests, pool._connections  # noqa: SLF001
        for held in [held for held in requests if held.request.extensions.get("timeout") is limits]:
            requests.remove(held)
        owned = {id(held.connection) for held in requests}
        lost = [
            connection
            for connection in connections
            if id(connection) not in owned and not connection.is_idle() and not connection.is_closed()
        ]
        for connection in lost:
            connections.remove(connection)
    for connection in lost:
        abandon(connection) if hasattr(connection, "aclose") else connection.close()
    return len(lost)


def take_back(engine: Any, request: Any, stream: Any) -> None:
    """reclaim() for a response whose body is streamed; `stream`, as httpx gave it, holds nothing from then on."""
    reclaim(engine, request)
    core = getattr(stream, "_httpcore_stream", None)
    if core is not None:
        # Else it would give back once more what is no longer there, when it is closed or its generator is finalized.
        core._closed = True  # noqa: SLF001 - see _core_pool


def is_instrumented(module: Any) -> bool:
    """Whether OpenTelemetry's instrumentation has wrapped httpx's transports."""
    return hasattr(module.HTTPTransport.handle_request, "__wrapped__")


def make_engine(backend: Backend, endpoint: Endpoint, *, is_async: bool) -> Any:
    """An httpx transport that reaches one endpoint and keeps to deadlines."""
    link, module = endpoint.link, backend.module
    kind = module.AsyncHTTPTransport if is_async else module.HTTPTransport
    engine = kind(
        verify=_ssl_context(backend, endpoint.scheme, link),
        http2=link.http2,
        proxy=_proxy(backend, link),
        limits=module.Limits(
            max_connections=link.max_connections,
            max_keepalive_connections=link.max_keepalive,
            keepalive_expiry=link.keepalive_expiry,
        ),
    )
    network = AsyncNetwork if is_async else SyncNetwork
    address = None if link.proxy else (endpoint.host, endpoint.port)
    pool = _core_pool(engine)
    names = _names_by_proxy(backend, link)
    pool._network_backend = network(  # noqa: SLF001 - see _core_pool
        backend.core, address, renewable=link.proxy is None, names=names
    )
    return engine


def _core_pool(engine: Any) -> Any:
    """The pool of httpcore. The names are private, and the same in httpx and httpx2; a test notices if they go."""
    return engine._pool  # noqa: SLF001


def _ssl_context(backend: Backend, scheme: str, link: Link) -> ssl.SSLContext:
    if scheme != "https":
        # Reading the CA bundle costs some 90 ms, and httpx does it even where no TLS is spoken.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _tls(backend, link.verify, link.cert, link.http2)


def _proxy(backend: Backend, link: Link) -> Any:
    """The proxy. One that is spoken to in TLS may be signed by the authorities of the endpoint's CA bundle too."""
    if link.proxy is None or not isinstance(link.verify, str):
        return link.proxy
    proxy = backend.module.Proxy(link.proxy)
    if proxy.url.scheme == "https":
        proxy.ssl_context = _tls_to_proxy(backend, link.verify)
    return proxy


def _names_by_proxy(backend: Backend, link: Link) -> tuple[str | None, ...]:
    """Whom to verify in each handshake on the way through a proxy.

    httpcore asks an https proxy for the endpoint's `sni_hostname`, and in a tunnel the endpoint for its address.
    httpcore2 does not; and a SOCKS proxy has no handshake of its own.
    """
    if link.proxy is None or backend.name != "httpx":
        return ()
    url = backend.module.URL(link.proxy)
    if url.scheme == "https":
        return (url.raw_host.decode("ascii"), link.server_name)
    return (link.server_name,) if url.scheme == "http" else ()


@functools.cache
def _tls_to_proxy(backend: Backend, bundle: str) -> ssl.SSLContext:
    context: ssl.SSLContext = backend.module.create_ssl_context()
    context.load_verify_locations(bundle)
    return context


@functools.cache
def _tls(
    backend: Backend,
    verify: bool | str,
    cert: str | tuple[str, str] | None,
    http2: bool,  # noqa: ARG001 - see below
) -> ssl.SSLContext:
    # One context for all engines that trust alike; httpcore writes the ALPN list into it, hence http2 in the key.
    if isinstance(verify, str):
        context = ssl.create_default_context(cafile=verify)
    else:
        context = backend.module.create_ssl_context(verify=verify)
    if isinstance(cert, str):
        context.load_cert_chain(cert)
    elif cert is not None:
        context.load_cert_chain(*cert)
    return context
