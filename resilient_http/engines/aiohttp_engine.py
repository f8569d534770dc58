"""aiohttp engine: an httpx transport that reaches one endpoint through aiohttp's protocol and parser.

It goes below aiohttp's session and connector. Those cost most of what aiohttp costs, repeat requests unseen on a
dropped connection, and cannot be told which connection a request may have. So as in the default engine a request owns
its connection, state/connections.py decides which one that is, and names are resolved and dialled by our network. Head
and body are written by wire.py: here it is known whether a byte was handed to the network.

HTTP/1.1 only, on asyncio only, without proxies. aiohttp is imported here and in aiohttp_connection.py, nowhere else.
"""

from __future__ import annotations

import asyncio
import functools
import math
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from inspect import signature
from typing import Any

import aiohttp
from aiohttp import ClientError, EofStream
from aiohttp.http import HttpProcessingError

from resilient_http.engines.aiohttp_connection import Connection, Facts
from resilient_http.engines.async_network import dial, operate
from resilient_http.engines.backend import Backend
from resilient_http.engines.exchange import headers_of
from resilient_http.engines.network import FRESH, Allowance
from resilient_http.engines.wire import END, PIECE, Head, Unsendable, check_length, chunked, head_of, whole
from resilient_http.semantics import keep_alive
from resilient_http.state.connections import Connections
from resilient_http.state.endpoint import Endpoint

MARGIN = 0.5  # seconds before a server's own limit at which we stop using its idle connection
PARSING: dict[str, Any] = {
    "read_until_eof": True,
    "auto_decompress": False,  # httpx does that
    "read_bufsize": 65536,  # bytes of a body that are held for who reads it, before the server is made to wait
    "max_line_size": 102400,  # as long as httpcore lets a whole head be
    "max_field_size": 102400,
    "max_headers": 1000,
}
PARSING_HEAD = {**PARSING, "skip_payload": True}
if not PARSING.keys() <= signature(Connection.set_response_params).parameters.keys():
    message = f"aiohttp 3.14 or newer is needed, not {aiohttp.__version__}"
    raise ImportError(message)
LOST = (OSError, RuntimeError)  # RuntimeError: closed under its reader
BROKEN = (*LOST, ClientError, HttpProcessingError, EofStream)
VERSIONS = {(1, 0): b"HTTP/1.0", (1, 1): b"HTTP/1.1"}


class _Engine:
    """The engine of one endpoint in one event loop.

    Args:
        backend: httpx or httpx2, whose requests and responses it speaks.
        endpoint: What it reaches.
        context: For TLS.
    """

    def __init__(self, backend: Backend, endpoint: Endpoint, context: ssl.SSLContext) -> None:
        link = endpoint.link
        self.module = backend.module
        self._endpoint = endpoint
        self._context = context if endpoint.scheme == "https" else None
        context.set_alpn_protocols(["http/1.1"])
        self._expiry = math.inf if link.keepalive_expiry is None else link.keepalive_expiry
        self._connections = Connections(keep=link.max_keepalive, max_age=link.max_age)
        self._body = _body(backend.module)

    def __len__(self) -> int:
        return len(self._connections)

    async def handle_async_request(self, request: Any) -> Any:
        """Send it on a connection of its own; the body gives that back when it has been read, or is closed."""
        module, allowed = self.module, request.extensions["timeout"]
        attempt = allowed["read"].attempt
        if request.url.scheme not in ("http", "https"):
            message = f"the URL's scheme is {request.url.scheme!r}; use http:// or https://"
            raise module.UnsupportedProtocol(message)
        try:
            target = request.extensions.get("target") or request.url.raw_path
            head = head_of(request.method.encode("ascii"), target, request.headers.raw)
            body = whole(head, b"".join(request.stream)) if type(request.stream) is module.ByteStream else None
        except Unsendable as exc:
            raise module.LocalProtocolError(str(exc)) from exc
        connection = self._lend(attempt)
        if connection is None:
            connection = await self._connect(request, allowed["connect"])
        try:
            connection.set_response_params(**(PARSING_HEAD if request.method == "HEAD" else PARSING))
            if head.closes:
                connection.force_close()
            attempt.sent = True
            if body is None:
                await self._send_stream(connection, head, request.stream, allowed["write"])
            elif len(body) > PIECE:
                await self._send_pieces(connection, head.data, body, allowed["write"])
            elif not connection.send(head.data + body):
                await self._drain(connection, allowed["write"])
            message, content = await self._receive(connection, allowed["read"])
            return self._response(connection, message, content, allowed["read"])
        except BaseException:
            self.discard(connection)
            raise

    async def aclose(self) -> None:
        """Close all connections, those in use too. Never suspends."""
        self.keep_nothing()
        _abort_each(self._connections.take_all())

    def keep_nothing(self) -> None:
        """Close the idle connections now, and the others as soon as their requests have ended."""
        _abort_each(self._connections.keep_nothing())

    def give_back(self, connection: Connection) -> None:
        """The request that had it has ended."""
        connection.rest()
        connection.content = None
        _abort_each(self._connections.give_back(connection, time.monotonic()))

    def discard(self, connection: Connection) -> None:
        """The request that had it was cut off."""
        connection.abort()
        self.give_back(connection)

    def broken(self, error: Exception) -> Exception:
        """What aiohttp has raised while reading, as the backend says it. By then the request was sent."""
        kind = self.module.ReadError if isinstance(error, LOST) else self.module.RemoteProtocolError
        told = error.message if isinstance(error, HttpProcessingError) else str(error)  # its str() begins with a status
        broken: Exception = kind(" ".join(told.split()) or type(error).__name__)
        return broken

    def _lend(self, attempt: Any) -> Connection | None:
        now = time.monotonic()
        if now >= attempt.expires:
            raise self.module.WriteTimeout("the deadline has passed")
        connection: Connection | None
        connection, closing = self._connections.take(None, now)
        _abort_each(closing)
        if connection is not None and not attempt.call.repeatable and now - connection.used > FRESH:
            # The server may be closing it this moment, and then nobody could tell whether the request was received.
            self.discard(connection)
            return None
        return connection

    async def _connect(self, request: Any, allowed: float) -> Connection:
        module = self.module
        name = None
        if self._context is not None:
            name = request.extensions.get("sni_hostname") or request.url.raw_host.decode("ascii")
        connection = await operate(self._open(name), allowed, module.ConnectTimeout, module.ConnectError)
        self._connections.add(connection, time.monotonic(), random.random())
        if connection.transport is None:
            self.discard(connection)
            raise module.ConnectError("the connection was closed before anything was sent")
        return connection

    async def _open(self, name: str | None) -> Connection:
        loop = asyncio.get_running_loop()
        sock = await dial(self._endpoint.host, self._endpoint.port)

        def connection() -> Connection:
            return Connection(loop, self.module.ReadError, self._expiry)

        try:
            _, opened = await loop.create_connection(connection, sock=sock, ssl=self._context, server_hostname=name)
        except ValueError as exc:  # no name that TLS could ask for
            raise OSError(str(exc)) from exc
        return opened

    async def _send_pieces(self, connection: Connection, head: bytes, body: bytes, allowed: Allowance) -> None:
        pieces = memoryview(body)
        open_still = await self._write(connection, head, allowed)
        for start in range(0, len(body), PIECE):
            if not open_still:
                return
            open_still = await self._write(connection, pieces[start : start + PIECE], allowed)

    async def _send_stream(self, connection: Connection, head: Head, stream: Any, allowed: Allowance) -> None:
        given = 0
        open_still = await self._write(connection, head.data, allowed)
        async for chunk in stream:
            given += len(chunk)
            if head.length is not None and given > head.length:
                break
            if not open_still:
                return
            open_still = await self._write(connection, chunked(chunk) if head.length is None else chunk, allowed)
        if head.length is None:
            await self._write(connection, END, allowed)
            return
        try:
            check_length(head.length, given)
        except Unsendable as exc:
            raise self.module.LocalProtocolError(str(exc)) from exc

    async def _write(self, connection: Connection, data: Any, allowed: Allowance) -> bool:
        """Write it, in time. False when the connection is lost: what the server said before that is still to be read.

        A body that never gets anywhere ends too, so time is looked at also where nothing waits.
        """
        if not data and time.monotonic() >= allowed.attempt.expires:
            raise self.module.WriteTimeout("the deadline has passed")
        return connection.send(data) or await self._drain(connection, allowed)

    async def _drain(self, connection: Connection, allowed: Allowance) -> bool:
        connection.expect(allowed.attempt, allowed, self.module.WriteTimeout)
        try:
            return await connection.drained()
        finally:
            connection.rest()  # the user's code may come next, and takes the time that it takes

    async def _receive(self, connection: Connection, allowed: Allowance) -> tuple[Any, Any]:
        connection.expect(allowed.attempt, allowed, self.module.ReadTimeout)
        try:
            message, content = await connection.read()
            while message.code < 200 and message.code != 101:
                message, content = await connection.read()
        except BROKEN as exc:
            raise self.broken(exc) from exc
        finally:
            connection.rest()  # the user's code may come next
        connection.content = content
        return message, content

    def _response(self, connection: Connection, message: Any, content: Any, allowed: Allowance) -> Any:
        told = message.headers.get("Keep-Alive")
        seconds = None if told is None else keep_alive(told)
        if seconds is not None:
            connection.idle_limit = min(self._expiry, max(0.0, seconds - MARGIN))
        if content.is_eof() and content.exception() is None and not allowed.attempt.call.streamed:
            stream = self.module.ByteStream(content.read_nowait())
            self.give_back(connection)
        else:
            stream = self._body(self, connection, content, allowed)
        return self.module.Response(
            message.code,
            headers=headers_of(self.module, message.raw_headers),
            stream=stream,
            extensions={
                "http_version": VERSIONS.get(message.version) or b"HTTP/%d.%d" % message.version,
                "reason_phrase": (message.reason or "").encode("utf-8", "surrogateescape"),
                "network_stream": Facts(connection),
            },
        )


class _Body:
    """A response's body that has not come whole yet. Closing it twice does no harm."""

    def __init__(self, engine: _Engine, connection: Connection, content: Any, allowed: Allowance) -> None:
        self._engine = engine
        self._connection = connection
        self._content = content
        self._allowed = allowed
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._read(self._content.readany):
            yield chunk

    async def whole(self) -> bytes:
        """All of it; what cuts it short closes the connection."""
        try:
            return await self._read(self._content.read)
        finally:
            self._close()

    async def aclose(self) -> None:
        """Give the connection back; with its body unread, it is closed. Never suspends."""
        self._close()

    async def _read(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        engine, connection, allowed = self._engine, self._connection, self._allowed
        connection.expect(allowed.attempt, allowed, engine.module.ReadTimeout)
        try:
            return await read()
        except BROKEN as exc:
            raise engine.broken(exc) from exc
        finally:
            connection.rest()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        whole = self._content.is_eof() and self._content.exception() is None
        (self._engine.give_back if whole else self._engine.discard)(self._connection)


@functools.cache
def engine_class(module: Any) -> Any:
    """The class of engines for one backend; httpx insists on its own base class."""
    return type("AiohttpEngine", (_Engine, module.AsyncBaseTransport), {})


@functools.cache
def _body(module: Any) -> Any:
    return type("AiohttpBody", (_Body, module.AsyncByteStream), {})


def _abort_each(connections: Sequence[Connection]) -> None:
    for connection in connections:
        connection.abort()
