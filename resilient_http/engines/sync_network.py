"""Sync network: the backend that the sync engine's httpcore connects, reads and writes with. See network.py."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from resilient_http.engines.network import Watch, clamp, connect_allowance, negotiated_http2, note_if_late, unclamped

if TYPE_CHECKING:
    import ssl


class SyncStream:
    """A connection of the sync engine."""

    def __init__(self, core: Any, inner: Any, reopen: Callable[[float | None], Any], *, renewable: bool) -> None:
        self._core = core
        self._inner = inner
        self._reopen = reopen
        self.watch = Watch(renewable=renewable)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read, at most to the deadline."""
        started = time.monotonic()
        allowed = unclamped(timeout) if self.watch.multiplexed else clamp(timeout, started)
        if allowed is not None and allowed <= 0:
            raise self._core.ReadTimeout("the deadline has passed")
        try:
            data: bytes = self._inner.read(max_bytes, allowed)
        except self._core.ReadTimeout:
            note_if_late(timeout, allowed, started)
            raise
        self.watch.used = time.monotonic()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write, at most to the deadline; first replace a connection that is about to be closed."""
        if self.watch.multiplexed:
            # Another request's write may carry what this one has queued.
            self.watch.sending(timeout)
        if not buffer:
            return
        started = time.monotonic()
        if self.watch.begins(timeout) and self.watch.stale(started):
            fresh = self._reopen(connect_allowance(timeout))
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
        secured.watch.multiplexed = negotiated_http2(secured)
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
                note_if_late(timeout, share, began)
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
