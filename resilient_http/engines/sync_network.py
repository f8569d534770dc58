"""Sync network: the backend that the sync engine's httpcore connects, reads and writes with. See network.py."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from resilient_http.engines.dial import begin, is_readable
from resilient_http.engines.eager_socket import MOMENT, EagerSocket
from resilient_http.engines.network import (
    STAGGER,
    Watch,
    cancellable,
    clamp,
    connect_allowance,
    negotiated_http2,
)
from resilient_http.engines.patience import Patience, in_time, tried
from resilient_http.engines.resolver import Address, literal, resolver
from resilient_http.engines.tls_in_tls import TlsInTls

CLOSED = "the connection was closed meanwhile"
PIECE = 65536  # bytes handed to the kernel at once, at most
AT_EASE = 2 * MOMENT  # seconds; with fewer, the kernel's own timeout is too coarse


class SyncStream:
    """A connection of the sync engine.

    Args:
        core: httpcore or httpcore2.
        sock: A connected socket, or a TLS socket.
        reopen: Connects another one like it.
        renewable: Whether it may be replaced when it has been idle for long.
        names: The names of its peers, in the order of their handshakes; () goes by what httpcore says.
    """

    def __init__(
        self,
        core: Any,
        sock: Any,
        reopen: Callable[[float | None], Any],
        *,
        renewable: bool,
        names: tuple[str | None, ...] = (),
    ) -> None:
        self._core = core
        self._sock = sock
        self._reopen = reopen
        self._names = names
        self.watch = Watch(renewable=renewable)
        self.watch.multiplexed = negotiated_http2(self)
        self._under_way = 0  # operations
        self._closing = False
        self._lock = threading.Lock()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read, at most to the deadline."""
        alone, sock = not self.watch.multiplexed, self._sock
        broken = self._core.ReadError
        self._enter(broken)
        try:
            data, receive, started = None, sock.recv, time.monotonic()
            spare = self._spare(timeout, started)
            if spare > 0:
                data = tried(broken, sock.recv_soon if spare > AT_EASE else sock.recv_now, max_bytes)
                receive = sock.recv_later
            if data is None:
                patience = Patience(timeout, self._core.ReadTimeout, started=started, clamped=alone, alone=alone)
                data = in_time(sock, patience, broken, receive, max_bytes)
        finally:
            self._leave()
        self._check_open(broken)
        self.watch.used = time.monotonic()
        given: bytes = data
        return given

    def write(self, buffer: Any, timeout: float | None = None) -> None:
        """Write, at most to the deadline; first replace a connection that is about to be closed."""
        if self.watch.multiplexed:
            # Another request's write may carry what this one has queued.
            self.watch.sending(timeout)
        if not buffer:
            Patience(timeout, self._core.WriteTimeout).left()  # a body that never gets anywhere ends too
            return
        if self.watch.begins_late(timeout):
            fresh = self._reopen(connect_allowance(timeout))
            self._sock.close()
            self._sock = fresh
        broken = self._core.WriteError
        self._enter(broken)
        try:
            sent = 0
            if len(buffer) <= PIECE and self._spare(timeout, time.monotonic()) > 0:
                self.watch.sending(timeout)
                sent = tried(broken, self._sock.send_now, buffer)
            if sent < len(buffer):
                self._write_on(memoryview(buffer)[sent:], timeout)
        finally:
            self._leave()
        self._check_open(broken)
        self.watch.used = time.monotonic()

    def _write_on(self, unsent: memoryview, timeout: float | None) -> None:
        broken = self._core.WriteError
        patience = Patience(timeout, self._core.WriteTimeout, alone=not self.watch.multiplexed)
        patience.left()
        self.watch.sending(timeout)
        while unsent:
            sent = in_time(self._sock, patience, broken, self._sock.send, unsent[:PIECE])
            unsent = unsent[sent:]

    def _spare(self, timeout: float | None, now: float) -> float:
        """Seconds for which an operation may wait where nobody can cut it short; none where somebody could."""
        if type(self._sock) is not EagerSocket or cancellable(timeout) is not None:
            return 0.0
        allowed = clamp(timeout, now)
        return math.inf if allowed is None else allowed

    def close(self) -> None:
        """Close the connection; under another thread that waits in it, that thread is woken and closes it.

        A descriptor that is closed may be another socket's the next moment, and who still waits would read from that.
        """
        with self._lock:
            self._closing = True
            if self._under_way:
                sever(self._sock)
                return
        self._sock.close()

    def _enter(self, broken: Callable[[str], Exception]) -> None:
        with self._lock:
            self._check_open(broken)
            self._under_way += 1

    def _check_open(self, broken: Callable[[str], Exception]) -> None:
        if self._closing:
            raise broken(CLOSED)

    def _leave(self) -> None:
        with self._lock:
            self._under_way -= 1
            last = self._closing and not self._under_way
        if last:
            self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> SyncStream:
        """The same connection under TLS; its handshake ends at the deadline at the latest."""
        core = self._core
        if self._names and self._names[0] is not None:
            server_hostname = self._names[0]

        def handshake(raw: Any, timeout: float | None) -> Any:
            secured = raw
            try:
                patience = Patience(timeout, core.ConnectTimeout)
                patience.left()
                secured = _under_tls(raw, ssl_context, server_hostname)
                in_time(secured, patience, core.ConnectError, secured.do_handshake)
            except BaseException as exc:
                secured.close()
                if isinstance(exc, (OSError, ValueError)):  # before a byte was sent: a name that cannot be one, say
                    raise core.ConnectError(str(exc)) from exc
                raise
            return secured

        def reopen(timeout: float | None) -> Any:
            return handshake(self._reopen(timeout), timeout)

        sock = handshake(self._sock, timeout)
        return SyncStream(core, sock, reopen, renewable=self.watch.renewable, names=self._names[1:])

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks of a connection."""
        sock = self._sock
        if info == "ssl_object":
            return sock if isinstance(sock, ssl.SSLSocket) else getattr(sock, "ssl_object", None)
        if info == "client_addr":
            return sock.getsockname()
        if info == "server_addr":
            return sock.getpeername()
        if info == "socket":
            return sock
        return is_readable(sock) if info == "is_readable" else None


class SyncNetwork:
    """httpcore network backend of one endpoint, sync.

    Args:
        core: httpcore or httpcore2.
        address: Where to connect whatever host the URL names, or None to go by the URL.
        renewable: Whether an idle connection may be replaced (not through a proxy, whose CONNECT would be lost).
        names: See SyncStream.
    """

    def __init__(
        self, core: Any, address: tuple[str, int] | None, *, renewable: bool, names: tuple[str | None, ...] = ()
    ) -> None:
        self._core = core
        self._address = address
        self._renewable = renewable
        self._names = names

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> SyncStream:
        """Connect to the endpoint's address, at most to the deadline over its name and all its addresses together."""
        host, port = self._address or (host, port)
        options = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *(socket_options or ()))

        def reopen(timeout: float | None) -> socket.socket:
            patience = Patience(timeout, self._core.ConnectTimeout)
            patience.left()
            try:
                return dial(literal(host, port) or _resolve(host, port, patience), patience, local_address, options)
            except OSError as exc:
                raise self._core.ConnectError(str(exc)) from exc

        return SyncStream(self._core, reopen(timeout), reopen, renewable=self._renewable, names=self._names)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> SyncStream:
        """Refused: an endpoint is an origin."""
        message = "an engine of resilient_http connects over TCP"
        raise NotImplementedError(message)

    def sleep(self, seconds: float) -> None:
        """Wait; httpcore's own retries would, and they are off."""
        time.sleep(seconds)


def dial(
    addresses: Sequence[Address], patience: Patience, local: str | None, options: Iterable[tuple[int, int, int]]
) -> socket.socket:
    """The first connection to one of the addresses; the next is tried when one fails, and beside one that is slow.

    Raises:
        OSError: All failed; the last failure.

    Source: RFC 8305, section 5.
    """
    waiting = deque(addresses)
    failure = OSError("the name has no address")
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as losers:
        next_at = -math.inf
        while waiting or selector.get_map():
            if waiting and (not selector.get_map() or time.monotonic() >= next_at):
                next_at = time.monotonic() + STAGGER
                try:
                    sock = begin(waiting.popleft(), local, options)
                except OSError as exc:
                    failure = exc
                    continue
                losers.callback(sock.close)
                selector.register(sock, selectors.EVENT_WRITE)
            left = patience.left()
            if waiting:
                left = min(math.inf if left is None else left, max(0.0, next_at - time.monotonic()))
            for key, _ in selector.select(left):
                winner: Any = key.fileobj
                selector.unregister(winner)
                refused = winner.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not refused:
                    # What the stack closes is a socket that the connection has been taken out of.
                    return EagerSocket(winner)
                failure, next_at = OSError(refused, os.strerror(refused)), -math.inf
    raise failure


def _resolve(host: str, port: int, patience: Patience) -> Sequence[Address]:
    lookup, done = resolver().begin(host, port), threading.Event()
    lookup.when_done(done.set)
    while not done.wait(patience.left()):
        pass
    return lookup.addresses()


def sever(sock: Any) -> None:
    """Make a socket's waits end, in whatever thread. Never blocks."""
    while isinstance(sock, TlsInTls):
        sock = sock.outer
    with contextlib.suppress(OSError):  # it has come to its end by itself
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # an SSLSocket's own drops its TLS under who reads it


def _under_tls(sock: Any, context: ssl.SSLContext, server_name: str | None) -> Any:
    if isinstance(sock, (ssl.SSLSocket, TlsInTls)):
        return TlsInTls(sock, context, server_name)
    return context.wrap_socket(sock.never_blocks(), server_hostname=server_name, do_handshake_on_connect=False)
