"""Default engine: httpx's own transport to one endpoint, and a way past it for requests that nobody there looks at.

Instrumentations and mocks put themselves in the place of methods of httpx's transport, or of httpcore's connection. Who
does so sees each request. Where nobody does, what that transport would repeat for each request is left out: the same
URL, method and headers are checked and copied once more there. See lender.py for what takes the request then.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, NoReturn

from resilient_http.engines.exchange import headers_of
from resilient_http.engines.http11 import Answer, Outgoing, WholeBody
from resilient_http.engines.lender import is_own

PORTS = {b"http": 80, b"https": 443}


class _Engine:
    """What sync and async do alike. Of httpx's transports, or httpx2's; made in pool.py."""

    _pool: Any
    _module: Any
    _core: Any
    _kind: Any  # httpx's transport, which this one inherits
    _stream: Any  # of httpx's, around a body

    def _outgoing(self, request: Any, own: Any) -> Outgoing | None:
        """The request as a connection of ours takes it; None for one that goes the whole way."""
        url = request.url
        scheme = url.raw_scheme
        if scheme not in PORTS or not is_own(own) or not request.method.isascii():
            return None
        method, headers = request.method.encode("ascii"), request.headers.raw
        if not self._pool.takes(method, headers):
            return None
        origin = (scheme, url.raw_host, url.port or PORTS[scheme])
        target = request.extensions.get("target") or url.raw_path
        if isinstance(target, str):
            target = target.encode("ascii")
        return Outgoing(method, origin, target, headers, request.stream, request.extensions)

    def _response(self, answer: Answer) -> Any:
        body = answer.stream
        stream = self._module.ByteStream(body.data) if type(body) is WholeBody else self._stream(body)
        headers = headers_of(self._module, answer.headers)
        return self._module.Response(answer.status, headers=headers, stream=stream, extensions=answer.extensions)

    def _raise_told(self, error: Exception) -> NoReturn:
        """An exception of httpcore's as httpx says it; any other as it is."""
        kind = getattr(self._module, type(error).__name__, None)
        try:
            if kind is None or not type(error).__module__.startswith(self._core.__name__):
                raise error
            raise kind(str(error)) from error
        finally:
            del error  # else it, its traceback and this frame would hold each other


class _SyncEngine(_Engine):
    def handle_request(self, request: Any) -> Any:
        """Send it."""
        outgoing = self._outgoing(request, self._kind.handle_request)
        if outgoing is None:
            return self._kind.handle_request(self, request)
        try:
            answer = self._pool.handle_request(outgoing)
        except Exception as exc:  # noqa: BLE001 - raised again
            self._raise_told(exc)
        return self._response(answer)


class _AsyncEngine(_Engine):
    async def handle_async_request(self, request: Any) -> Any:
        """Send it."""
        outgoing = self._outgoing(request, self._kind.handle_async_request)
        if outgoing is None:
            return await self._kind.handle_async_request(self, request)
        try:
            answer = await self._pool.handle_async_request(outgoing)
        except Exception as exc:  # noqa: BLE001 - raised again
            self._raise_told(exc)
        return self._response(answer)


@functools.cache
def engine_class(module: Any, core: Any, *, is_async: bool) -> Any:
    """The class of engines over one library."""
    kind = module.AsyncHTTPTransport if is_async else module.HTTPTransport
    home = sys.modules[f"{module.__name__}._transports.default"]
    stream = home.AsyncResponseStream if is_async else home.ResponseStream
    known = {"_module": module, "_core": core, "_kind": kind, "_stream": stream}
    return type("DefaultEngine", (_AsyncEngine if is_async else _SyncEngine, kind), known)
