"""Lender: stands in the place of httpcore's pool, and lends each request a connection of httpcore's.

httpcore's own pool looks at all its connections for each request, and loses those of requests that are cancelled at the
wrong moment (httpcore issue 1093). Here a request owns its connection from its first byte to the last of its response,
and whatever ends it gives the connection back: what comes back busy is closed. Nothing waits here, because whoever asks
has a permit. Which connection it is, is decided in state/connections.py.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from resilient_http.engines.async_network import abandon
from resilient_http.state.connections import Connections

SCHEMES = (b"http", b"https")


class _Lender:
    """What sync and async do alike.

    Args:
        core: httpcore or httpcore2.
        pool: The pool of its that makes the connections, through a proxy perhaps.
        connections: Which connection takes which request.
    """

    def __init__(self, core: Any, pool: Any, connections: Connections) -> None:
        self._core = core
        self._pool = pool
        self._connections = connections
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

    def _lend(self, request: Any) -> Any:
        if request.url.scheme not in SCHEMES:
            message = f"the URL's scheme is {request.url.scheme.decode()!r}; use http:// or https://"
            raise self._core.UnsupportedProtocol(message)
        origin, now = request.url.origin, time.monotonic()
        connection, closing = self._connections.take(origin, now)
        if connection is None:
            connection = self._pool.create_connection(origin)
            self._connections.add(connection, now, random.random())
        self._close_each(closing)
        return connection

    def _close_each(self, connections: Sequence[Any]) -> None:
        raise NotImplementedError

    def _close_all(self) -> None:
        self.keep_nothing()  # whoever connects meanwhile keeps nothing either
        self._close_each(self._connections.take_all())


def has_left_over(connection: Any) -> bool:
    """Whether more has come than the answer: it would be taken for the next one's, which may be somebody else's.

    The names are private, and the same in httpcore and httpcore2; a test tells if they go.
    """
    parser = getattr(getattr(connection, "_connection", None), "_h11_state", None)
    return parser is not None and bool(parser.trailing_data[0])


class SyncLender(_Lender):
    """In the place of an httpcore.ConnectionPool. Thread-safe."""

    def handle_request(self, request: Any) -> Any:
        """Send it on a connection of its own; the body gives that back when it is closed."""
        while True:
            connection = self._lend(request)
            try:
                response = connection.handle_request(request)
            except self._core.ConnectionNotAvailable:
                self.give_back(connection)  # shared, and it turned out to be HTTP/1.1
            except BaseException:
                self.give_back(connection, cut=True)
                raise
            else:
                response.stream = SyncLoan(self, connection, response.stream)
                return response

    def close(self) -> None:
        """Close all connections, those in use too."""
        self._close_all()

    def _close_each(self, connections: Sequence[Any]) -> None:
        for connection in connections:
            connection.close()


class AsyncLender(_Lender):
    """In the place of an httpcore.AsyncConnectionPool. Of one event loop."""

    async def handle_async_request(self, request: Any) -> Any:
        """As the sync one; a cancellation anywhere in it gives the connection back too."""
        while True:
            connection = self._lend(request)
            try:
                response = await connection.handle_async_request(request)
            except self._core.ConnectionNotAvailable:
                self.give_back(connection)
            except BaseException:
                self.give_back(connection, cut=True)
                raise
            else:
                response.stream = AsyncLoan(self, connection, response.stream)
                return response

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
        chunks: AsyncIterator[bytes] = self._noting() if self._lender.shared else aiter(self._stream)
        return chunks

    async def _noting(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        self._whole = True

    async def aclose(self) -> None:
        """As SyncLoan.close(); what cuts it short gives the connection back too."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._stream.aclose()
        finally:
            self._lender.give_back(self._connection, cut=not self._whole)
