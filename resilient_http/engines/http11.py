"""HTTP/1.1: a connection that serves one request after the other, over our network; what sync and async do alike.

It stands where httpcore's would, between the lender and the network, and tells the same to who traces or logs it.
wire.py writes the requests and response_parser.py reads the answers, both in a tenth of the time that h11 takes, which
is httpcore's. What it does not speak goes to a connection of httpcore's: HTTP/2, proxies, CONNECT and upgrades.

Laws
    1. An answer that is whole when its head is read, and that nobody streams, leaves the connection free at once; any
       other, when its body has been read, or is closed.
    2. A request that could not be written whole is still answered, where the server has said something before it
       closed; its connection takes no other.
    3. Whatever cuts an exchange short closes the connection.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from resilient_http.compiled import mypyc_attr
from resilient_http.engines.network import Allowance
from resilient_http.engines.response_parser import ResponseParser
from resilient_http.engines.wire import Head, Unsendable, check_length, head_of, whole

READ = 65536  # bytes asked of the network at once
SMALL = 65536  # bytes of a body that are copied to go with their head
CLOSED = "the connection was closed meanwhile"


Origin = tuple[bytes, bytes, int]
"""Scheme, host and port. No origin of httpcore's equals one, so neither kind of connection is given the other's."""


@dataclass(slots=True, repr=False)
class Outgoing:
    """A request as our connections take it: httpcore's, of which nothing has to be checked any more.

    Its repr, and that of an Answer, tells no header.

    Attributes:
        seen: Whether somebody traces or logs the steps of its exchange, once that is known.
    """

    method: bytes
    origin: Origin
    target: bytes
    headers: list[tuple[bytes, bytes]]
    stream: Any
    extensions: dict[str, Any]
    seen: bool | None = None

    def as_cores(self, core: Any) -> Any:
        """The same as httpcore has it, for who traces."""
        url = core.URL(scheme=self.origin[0], host=self.origin[1], port=self.origin[2], target=self.target)
        return core.Request(self.method, url, headers=self.headers, content=self.stream, extensions=self.extensions)

    def read_at_once(self) -> bool:
        """Whether nobody reads the body of its answer but us, who can do so at once."""
        allowed = self.extensions.get("timeout", {}).get("read")
        return isinstance(allowed, Allowance) and not allowed.attempt.call.streamed


@dataclass(slots=True, repr=False)
class Answer:
    """A response as httpx's transport takes it from httpcore."""

    status: int
    headers: list[tuple[bytes, bytes]]
    stream: Any
    extensions: dict[str, Any]


class WholeBody:
    """A body that has come. Sync and async; to be read once.

    No generator, as SyncBody and AsyncBody are none: those that are left half way are closed when it pleases the
    garbage collector, and trio warns of it.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __iter__(self) -> Iterator[bytes]:
        return iter((self.data,) if self.data else ())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data, self.data = self.data, b""
        if not data:
            raise StopAsyncIteration
        return data


class Unseen:
    """A step that nobody traces."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *error: object) -> None: ...


UNSEEN = Unseen()


@mypyc_attr(allow_interpreted_subclasses=True)
class Http11:
    """What sync and async do alike.

    Args:
        core: httpcore or httpcore2.
        network: What connects.
        context: For TLS.
        in_memory: The class of request bodies that are there already.
        expiry: Seconds that it is kept idle; None for ever.
        origin: Where it leads, as the URL says it.
    """

    def __init__(
        self, core: Any, network: Any, context: Any, in_memory: Any, expiry: float | None, origin: Origin
    ) -> None:
        self._core = core
        self._network = network
        self._origin = origin
        self._context = context
        self._in_memory = in_memory
        self._expiry = math.inf if expiry is None else expiry
        self._stream: Any = None
        self._idle_until = 0.0
        self._idle = False
        self._closed = False
        self._log = logging.getLogger(f"{core.__name__}.http11")
        self._connect_log = logging.getLogger(f"{core.__name__}.connection")

    # What `Connections` asks -------------------------------------------------------------------------------------

    def can_handle_request(self, origin: Any) -> bool:
        """Whether it leads there."""
        return bool(origin == self._origin)  # see Origin

    def is_available(self) -> bool:
        """Whether it can take a request."""
        return self._idle

    def is_idle(self) -> bool:
        """Whether its last request has come to a clean end."""
        return self._idle

    def is_closed(self) -> bool:
        """Whether it is closed."""
        return self._closed

    def has_expired(self) -> bool:
        """Whether it has been idle for too long, or the server has closed it or said what nobody asked for."""
        return time.monotonic() > self._idle_until or bool(self._stream.get_extra_info("is_readable"))

    # What its exchanges share ------------------------------------------------------------------------------------

    def _written(self, request: Outgoing) -> tuple[Head, bytes | None]:
        """The head, and the body that follows it, where that is there already."""
        try:
            head = head_of(request.method, request.target, request.headers)
            stream = request.stream
            body = whole(head, b"".join(stream)) if type(stream) is self._in_memory else None
        except Unsendable as exc:
            raise self._core.LocalProtocolError(str(exc)) from exc
        self._idle = False
        return head, body

    def _joined(self, request: Outgoing, head: Head, body: bytes | None) -> tuple[bytes, bytes | None]:
        """What is written first, and what then; None where nothing is left, as a small body goes with its head."""
        if body is None or len(body) > SMALL or self.seen(request):
            return head.data, body or b""
        return head.data + body, None

    def _unlike(self, head: Head, given: int) -> Exception | None:
        """What is wrong with a body of so many bytes under that head."""
        try:
            check_length(head.length or 0, given)
        except Unsendable as exc:
            wrong: Exception = self._core.LocalProtocolError(str(exc))
            return wrong
        return None

    def check(self, parser: ResponseParser, *, closed: bool = False) -> None:
        """Raise where nothing more can be read of an answer."""
        if parser.fault is not None:
            raise self._core.RemoteProtocolError(parser.fault)
        if closed:
            raise self._core.ReadError(CLOSED)

    def _answer(self, parser: ResponseParser, body: Any) -> Answer:
        extensions = {
            "http_version": parser.version,
            "reason_phrase": parser.reason,
            "network_stream": self._stream,
        }
        return Answer(parser.status, parser.headers, body, extensions)

    def _rest(self, *, clean: bool) -> bool:
        """Whether it may stay open now that an exchange has ended."""
        if not clean or self._closed:
            return False
        self._idle_until = time.monotonic() + self._expiry
        self._idle = True
        return True

    def seen(self, request: Outgoing) -> bool:
        """Whether somebody traces or logs the steps of its exchange, which then takes none of the short ways."""
        seen = request.seen
        if seen is None:
            seen = request.seen = "trace" in request.extensions or self._log.isEnabledFor(logging.DEBUG)
        return seen

    def step(self, name: str, request: Outgoing, **more: Any) -> Any:
        """A step of an exchange, told as httpcore does, by the names of its events."""
        if not self.seen(request):
            return UNSEEN
        log, theirs = self._connect_log if more else self._log, request.as_cores(self._core)
        return self._core._trace.Trace(name, log, theirs, more or {"request": theirs})  # noqa: SLF001
