"""Resolver: names to addresses, in a bounded set of daemon threads of our own.

`getaddrinfo` cannot be given a time limit, nor be cancelled. A thread that is lost in it is left behind: it holds up
neither its caller, nor other names, nor the end of the process (as one of asyncio's default executor would). Callers
that ask for the same name at the same time share one lookup, so a name that hangs costs one thread.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections import deque
from collections.abc import Callable

THREADS = 16  # lookups under way at once; more wait their turn

Address = tuple[int, tuple[str, int] | tuple[str, int, int, int]]
"""Family, and what a socket of that family connects to."""


class Lookup:
    """One name on its way to its addresses. Thread-safe.

    Attributes:
        done: Whether it has ended.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.done = False
        self._addresses: list[Address] = []
        self._error: OSError | None = None
        self._waiting: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def when_done(self, wake: Callable[[], object]) -> None:
        """Have `wake` called when it ends, from any thread; at once when it has."""
        with self._lock:
            if not self.done:
                self._waiting.append(wake)
                return
        wake()

    def addresses(self) -> list[Address]:
        """What was found; the families in turn, the system's first choice first. Source: RFC 8305, section 4.

        Raises:
            OSError: The name was not found.
        """
        if self._error is not None:
            raise OSError(f"{self.host}: {self._error}") from self._error
        return self._addresses

    def run(self) -> None:
        """Look it up; blocks for as long as the system takes."""
        try:
            self._addresses = look_up(self.host, self.port)
        except OSError as exc:
            self._error = exc
        except (UnicodeError, ValueError) as exc:  # the idna codec: a label that is empty or too long
            self._error = OSError(str(exc))
        with self._lock:
            self.done = True
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()


class Resolver:
    """Runs lookups. Thread-safe; a thread lives only while there is something to look up.

    Args:
        threads: Most lookups under way at once.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._running = 0
        self._numbers = itertools.count(1)
        self._known: dict[tuple[str, int], Lookup] = {}  # queued or under way
        self._queue: deque[Lookup] = deque()
        self._lock = threading.Lock()

    def begin(self, host: str, port: int) -> Lookup:
        """A lookup of that name: a new one, or the one that is under way."""
        with self._lock:
            lookup = self._known.get((host, port))
            if lookup is not None:
                return lookup
            lookup = self._known[host, port] = Lookup(host, port)
            self._queue.append(lookup)
            if self._running == self._threads:
                return lookup
            self._running += 1
        try:
            threading.Thread(
                target=self._work, name=f"resilient-http-resolver-{next(self._numbers)}", daemon=True
            ).start()
        except RuntimeError:  # no thread to be had
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._queue.remove(lookup)
                    del self._known[host, port]
                    raise
        return lookup

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._running -= 1
                    return
                lookup = self._queue.popleft()
            lookup.run()
            with self._lock:
                del self._known[lookup.host, lookup.port]


def look_up(host: str, port: int, flags: int = 0) -> list[Address]:
    """The addresses of a name. Blocks."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    by_family: dict[int, list[Address]] = {}
    for family, _, _, _, address in found:
        if isinstance(address[0], str):  # else the interpreter was built without that family
            by_family.setdefault(family, []).append((family, address))
    turns = itertools.zip_longest(*by_family.values())
    return list(dict.fromkeys(address for turn in turns for address in turn if address is not None))


def literal(host: str, port: int) -> list[Address]:
    """The address that `host` is itself, or nothing when it is a name. Never blocks."""
    if not (host[-1:].isdigit() or ":" in host):
        return []
    try:
        return look_up(host, port, socket.AI_NUMERICHOST)
    except OSError:
        return []


_of_this_process = [Resolver()]


def resolver() -> Resolver:
    """The resolver of this process."""
    return _of_this_process[0]


def _begin_anew() -> None:
    # In a forked child there are no threads, and the locks may have been held.
    _of_this_process[0] = Resolver()


os.register_at_fork(after_in_child=_begin_anew)
