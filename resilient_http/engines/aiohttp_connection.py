"""aiohttp connection: one connection of the engine "aiohttp".

aiohttp's own protocol reads it, with its parser and its flow control. Ours is what aiohttp does not know: when a wait
must end, and whether the connection can take another request.

Laws
    1. Each wait ends at its attempt's deadline, and after its phase's seconds without a sign of life. There is one
       timer for all waits of a connection; when it fires early, because there was such a sign, it is set anew.
    2. Who waits when the time is up, or when the connection is cut from outside, is told so at once.
    3. A body that is cut off is never taken for a whole one, also where nothing but its end tells its length.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

from aiohttp.client_proto import ResponseHandler

from resilient_http.call import Attempt
from resilient_http.engines.dial import is_readable
from resilient_http.engines.network import LATE, LONGEST

INFORMATION = {"client_addr": "sockname", "server_addr": "peername"}  # httpcore's names, and asyncio's


class Connection(ResponseHandler):
    """A connection. It belongs to one event loop.

    Args:
        loop: That loop.
        broken: Makes what a reader is told when the connection is cut under it.
        expiry: Seconds that it is kept idle.

    Attributes:
        used: Monotonic seconds of the last byte in or out.
        idle_limit: Seconds after which the server closes it when idle, as it says.
        content: The body that is being received.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, broken: Callable[[str], Exception], expiry: float) -> None:
        super().__init__(loop)
        self.used = time.monotonic()
        self.idle_limit = expiry
        self.content: Any = None
        self._broken = broken
        self._socket: Any = None
        self._attempt: Attempt | None = None  # whose wait it is, if there is one
        self._limit = math.inf
        self._late: Callable[[str], Exception] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._fires_at = math.inf
        self._held = False
        self._full = False
        self._room: asyncio.Future[None] | None = None

    # What aiohttp and the event loop tell ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open, TLS included."""
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        """A sign of life."""
        self.used = time.monotonic()
        super().data_received(data)

    def pause_reading(self) -> None:
        """There is more than who reads it has taken."""
        super().pause_reading()
        self._held = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        """It is taken. aiohttp says so after each read; where nothing was held, that costs a parser's run."""
        if self._held:
            self._held = False
            super().resume_reading(resume_parser)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """It has failed: who waits for the answer is told, and who waits for its body."""
        self._fail_content(exc)
        super().set_exception(exc, *cause)

    def pause_writing(self) -> None:
        """The kernel takes no more for now."""
        super().pause_writing()
        self._full = True

    def resume_writing(self) -> None:
        """It does again: a sign of life."""
        super().resume_writing()
        self.used = time.monotonic()
        self._full = False
        self._wake_writer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is closed; law 3."""
        if exc is not None:
            self._fail_content(self._broken(str(exc)))
        super().connection_lost(exc)
        self._stop_timer()
        self._full = False
        self._wake_writer()

    def abort(self) -> None:
        """Close it at once; law 2."""
        self._fail_content(self._broken("the connection was closed"))
        super().abort()
        self._stop_timer()

    # What `Connections` asks -------------------------------------------------------------------------------------

    def can_handle_request(self, origin: object) -> bool:
        """Whether it leads there: all connections of an endpoint do."""
        return True

    def is_available(self) -> bool:
        """Whether it can take a request."""
        return True

    def is_idle(self) -> bool:
        """Whether its last request has come to a clean end, if it is open."""
        return not self.should_close

    def is_closed(self) -> bool:
        """Whether it is closed."""
        return not self.is_connected()

    def has_expired(self) -> bool:
        """Whether the server has closed it, or may be about to."""
        if self.should_close or not self.is_connected() or time.monotonic() - self.used > self.idle_limit:
            return True
        return is_readable(self._socket)  # what the event loop has not come to see yet

    # What the engine does ----------------------------------------------------------------------------------------

    def expect(self, attempt: Attempt, limit: float, late: Callable[[str], Exception]) -> None:
        """A wait begins; law 1.

        Args:
            attempt: Whose it is.
            limit: Seconds without a sign of life.
            late: Makes what is raised when the time is up.
        """
        self.used = now = time.monotonic()
        self._attempt, self._limit, self._late = attempt, limit, late
        due = min(now + limit, attempt.expires)
        if due < self._fires_at:
            self._set_timer(due, now)

    def rest(self) -> None:
        """Nobody waits any more. The timer stays: the next request may want it no earlier."""
        self._attempt = self._late = None

    def send(self, data: bytes) -> bool:
        """Write. False when that has to be waited for, or the connection is lost; drained() tells."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return not self._full

    async def drained(self) -> bool:
        """Wait until the kernel has taken most of what was written. False when the connection is lost."""
        while self._full:
            self._room = self._loop.create_future()
            await self._room
        return self.is_connected()

    def get_extra_info(self, info: str) -> Any:
        """What httpcore's network streams tell: "ssl_object", "client_addr", "server_addr", "socket"."""
        return None if self.transport is None else self.transport.get_extra_info(INFORMATION.get(info, info))

    def _set_timer(self, due: float, now: float) -> None:
        self._stop_timer()
        self._fires_at = due
        self._alarm = self._loop.call_later(min(due - now, LONGEST), self._look)

    def _stop_timer(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm, self._fires_at = None, math.inf

    def _look(self) -> None:
        self._alarm, self._fires_at = None, math.inf
        attempt, late = self._attempt, self._late
        if attempt is None or late is None:
            return
        now = time.monotonic()
        due = min(self.used + self._limit, attempt.expires)
        if now < due:
            self._set_timer(due, now)
            return
        if now - due > LATE:
            attempt.stalled = f"a timeout fired {now - due:.3g} s late"
        error = late("the deadline has passed" if due == attempt.expires else f"nothing within {self._limit:.3g} s")
        self.set_exception(error)
        if self._room is not None and not self._room.done():
            self._room.set_exception(error)

    def _fail_content(self, error: BaseException) -> None:
        content = self.content
        if content is not None and not content.is_eof() and content.exception() is None:
            content.set_exception(error)

    def _wake_writer(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


class Facts:
    """What a user may ask of the connection that an answer came on.

    Args:
        connection: It.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get_extra_info(self, info: str) -> Any:
        """By httpcore's names: ssl_object, socket, client_addr, server_addr."""
        return self._connection.get_extra_info(info)
