"""Dial: sockets on their way to a peer; what sync and async connects do alike."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterable
from typing import Any

from resilient_http.engines.resolver import Address

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
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
