"""Lender: stands in the place of httpcore's pool, and lends each request a connection, of ours or of httpcore's.

httpcore's own pool looks at all its connections for each request, and loses those of requests that are cancelled at the
wrong moment (httpcore issue 1093). Here a request owns its connection from its first byte to the last of its response,
and whatever ends it gives the connection back: what comes back busy is closed. Nothing waits here, because whoever asks
has a permit. Which connection it is, is decided in state/connections.py.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import FunctionType
from typing import Any

from resilient_http.engines.async_network import abandon
from resilient_http.engines.http11 import Outgoing, WholeBody
from resilient_http.state.connections import Connections

SCHEMES = (b"http", b"https")
UPGRADE = b"upgrade"
LIBRARIES = frozenset({"httpx", "httpx2", "httpcore", "httpcore2"})


class _Lender:
    """What sync and async do alike.

    Args:
        core: httpcore or httpcore2.
        pool: The pool of its that makes the connections, through a proxy perhaps.
        connections: Which connection takes which request.
        make: Makes a connection of ours to an origin, for what that speaks; None where it is all httpcore's.
    """

    def __init__(
        self, core: Any, pool: Any, connections: Connections, make: Callable[[Any], Any] | None = None
    ) -> None:
        self._core = core
        self._pool = pool
        self._connections = connections
        self._make = make
        self.shared = connections.shared

    def __len__(self) -> int:
        return len(self._connections)

    def give_back(self, connection: Any, *, cut: bool = False) -> None:
        """The request that had it has ended, or was cut."""
        if has_left_over(connection):
            self._close_each((connection,))
        self._close_each(self._connections.give_back(connection, time.monotonic(), cut=cut))

    def keep_nothing(self) -> None:
        """Close the idle connections now, and the others as soon as their requests have ended."""
        self._close_each(self._connections.keep_nothing())

    def takes(self, method: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether a connection of ours may have that request, which is then given as an Outgoing."""
        return self._make is not None and not leaves_http(method, headers) and is_own(self._theirs())

    def _lend(self, request: Any) -> tuple[Any, Any]:
        """A connection, and the request as it takes it."""
        now = time.monotonic()
        if type(request) is Outgoing:
            return self._taken(request.origin, now, self._make), request
        url = request.url
        if url.scheme not in SCHEMES:
            message = f"the URL's scheme is {url.scheme.decode()!r}; use http:// or https://"
            raise self._core.UnsupportedProtocol(message)
        origin = url.origin
        if self.takes(request.method, request.headers):
            ours = (origin.scheme, origin.host, origin.port)
            outgoing = Outgoing(request.method, ours, url.target, request.headers, request.stream, request.extensions)
            return self._taken(ours, now, self._make), outgoing
        if self._make is not None and leaves_http(request.method, request.headers):
            return self._added(self._pool.create_connection(origin), now), request
        return self._taken(origin, now, self._pool.create_connection), request

    def _taken(self, origin: Any, now: float, make: Any) -> Any:
        connection, closing = self._connections.take(origin, now)
        self._close_each(closing)
        return connection or self._added(make(origin), now)

    def _added(self, connection: Any, now: float) -> Any:
        self._connections.add(connection, now, random.random())
        return connection

    def _lent(self, connection: Any, response: Any, loan: Any) -> Any:
        """The response, whose body gives the connection back when it is closed; one that has come whole has done so."""
        if type(response.stream) is WholeBody:
            self.give_back(connection)
        else:
            response.stream = loan(self, connection, response.stream)
        return response

    def _theirs(self) -> Any:
        """The method of httpcore's connections that respx, say, puts itself in the place of."""
        raise NotImplementedError

    def _close_each(self, connections: Sequence[Any]) -> None:
        raise NotImplementedError

    def _close_all(self) -> None:
        self.keep_nothing()  # whoever connects meanwhile keeps nothing either
        self._close_each(self._connections.take_all())


def leaves_http(method: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether it asks for the connection itself: for a tunnel, or to speak another protocol on it."""
    for name, _ in headers:
        if len(name) == len(UPGRADE) and name.lower() == UPGRADE:
            return True
    return method == b"CONNECT"


def is_own(method: Any) -> bool:
    """Whether a method of httpx's or httpcore's is as it was written, and nothing that was put in its place.

    What wrapt puts there equals what it wraps, so no cache may answer.
    """
    home = method.__globals__.get("__name__", "") if type(method) is FunctionType else ""
    return home.partition(".")[0] in LIBRARIES


def has_left_over(connection: Any) -> bool:
    """Whether more has come than the answer: it would be taken for the next one's, which may be somebody else's.

    The names are private, and the same in httpcore and httpcore2; a test tells if they go.
    """
    parser = getattr(getattr(connection, "_connection", None), "_h11_state", None)
    return parser is not None and bool(parser.trailing_data[0])


class SyncLender(_Lender):
    """In the place of an httpcore.ConnectionPool. Thread-safe."""

    def _theirs(self) -> Any:
        return self._core.HTTPConnection.handle_request

    def handle_request(self, request: Any) -> Any:
        """Send it on a connection of its own; the body gives that back when it is closed."""
        while True:
            connection, outgoing = self._lend(request)
            try:
                response = connection.handle_request(outgoing)
            except self._core.ConnectionNotAvailable:
                self.give_back(connection)  # shared, and it turned out to be HTTP/1.1
            except BaseException:
                self.give_back(connection, cut=True)
                raise
            else:
                return self._lent(connection, response, SyncLoan)

    def close(self) -> None:
        """Close all connections, those in use too."""
        self._close_all()

    def _close_each(self, connections: Sequence[Any]) -> None:
        for connection in connections:
            connection.close()


class AsyncLender(_Lender):
    """In the place of an httpcore.AsyncConnectionPool. Of one event loop."""

    def _theirs(self) -> Any:
        return self._core.AsyncHTTPConnection.handle_async_request

    async def handle_async_request(self, request: Any) -> Any:
        """As the sync one; a cancellation anywhere in it gives the connection back too."""
        while True:
            connection, outgoing = self._lend(request)
            try:
                response = await connection.handle_async_request(outgoing)
            except self._core.ConnectionNotAvailable:
                self.give_back(connection)
            except BaseException:
                self.give_back(connection, cut=True)
                raise
            else:
                return self._lent(connection, response, AsyncLoan)

    async def aclose(self) -> None:
        """Close all connections, those in use too. Never suspends."""
        self._close_all()

    def _close_each(self, connections: Sequence[Any]) -> None:
        for connection in connections:
            abandon(connection)


class SyncLoan:
    """A response's body, and the connection that it came on. Closing it twice, or from two threads, does no harm."""

    def __init__(self, lender: SyncLender, connection: Any, stream: Any) -> None:
        self._lender = lender
        self._connection = connection
        self._stream = stream
        self._whole = False
        self._closings = itertools.count()  # next() is one step, whichever threads take it

    def __iter__(self) -> Iterator[bytes]:
        # Only of a shared connection it matters; any other tells by itself that it is busy.
        return self._noting() if self._lender.shared else iter(self._stream)

    def _noting(self) -> Iterator[bytes]:
        yield from self._stream
        self._whole = True

    def close(self) -> None:
        """Give the connection back; with its body unread, it is closed."""
        if next(self._closings):
            return
        try:
            self._stream.close()
        finally:
            self._lender.give_back(self._connection, cut=not self._whole)


class AsyncLoan:
    """As SyncLoan."""

    def __init__(self, lender: AsyncLender, connection: Any, stream: Any) -> None:
        self._lender = lender
        self._connection = connection
        self._stream = stream
        self._whole = False
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._chunks: AsyncIterator[bytes] = aiter(self._stream)
        return self if self._lender.shared else self._chunks

    async def __anext__(self) -> bytes:
        """What comes next, of a connection that others have too; it is noted when that was all."""
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self._whole = True
            raise

    async def aclose(self) -> None:
        """As SyncLoan.close(); what cuts it short gives the connection back too."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._stream.aclose()
        finally:
            self._lender.give_back(self._connection, cut=not self._whole)
