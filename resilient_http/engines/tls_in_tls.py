"""TLS in TLS: what an https endpoint behind an https proxy needs. The standard library's sockets cannot do it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

RECORD = 16384  # bytes of a TLS record at most. Source: RFC 8446, section 5.1


class TlsInTls:
    """A socket that speaks TLS through another TLS socket. An operation that timed out can be called again.

    Args:
        outer: The connected TLS socket.
        context: The inner connection's.
        server_name: The inner peer's.

    Attributes:
        outer: As given.
    """

    def __init__(self, outer: Any, context: ssl.SSLContext, server_name: str | None) -> None:
        self.outer = outer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._unsent = b""
        self.ssl_object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    def do_handshake(self) -> None:
        """Shake hands."""
        self._converse(self.ssl_object.do_handshake)
        self._flush()

    def recv(self, size: int) -> bytes:
        """As a socket's; b"" at the end, and where the peer hangs up without a word, as most do."""
        try:
            return self._converse(lambda: self.ssl_object.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def send(self, data: memoryview) -> int:
        """As a socket's."""
        self._flush()
        taken = self._converse(lambda: self.ssl_object.write(data[:RECORD]))
        with contextlib.suppress(TimeoutError):  # the bytes are ours now; the next operation sends them
            self._flush()
        return taken

    def settimeout(self, seconds: float | None) -> None:
        """As a socket's."""
        self.outer.settimeout(seconds)

    def close(self) -> None:
        """As a socket's."""
        self.outer.close()

    def fileno(self) -> int:
        """As a socket's."""
        number: int = self.outer.fileno()
        return number

    def getsockname(self) -> Any:
        """As a socket's."""
        return self.outer.getsockname()

    def getpeername(self) -> Any:
        """As a socket's."""
        return self.outer.getpeername()

    def _converse(self, operation: Callable[[], T]) -> T:
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                self._flush()
                data = self.outer.recv(RECORD)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self.outer.send(self._unsent) :]
