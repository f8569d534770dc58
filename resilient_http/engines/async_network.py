"""Async network: the backend that the async engine's httpcore connects, reads and writes with. See network.py."""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.tls import TLSAttribute, TLSStream

from resilient_http.engines.dial import begin, check, is_readable
from resilient_http.engines.loop import waker
from resilient_http.engines.network import (
    STAGGER,
    Watch,
    clamp,
    connect_allowance,
    negotiated_http2,
    note_if_late,
    unclamped,
)
from resilient_http.engines.resolver import Address, literal, resolver

T = TypeVar("T")

ATTRIBUTES: dict[str, Any] = {
    "ssl_object": TLSAttribute.ssl_object,
    "client_addr": SocketAttribute.local_address,
    "server_addr": SocketAttribute.remote_address,
    "socket": SocketAttribute.raw_socket,
}


class AsyncStream:
    """A connection of the async engine. Arguments as SyncStream, over a stream of anyio's."""

    def __init__(
        self,
        core: Any,
        inner: Any,
        reopen: Callable[[float | None], Awaitable[Any]],
        *,
        renewable: bool,
        names: tuple[str | None, ...] = (),
    ) -> None:
        self._core = core
        self._hold(inner)
        self._reopen = reopen
        self._names = names
        self.watch = Watch(renewable=renewable)
        self.watch.multiplexed = negotiated_http2(self)

    def _hold(self, inner: Any) -> None:
        self._inner = inner
        # Asked of each idle connection before each request, and dear: anyio gathers all attributes for one.
        self._socket = inner.extra(SocketAttribute.raw_socket, None)  # noqa: S610 - not Django's

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read, at most to the deadline."""
        clamped = not self.watch.multiplexed
        try:
            data: bytes = await operate(
                self._inner.receive(max_bytes), timeout, self._core.ReadTimeout, self._core.ReadError, clamped=clamped
            )
        except anyio.EndOfStream:
            data = b""
        self.watch.used = time.monotonic()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write, at most to the deadline; first replace a connection that is about to be closed."""
        if self.watch.multiplexed:
            # Another request's write may carry what this one has queued.
            self.watch.sending(timeout)
        if not buffer:
            allowed = clamp(timeout, time.monotonic())
            if allowed is not None and allowed <= 0:
                raise self._core.WriteTimeout("the deadline has passed")  # a body that never gets anywhere ends too
            return
        if self.watch.begins_late(timeout):
            fresh = await self._reopen(connect_allowance(timeout))
            abandon(self._inner)
            self._hold(fresh)
        allowed = clamp(timeout, time.monotonic())
        if allowed is None or allowed > 0:
            self.watch.sending(timeout)
        await operate(self._inner.send(buffer), timeout, self._core.WriteTimeout, self._core.WriteError)
        self.watch.used = time.monotonic()

    async def aclose(self) -> None:
        """Close the connection. Never suspends, so nothing can cut it short."""
        abandon(self._inner)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncStream:
        """The same connection under TLS; its handshake ends at the deadline at the latest."""
        core = self._core
        if self._names and self._names[0] is not None:
            server_hostname = self._names[0]

        async def handshake(raw: Any, timeout: float | None) -> Any:
            try:
                wrapping = TLSStream.wrap(
                    raw, ssl_context=ssl_context, hostname=server_hostname, standard_compatible=False, server_side=False
                )
                return await operate(wrapping, timeout, core.ConnectTimeout, core.ConnectError)
            except BaseException as exc:
                abandon(raw)
                if isinstance(exc, (OSError, ValueError, anyio.EndOfStream)):
                    raise core.ConnectError(str(exc)) from exc
                raise

        async def reopen(timeout: float | None) -> Any:
            return await handshake(await self._reopen(timeout), timeout)

        inner = await handshake(self._inner, timeout)
        return AsyncStream(core, inner, reopen, renewable=self.watch.renewable, names=self._names[1:])

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks of a connection."""
        if info == "is_readable":
            return is_readable(self._socket) or holds_more(self._inner)
        attribute = ATTRIBUTES.get(info)
        return None if attribute is None else self._inner.extra(attribute, None)  # noqa: S610 - not Django's


class AsyncNetwork:
    """httpcore network backend of one endpoint, async. Arguments as SyncNetwork."""

    def __init__(
        self, core: Any, address: tuple[str, int] | None, *, renewable: bool, names: tuple[str | None, ...] = ()
    ) -> None:
        self._core = core
        self._address = address
        self._renewable = renewable
        self._names = names

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncStream:
        """Connect to the endpoint's address, at most to the deadline over its name and all its addresses together."""
        host, port = self._address or (host, port)
        core = self._core
        options = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *(socket_options or ()))

        async def connect() -> Any:
            return await _wrap(await dial(host, port, local_address, options))

        async def reopen(timeout: float | None) -> Any:
            return await operate(connect(), timeout, core.ConnectTimeout, core.ConnectError)

        return AsyncStream(core, await reopen(timeout), reopen, renewable=self._renewable, names=self._names)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> AsyncStream:
        """Refused: an endpoint is an origin."""
        message = "an engine of resilient_http connects over TCP"
        raise NotImplementedError(message)

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore's own retries would, and they are off."""
        await anyio.sleep(seconds)


def holds_more(stream: Any) -> bool:
    """Whether something has come that the event loop or TLS has taken from the socket, and nobody has read.

    The names are private to anyio; a test tells if they go.
    """
    incoming = getattr(stream, "_read_bio", None)
    if incoming is not None:
        if incoming.pending or stream._ssl_object.pending():  # noqa: SLF001
            return True
        stream = stream.transport_stream
    protocol = getattr(stream, "_protocol", None)  # of asyncio's streams
    return protocol is not None and bool(protocol.read_queue)


def abandon(stream: Any) -> None:
    """Close a stream at once. Closing takes effect before it first suspends, so it need not be awaited."""
    closing: Coroutine[Any, Any, None] = stream.aclose()
    try:
        while closing.send(None) is None:  # on asyncio, a mere yield to the loop
            pass
    except StopIteration:
        return
    finally:
        closing.close()


async def dial(
    host: str, port: int, local: str | None = None, options: Iterable[tuple[int, int, int]] = ()
) -> socket.socket:
    """As the sync one: the first connection to one of the addresses of that name."""
    addresses = literal(host, port) or await _resolve(host, port)
    if len(addresses) == 1:
        return await _connect(addresses[0], local, options)
    return await _race(addresses, local, options)


async def _race(
    addresses: Sequence[Address], local: str | None, options: Iterable[tuple[int, int, int]]
) -> socket.socket:
    connected: list[socket.socket] = []
    failures = [OSError("the name has no address")]

    async def attempt(address: Address, ended: anyio.Event) -> None:
        try:
            connected.append(await _connect(address, local, options))
            racing.cancel_scope.cancel()
        except OSError as exc:
            failures.append(exc)
        ended.set()

    waiting = deque(addresses)
    try:
        async with anyio.create_task_group() as racing:
            while waiting:
                ended = anyio.Event()
                racing.start_soon(attempt, waiting.popleft(), ended)
                with anyio.move_on_after(STAGGER):
                    await ended.wait()
    except BaseException:
        while connected:
            connected.pop().close()
        raise
    for loser in connected[1:]:
        loser.close()
    if not connected:
        raise failures[-1]
    return connected[0]


async def _connect(address: Address, local: str | None, options: Iterable[tuple[int, int, int]]) -> socket.socket:
    sock = begin(address, local, options)
    try:
        await anyio.wait_writable(sock)
        check(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        return sock
    except BaseException:
        sock.close()
        raise


async def _wrap(sock: socket.socket) -> SocketStream:
    try:
        return await SocketStream.from_socket(sock)
    except BaseException:
        sock.close()
        raise


async def _resolve(host: str, port: int) -> Sequence[Address]:
    lookup, done = resolver().begin(host, port), anyio.Event()
    lookup.when_done(waker(done.set))
    await done.wait()
    return lookup.addresses()


async def operate(
    operation: Coroutine[Any, Any, T],
    timeout: float | None,
    late: Callable[[str], Exception],
    broken: Callable[[str], Exception],
    *,
    clamped: bool = True,
) -> T:
    """What the operation gives, at most to the deadline, with httpcore's exceptions."""
    started = time.monotonic()
    allowed = clamp(timeout, started) if clamped else unclamped(timeout)
    if allowed is not None and allowed <= 0:
        operation.close()
        raise late("the deadline has passed")
    try:
        if allowed is None:
            return await operation
        with anyio.fail_after(allowed):
            return await operation
    except TimeoutError as exc:
        note_if_late(timeout, allowed, started)
        raise late(f"nothing within {allowed:.3g} s") from exc
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
        raise broken(str(exc) or str(exc.__cause__ or "")) from exc
