"""EagerSocket: waits as a socket with a timeout does, over real sockets."""

from __future__ import annotations

import _socket
import socket
import threading
import time

import pytest

from resilient_http.engines.eager_socket import MOMENT, EagerSocket


@pytest.fixture
def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    own = EagerSocket(socket.create_connection(listener.getsockname()))
    peer, _ = listener.accept()
    listener.close()
    with own, peer:
        yield own, peer


def fill(sock):
    for _ in range(1000):
        sock.send(bytes(65536))


def drain(sock):
    while sock.recv(1 << 20):
        pass


def test_what_has_come_is_received_without_waiting(pair):
    own, peer = pair
    peer.sendall(b"hello")
    own.settimeout(5.0)

    assert own.recv(100) == b"hello"


def test_what_comes_later_is_waited_for(pair):
    own, peer = pair
    own.settimeout(5.0)
    timer = threading.Timer(0.05, peer.sendall, [b"late"])
    timer.start()

    assert own.recv(100) == b"late"
    timer.join()


def test_what_is_tried_does_not_wait(pair):
    own, peer = pair
    own.settimeout(5.0)

    assert own.recv_now(100) is None
    peer.sendall(b"hello")
    assert own.recv_later(100) == b"hello"
    assert own.send_now(b"back") == 4
    while sent := own.send_now(bytes(1 << 20)):
        assert 0 < sent <= 1 << 20
    peer.close()
    time.sleep(0.05)
    with pytest.raises(ConnectionError):  # what it had not read went with it
        own.recv_now(100)


def test_what_comes_soon_is_waited_for_in_the_kernel(pair):
    own, peer = pair
    timer = threading.Timer(0.05, peer.sendall, [b"soon"])
    timer.start()

    assert own.recv_soon(100) == b"soon"
    timer.join()
    started = time.monotonic()
    assert own.recv_soon(100) is None
    assert MOMENT <= time.monotonic() - started < MOMENT + 1.0


def test_one_that_has_waited_in_the_kernel_waits_for_nothing_else(pair):
    own, peer = pair
    own.recv_soon(100)
    started = time.monotonic()
    own.settimeout(0.01)

    assert own.recv_now(100) is None
    for wait in (own.recv, own.recv_later):
        with pytest.raises(TimeoutError):
            wait(100)
    with pytest.raises(TimeoutError):
        fill(own)
    assert not own.send_now(b"more")
    assert time.monotonic() - started < MOMENT
    peer.close()


def test_the_end_of_the_peer_and_a_shutdown_end_what_waits_in_the_kernel(pair):
    own, peer = pair
    timer = threading.Timer(0.05, own.shutdown, [socket.SHUT_RDWR])
    timer.start()

    assert own.recv_soon(100) == b""
    timer.join()
    assert not peer.recv(100)


def test_one_that_is_handed_on_waits_as_it_is_told_to(pair):
    own, peer = pair
    own.recv_soon(100)
    own.never_blocks()

    with pytest.raises(BlockingIOError):
        socket.socket.recv(own, 100)
    assert own.recv_soon(100) is None
    socket.socket.settimeout(own, None)  # as who takes its descriptor over does
    timer = threading.Timer(2 * MOMENT, peer.sendall, [b"late"])
    timer.start()
    assert socket.socket.recv(own, 100) == b"late"
    timer.join()


@pytest.mark.parametrize("patched", ["base", "module"])
def test_one_of_gevents_never_waits_in_the_kernel(pair, patched, monkeypatch):
    """It would hold up all that is to run meanwhile."""

    def green(sock, size, flags=0):
        return _socket.socket.recv(sock, size, flags)

    own, _ = pair
    if patched == "base":
        monkeypatch.setattr(socket.socket, "recv", green)
    else:
        monkeypatch.setattr(socket, "socket", type("Green", (socket.socket,), {"recv": green}))
    started = time.monotonic()

    assert own.recv_soon(100) is None
    assert time.monotonic() - started < MOMENT


def test_a_wait_ends_after_its_timeout(pair):
    own, _ = pair
    own.settimeout(0.05)
    started = time.monotonic()

    with pytest.raises(TimeoutError):
        own.recv(100)
    assert 0.04 < time.monotonic() - started < 1.0


def test_a_peer_that_does_not_read_holds_up_the_sender_until_its_timeout(pair):
    own, _ = pair
    own.settimeout(0.05)

    with pytest.raises(TimeoutError):
        fill(own)


def test_sending_goes_on_when_the_peer_reads_again(pair):
    own, peer = pair
    own.settimeout(0.05)
    with pytest.raises(TimeoutError):
        fill(own)
    own.settimeout(5.0)
    reader = threading.Thread(target=drain, args=[peer])
    reader.start()

    assert own.send(b"more") == 4
    own.close()
    reader.join()


def test_the_end_of_the_peer_is_an_empty_answer(pair):
    own, peer = pair
    peer.close()
    own.settimeout(None)

    assert own.recv(100) == b""


def test_a_closed_socket_says_so(pair):
    own, _ = pair
    own.close()

    with pytest.raises(OSError, match="the socket is closed"):
        own.settimeout(1.0)
