"""Network: a backend for httpcore that makes every wait of a socket keep to its attempt's deadline.

httpcore hands each socket operation the timeout that stands in the request's extensions. Ours is an Allowance: a
float that also knows its attempt. So the deadline travels with the request, whichever thread or task reads the
connection, and a body that drips one byte a second ends at the deadline like everything else.

The streams also know two things that nothing above them can see: whether a byte of the request was handed to the
kernel (so what failed before provably was not sent), and how long a kept connection has been idle. A connection that
the server may be about to close is replaced beneath httpcore before anything is written to it.

With HTTP/2 the reads of one connection serve all its requests, so there they are not clamped.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

    from resilient_http.call import Attempt

LATE = 0.1  # a timeout that fires this much late means that we stalled, not the endpoint
FRESH = 1.0  # a request that cannot be repeated takes a connection used this recently, or a new one


class Allowance(float):
    """Seconds that one socket operation may take, and the attempt whose deadline shortens it further."""

    __slots__ = ("attempt",)
    attempt: Attempt

    @classmethod
    def of(cls, seconds: float | None, attempt: Attempt) -> Allowance:
        """The allowance of `attempt` for one phase; None allows as much as the deadline."""
        self = cls(math.inf if seconds is None else seconds)
        self.attempt = attempt
        return self


def clamp(timeout: float | None, now: float) -> float | None:
    """Seconds that an operation may wait: what is allowed, but no longer than what is left. 0.0 or less: nothing."""
    if isinstance(timeout, Allowance):
        timeout = min(float(timeout), timeout.attempt.expires - now)
    return None if timeout == math.inf else timeout


class _Watch:
    """What sync and async streams know alike about one connection."""

    __slots__ = ("attempt", "idle_limit", "multiplexed", "renewable", "used")

    def __init__(self, *, renewable: bool) -> None:
        self.attempt: Attempt | None = None
        self.used: float | None = None  # monotonic seconds of the last byte in or out
        self.idle_limit = math.inf
        self.multiplexed = False
        self.renewable = renewable

    def begins(self, timeout: float | None) -> bool:
        """Whether a write is the first one of another request than the last."""
        attempt = timeout.attempt if isinstance(timeout, Allowance) else None
        if attempt is None or attempt is self.attempt:
            return False
        self.attempt = attempt
        return True

    def stale(self, now: float) -> bool:
        """Whether the server may be closing this idle connection under the request that begins."""
        if not self.renewable or self.multiplexed or self.used is None or self.attempt is None:
            return False
        limit = self.idle_limit if self.attempt.call.repeatable else min(self.idle_limit, FRESH)
        return now - self.used > limit

    def sending(self, timeout: float | None) -> None:
        """Bytes are about to be handed to the kernel."""
        if isinstance(timeout, Allowance):
            timeout.attempt.sent = True


def _note_if_late(timeout: float | None, allowed: float | None, started: float) -> None:
    """A timeout fired: was it us?"""
    if allowed is None or not isinstance(timeout, Allowance):
        return
    late = time.monotonic() - started - allowed
    if late > LATE:
        timeout.attempt.stalled = f"a timeout of {allowed:.3g} s fired {late:.3g} s late"


def _connect_allowance(timeout: float | None) -> float | None:
    """The connect phase of the attempt that a write belongs to."""
    if isinstance(timeout, Allowance):
        return Allowance.of(timeout.attempt.phases.get("connect"), timeout.attempt)
    return timeout


class SyncStream:
    """A connection of the sync engine."""

    def __init__(self, core: Any, inner: Any, reopen: Callable[[float | None], Any], *, renewable: bool) -> None:
        self._core = core
        self._inner = inner
        self._reopen = reopen
        self.watch = _Watch(renewable=renewable)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read, at most to the deadline."""
        started = time.monotonic()
        allowed = _plain(timeout) if self.watch.multiplexed else clamp(timeout, started)
        if allowed is not None and allowed <= 0:
            raise self._core.ReadTimeout("the deadline has passed")
        try:
            data: bytes = self._inner.read(max_bytes, allowed)
        except self._core.ReadTimeout:
            _note_if_late(timeout, allowed, started)
            raise
        self.watch.used = time.monotonic()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write, at most to the deadline; first replace a connection that is about to be closed."""
        if not buffer:
            return
        started = time.monotonic()
        if self.watch.begins(timeout) and self.watch.stale(started):
            fresh = self._reopen(_connect_allowance(timeout))
            self._inner.close()
            self._inner, started = fresh, time.monotonic()
        view = memoryview(buffer)
        while view:
            allowed = clamp(timeout, time.monotonic())
            if allowed is not None and allowed <= 0:
                raise self._core.WriteTimeout("the deadline has passed")
            self.watch.sending(timeout)
            # In pieces, so that a large body to a peer that reads slowly meets the deadline between them.
            self._inner.write(bytes(view[:65536]), allowed)
            view = view[65536:]
        self.watch.used = time.monotonic()

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> SyncStream:
        """The same connection under TLS."""

        def handshake(raw: Any, timeout: float | None) -> Any:
            allowed = clamp(timeout, time.monotonic())
            if allowed is not None and allowed <= 0:
                raw.close()
                raise self._core.ConnectTimeout("the deadline has passed")
            return raw.start_tls(ssl_context, server_hostname, allowed)

        def reopen(timeout: float | None) -> Any:
            return handshake(self._reopen(timeout), timeout)

        secured = SyncStream(self._core, handshake(self._inner, timeout), reopen, renewable=self.watch.renewable)
        secured.watch.multiplexed = _negotiated_http2(secured)
        return secured

    def get_extra_info(self, info: str) -> Any:
        """What the underlying stream knows."""
        return self._inner.get_extra_info(info)


class SyncNetwork:
    """httpcore network backend of one endpoint, sync.

    Args:
        core: httpcore or httpcore2.
        inner: The backend that does the work.
        address: Where to connect whatever host the URL names, or None to go by the URL.
        renewable: Whether an idle connection may be replaced (not through a proxy, whose CONNECT would be lost).
    """

    def __init__(self, core: Any, inner: Any, address: tuple[str, int] | None, *, renewable: bool) -> None:
        self._core = core
        self._inner = inner
        self._address = address
        self._renewable = renewable

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> SyncStream:
        """Connect to the endpoint's address, at most to the deadline over all its addresses together."""
        host, port = self._address or (host, port)

        def reopen(timeout: float | None) -> Any:
            return self._connect(host, port, timeout, local_address, socket_options)

        return SyncStream(self._core, reopen(timeout), reopen, renewable=self._renewable)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> Any:
        """Connect to a Unix socket."""
        return self._inner.connect_unix_socket(path, clamp(timeout, time.monotonic()), socket_options)

    def sleep(self, seconds: float) -> None:
        """Wait; httpcore's own retries would, and they are off."""
        self._inner.sleep(seconds)

    def _connect(
        self, host: str, port: int, timeout: float | None, local: str | None, options: Iterable[Any] | None
    ) -> Any:
        started = time.monotonic()
        allowed = clamp(timeout, started)
        end = None if allowed is None else started + allowed
        addresses = self._resolve(host, port)
        for position, address in enumerate(addresses):
            # Each address gets an equal share of what is left, so that one that hangs cannot use up the rest's.
            share = None if end is None else (end - time.monotonic()) / (len(addresses) - position)
            if share is not None and share <= 0:
                break
            began = time.monotonic()
            try:
                return self._inner.connect_tcp(address, port, share, local, options)
            except self._core.ConnectTimeout:
                _note_if_late(timeout, share, began)
                if position == len(addresses) - 1:
                    raise
            except self._core.ConnectError:
                if position == len(addresses) - 1:
                    raise
        raise self._core.ConnectTimeout("the deadline has passed")

    def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as exc:
            raise self._core.ConnectError(f"{host}: {exc}") from exc
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class AsyncStream:
    """A connection of the async engine."""

    def __init__(
        self, core: Any, inner: Any, reopen: Callable[[float | None], Awaitable[Any]], *, renewable: bool
    ) -> None:
        self._core = core
        self._inner = inner
        self._reopen = reopen
        self.watch = _Watch(renewable=renewable)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read, at most to the deadline."""
        started = time.monotonic()
        allowed = _plain(timeout) if self.watch.multiplexed else clamp(timeout, started)
        if allowed is not None and allowed <= 0:
            raise self._core.ReadTimeout("the deadline has passed")
        try:
            data: bytes = await self._inner.read(max_bytes, allowed)
        except self._core.ReadTimeout:
            _note_if_late(timeout, allowed, started)
            raise
        self.watch.used = time.monotonic()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write, at most to the deadline; first replace a connection that is about to be closed."""
        if not buffer:
            return
        if self.watch.begins(timeout) and self.watch.stale(time.monotonic()):
            fresh = await self._reopen(_connect_allowance(timeout))
            await self._inner.aclose()
            self._inner = fresh
        allowed = clamp(timeout, time.monotonic())
        if allowed is not None and allowed <= 0:
            raise self._core.WriteTimeout("the deadline has passed")
        self.watch.sending(timeout)
        await self._inner.write(buffer, allowed)
        self.watch.used = time.monotonic()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncStream:
        """The same connection under TLS."""

        async def handshake(raw: Any, timeout: float | None) -> Any:
            allowed = clamp(timeout, time.monotonic())
            if allowed is not None and allowed <= 0:
                await raw.aclose()
                raise self._core.ConnectTimeout("the deadline has passed")
            return await raw.start_tls(ssl_context, server_hostname, allowed)

        async def reopen(timeout: float | None) -> Any:
            return await handshake(await self._reopen(timeout), timeout)

        inner = await handshake(self._inner, timeout)
        secured = AsyncStream(self._core, inner, reopen, renewable=self.watch.renewable)
        secured.watch.multiplexed = _negotiated_http2(secured)
        return secured

    def get_extra_info(self, info: str) -> Any:
        """What the underlying stream knows."""
        return self._inner.get_extra_info(info)


class AsyncNetwork:
    """httpcore network backend of one endpoint, async. Arguments as SyncNetwork."""

    def __init__(self, core: Any, inner: Any, address: tuple[str, int] | None, *, renewable: bool) -> None:
        self._core = core
        self._inner = inner
        self._address = address
        self._renewable = renewable

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncStream:
        """Connect to the endpoint's address, at most to the deadline; several addresses race (RFC 8305)."""
        host, port = self._address or (host, port)

        async def reopen(timeout: float | None) -> Any:
            started = time.monotonic()
            allowed = clamp(timeout, started)
            if allowed is not None and allowed <= 0:
                raise self._core.ConnectTimeout("the deadline has passed")
            try:
                return await self._inner.connect_tcp(host, port, allowed, local_address, socket_options)
            except self._core.ConnectTimeout:
                _note_if_late(timeout, allowed, started)
                raise

        return AsyncStream(self._core, await reopen(timeout), reopen, renewable=self._renewable)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> Any:
        """Connect to a Unix socket."""
        return await self._inner.connect_unix_socket(path, clamp(timeout, time.monotonic()), socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore's own retries would, and they are off."""
        await self._inner.sleep(seconds)


def _plain(timeout: float | None) -> float | None:
    """An HTTP/2 read serves other requests too, so no single one's deadline applies to it."""
    return None if timeout is None or timeout == math.inf else float(timeout)


def _negotiated_http2(stream: SyncStream | AsyncStream) -> bool:
    ssl_object = stream.get_extra_info("ssl_object")
    return ssl_object is not None and ssl_object.selected_alpn_protocol() == "h2"
