"""Dial: what an idle connection tells of itself."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import time

import pytest

from resilient_http.engines import dial
from resilient_http.engines.dial import is_readable


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        with ours, theirs:
            yield ours, theirs


def test_an_idle_connection_is_quiet_again_when_all_has_been_read(pair):
    ours, theirs = pair
    assert not is_readable(ours)

    for size in (1, 300_000):
        theirs.sendall(b"x" * size)
        time.sleep(0.02)
        assert is_readable(ours)
        left = size
        while left:
            assert is_readable(ours)
            left -= len(ours.recv(min(left, 65536)))

        assert not is_readable(ours)


@pytest.mark.parametrize("end", ["shutdown", "reset"])
def test_one_that_the_other_side_has_ended_is_readable(pair, end):
    ours, theirs = pair
    if end == "reset":
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
    else:
        theirs.shutdown(socket.SHUT_WR)
    time.sleep(0.02)

    assert is_readable(ours)


def test_one_that_is_closed_or_never_was_is_readable(pair):
    ours, _ = pair
    ours.close()

    assert is_readable(ours)
    assert is_readable(None)


def test_what_is_no_tcp_is_polled():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not is_readable(ours)
        theirs.send(b"x")
        assert is_readable(ours)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells without a poll")
def test_no_poll_is_needed_for_a_quiet_one(pair, monkeypatch):
    ours, theirs = pair
    monkeypatch.setattr(dial.select, "poll", lambda: pytest.fail("it polls"))

    assert not is_readable(ours)
    context = ssl.create_default_context()
    with context.wrap_socket(theirs, server_hostname="n1", do_handshake_on_connect=False) as under_tls:
        assert not is_readable(under_tls)
