"""Async network: the backend that the async engine's httpcore connects, reads and writes with. See network.py."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from resilient_http.engines.network import Watch, clamp, connect_allowance, negotiated_http2, note_if_late, unclamped

if TYPE_CHECKING:
    import ssl


class AsyncStream:
    """A connection of the async engine."""

    def __init__(
        self, core: Any, inner: Any, reopen: Callable[[float | None], Awaitable[Any]], *, renewable: bool
    ) -> None:
        self._core = core
        self._inner = inner
        self._reopen = reopen
        self.watch = Watch(renewable=renewable)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read, at most to the deadline."""
        started = time.monotonic()
        allowed = unclamped(timeout) if self.watch.multiplexed else clamp(timeout, started)
        if allowed is not None and allowed <= 0:
            raise self._core.ReadTimeout("the deadline has passed")
        try:
            data: bytes = await self._inner.read(max_bytes, allowed)
        except self._core.ReadTimeout:
            note_if_late(timeout, allowed, started)
            raise
        self.watch.used = time.monotonic()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write, at most to the deadline; first replace a connection that is about to be closed."""
        if self.watch.multiplexed:
            # Another request's write may carry what this one has queued.
            self.watch.sending(timeout)
        if not buffer:
            return
        if self.watch.begins(timeout) and self.watch.stale(time.monotonic()):
            fresh = await self._reopen(connect_allowance(timeout))
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
        secured.watch.multiplexed = negotiated_http2(secured)
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
                note_if_late(timeout, allowed, started)
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
