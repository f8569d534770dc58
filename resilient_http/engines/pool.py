"""Pool: one engine for each endpoint, with its own connections.

An engine is httpx's own transport, so OpenTelemetry's instrumentation and mocks that patch it keep working. It gets
our network backend, which sends the endpoint's connections to the endpoint's address while the request keeps the
logical URL; and our lender in the place of httpcore's pool. Engines are made on first use.
"""

from __future__ import annotations

import functools
import importlib
import ssl
import threading
from functools import partial
from typing import Any

from resilient_http.engines.async_http11 import AsyncHttp11Connection
from resilient_http.engines.async_network import AsyncNetwork
from resilient_http.engines.backend import Backend
from resilient_http.engines.default_engine import engine_class
from resilient_http.engines.lender import AsyncLender, SyncLender
from resilient_http.engines.sync_http11 import Http11Connection
from resilient_http.engines.sync_network import SyncNetwork
from resilient_http.errors import SettingsError
from resilient_http.state.connections import Connections
from resilient_http.state.endpoint import Endpoint, Link

PARTS = {
    False: (SyncNetwork, SyncLender, Http11Connection),
    True: (AsyncNetwork, AsyncLender, AsyncHttp11Connection),
}


class EnginePool:
    """The engines of one process (sync) or of one event loop (async). Thread-safe.

    Args:
        backend: httpx or httpx2.
        is_async: Which kind of engine to make.
        kind: "default", or "aiohttp" for async ones over that.
    """

    def __init__(self, backend: Backend, *, is_async: bool, kind: str = "default") -> None:
        self._backend = backend
        self._make = partial(make_engine, is_async=is_async) if kind == "default" else make_aiohttp_engine
        self._engines: dict[Endpoint, Any] = {}
        self.closes_with_loop = False  # whether somebody sees to that, for an async one
        self.retired: list[Any] = []  # of endpoints that are gone, to be drained where their connections may be closed
        self._lock = threading.Lock()

    def engine(self, endpoint: Endpoint) -> Any:
        """The endpoint's engine."""
        engine = self._engines.get(endpoint)
        if engine is None:
            with self._lock:
                engine = self._engines.get(endpoint)
                if engine is None:
                    engine = self._make(self._backend, endpoint)
                    if endpoint.gone:  # between its choice and now: for this one attempt
                        self.retired.append(engine)
                    else:
                        self._engines[endpoint] = engine
        return engine

    def retire(self, endpoint: Endpoint) -> None:
        """Take the engine of an endpoint that is gone out of use; what runs on it runs on."""
        with self._lock:
            engine = self._engines.pop(endpoint, None)
            if engine is not None:
                self.retired.append(engine)

    def drain_retired(self) -> None:
        """Close what retired engines hold idle, and the rest when it comes back. An async one's in its event loop."""
        with self._lock:
            retired, self.retired = self.retired, []
        for engine in retired:
            lender_of(engine).keep_nothing()

    def take_all(self) -> list[Any]:
        """Take all engines out, to be closed by the caller."""
        with self._lock:
            engines, self._engines, self.retired = [*self._engines.values(), *self.retired], {}, []
        return engines

    def connections(self) -> int:
        """Connections that are open, idle ones included."""
        return sum(len(lender_of(engine)) for engine in list(self._engines.values()))

    def connections_to(self, endpoint: Endpoint) -> int:
        """Those to one endpoint."""
        engine = self._engines.get(endpoint)
        return 0 if engine is None else len(lender_of(engine))


def is_instrumented(module: Any) -> bool:
    """Whether OpenTelemetry's instrumentation has wrapped httpx's transports."""
    return hasattr(module.HTTPTransport.handle_request, "__wrapped__")


def make_engine(backend: Backend, endpoint: Endpoint, *, is_async: bool) -> Any:
    """An httpx transport that reaches one endpoint and keeps to deadlines."""
    link, module = endpoint.link, backend.module
    engine = engine_class(module, backend.core, is_async=is_async)(
        verify=_ssl_context(backend, endpoint.scheme, link),
        http2=link.http2,
        proxy=_proxy(backend, link),
        limits=module.Limits(keepalive_expiry=link.keepalive_expiry),
    )
    network, lender, own = PARTS[is_async]
    address = None if link.proxy else (endpoint.host, endpoint.port)
    pool = engine._pool  # noqa: SLF001 - the names are private, and the same in httpx and httpx2; a test tells if they go
    names = _names_by_proxy(backend, link)
    pool._network_backend = connecting = network(backend.core, address, renewable=link.proxy is None, names=names)  # noqa: SLF001
    make = None
    if link.proxy is None and not link.http2:
        pool._ssl_context.set_alpn_protocols(["http/1.1"])  # noqa: SLF001
        make = partial(own, backend.core, connecting, pool._ssl_context, module.ByteStream, link.keepalive_expiry)  # noqa: SLF001
    connections = Connections(keep=link.max_keepalive, max_age=link.max_age, shared=link.http2)
    engine._pool = lender(backend.core, pool, connections, make)  # noqa: SLF001
    return engine


def make_aiohttp_engine(backend: Backend, endpoint: Endpoint) -> Any:
    """The same over aiohttp, of one asyncio loop.

    Raises:
        SettingsError: aiohttp is not installed.
    """
    context = _ssl_context(backend, endpoint.scheme, endpoint.link)
    return aiohttp_engine().engine_class(backend.module)(backend, endpoint, context)


def aiohttp_engine() -> Any:
    """The module of that engine; imported only where it is asked for.

    Raises:
        SettingsError: aiohttp is not installed, or not as the engine needs it.
    """
    try:
        return importlib.import_module("resilient_http.engines.aiohttp_engine")
    except ImportError as exc:
        message = f'engine is "aiohttp", which cannot be imported ({exc}): pip install "resilient-http[aiohttp]"'
        raise SettingsError(message, path="engine", value="aiohttp") from exc


def lender_of(engine: Any) -> Any:
    """What lends an engine its connections: of aiohttp's, the engine itself."""
    return getattr(engine, "_pool", engine)  # see make_engine


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
