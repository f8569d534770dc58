"""Dial: sockets on their way to a peer; what sync and async connects do alike."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from collections.abc import Iterable
from typing import Any

from resilient_http.engines.resolver import Address

ESTABLISHED = b"\x01"  # Linux's TCP_ESTABLISHED, the first byte of TCP_INFO
SO_MEMINFO, NOTHING = 55, bytes(4)  # the first word of it: bytes that have been received and not been read
UNDER_WAY = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK})


def begin(address: Address, local: str | None, options: Iterable[tuple[int, int, int]]) -> socket.socket:
    """A socket that is connecting; it has succeeded, or failed, when it becomes writable.

    Raises:
        OSError: It failed at once.
    """
    family, target = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            sock.setsockopt(*option)
        if local is not None:
            sock.bind((local, 0))
        sock.setblocking(False)
        check(sock.connect_ex(target))
    except BaseException:
        sock.close()
        raise
    return sock


def check(number: int) -> None:
    """Raise the OSError of that number, unless it means success, or that the connect is under way."""
    if number not in UNDER_WAY:
        raise OSError(number, os.strerror(number))


def is_readable(sock: Any) -> bool:
    """Whether something has come that nobody has asked for: of an idle connection, its end."""
    number = -1 if sock is None else sock.fileno()
    if number < 0:
        return True
    if sys.platform == "linux" and _is_quiet(sock):
        return False
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def _is_quiet(sock: Any) -> bool:
    """Whether a connection is open and has nothing to read, as Linux knows; what it does not know, it does not deny.

    Python polls without the interpreter's lock, and 32 threads that hand it around for that make a sixth fewer
    requests. It keeps the lock while it asks for an option of a socket.
    """
    try:
        return bool(
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == ESTABLISHED
            and sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4) == NOTHING
        )
    except (OSError, AttributeError):  # none of TCP, or TLS in TLS
        return False
