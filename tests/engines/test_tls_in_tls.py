"""TLS in TLS over a connection that takes little at once, and times out again and again."""

from __future__ import annotations

import contextlib
import itertools
import ssl

import pytest

from resilient_http.engines.tls_in_tls import TlsInTls


class Outer:
    """The outer socket, with the inner peer behind it. Every other operation times out.

    Attributes:
        received: What the peer has decrypted.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.received = b""
        self._moods = itertools.cycle([True, False])

    def send(self, data: bytes) -> int:
        self._maybe_time_out()
        return self._incoming.write(data[:700])

    def recv(self, size: int) -> bytes:
        self._maybe_time_out()
        with contextlib.suppress(ssl.SSLWantReadError):
            self.peer.do_handshake()
            while True:
                self.received += self.peer.read(65536)
        data = self._outgoing.read(min(size, 500))
        if not data:
            raise TimeoutError
        return data

    def _maybe_time_out(self) -> None:
        if next(self._moods):
            raise TimeoutError


def again_and_again(operation, *arguments):
    """What it gives in the end."""
    for _ in range(10_000):
        with contextlib.suppress(TimeoutError):
            return operation(*arguments)
    raise AssertionError("it never ends")


@pytest.fixture
def outer(tls):
    return Outer(tls.server_context("localhost"))


@pytest.fixture
def sock(tls, outer):
    sock = TlsInTls(outer, tls.client_context(), "localhost")
    again_and_again(sock.do_handshake)
    return sock


def test_a_handshake_goes_on_where_it_timed_out(sock):
    assert sock.ssl_object.version() in ("TLSv1.2", "TLSv1.3")


def test_what_was_taken_is_sent_once_and_in_order_however_often_it_times_out(sock, outer):
    content = bytes(range(256)) * 400
    unsent = memoryview(content)
    while unsent:
        unsent = unsent[again_and_again(sock.send, unsent) :]
    for _ in range(1000):  # the last of it goes out with the next operation
        with contextlib.suppress(TimeoutError):
            sock.recv(1)
    assert outer.received == content


def test_what_comes_is_read_whole_however_often_it_times_out(sock, outer):
    content = bytes(range(256)) * 400
    again_and_again(sock.send, memoryview(b"question"))
    with contextlib.suppress(TimeoutError):
        sock.recv(1)
    outer.peer.write(content)
    received = b""
    while len(received) < len(content):
        received += again_and_again(sock.recv, 65536)
    assert received == content
