"""Connections: which of an endpoint's connections takes the next request, and which are closed.

Laws
    1. A request takes the connection that was used last, so that the others fall idle and expire; it takes a new one
       when none is free. How many there are is limited by the permits of those who ask, not here.
    2. A connection of HTTP/1.1 serves one request at a time. One that may turn out to be HTTP/2 is shared.
    3. What comes back busy was cut, and is closed; so is what is older than `max_age` (less up to a tenth, so that a
       burst of new ones does not end in another), has expired, or is one more than may be kept.
    4. No step looks at all of them, but one a second at those that are idle.

Nothing is closed here: each step returns what its caller closes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

SWEEP = 1.0  # seconds between two looks at all idle connections


class Connections:
    """The connections of one endpoint, as httpcore makes them. Thread-safe.

    Args:
        keep: Most idle connections that are kept.
        max_age: Seconds after which a connection takes no further request. Positive; inf for no limit.
        shared: Whether they may speak HTTP/2, and then serve several requests at once.
    """

    def __init__(self, *, keep: int, max_age: float, shared: bool = False) -> None:
        self._keep = keep
        self._max_age = max_age
        self.shared = shared
        self._ends: dict[Any, float] = {}  # every open one → when it is too old
        self._users: dict[Any, int] = {}  # every one that serves a request → how many
        self._free: dict[Any, None] = {}  # those that may take a request; used last, last
        self._sweep_at = 0.0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ends)

    def take(self, origin: Any, now: float) -> tuple[Any | None, Sequence[Any]]:
        """A connection for a request to `origin`, or None when it needs a new one; and what is to be closed."""
        with self._lock:
            closing: list[Any] = []
            if now >= self._sweep_at:
                self._sweep(now, closing)
            while self._free:
                connection = next(reversed(self._free))
                if self._usable(connection, now) and connection.can_handle_request(origin):
                    if not self.shared:
                        del self._free[connection]
                    self._users[connection] = self._users.get(connection, 0) + 1
                    return connection, closing
                self._withdraw(connection, closing)
            return None, closing

    def add(self, connection: Any, now: float, jitter: float) -> None:
        """A new connection, for the request that found none.

        Args:
            connection: It.
            now: Monotonic seconds.
            jitter: 0 to 1, at random: how much of a tenth of `max_age` it lives less.
        """
        with self._lock:
            self._ends[connection] = now + self._max_age * (1.0 - 0.1 * jitter)
            self._users[connection] = 1
            if self.shared:
                self._free[connection] = None

    def give_back(self, connection: Any, now: float, *, cut: bool = False) -> Sequence[Any]:
        """A request has ended, one way or another; returns what is to be closed.

        Args:
            connection: It had this one.
            now: Monotonic seconds.
            cut: Whether it ended before its response did. On a shared connection the others go on, and nobody joins
                them: what was cut holds one of its streams for good.
        """
        with self._lock:
            users = self._users.get(connection, 0) - 1
            if users < 0:
                return (connection,)  # all were taken out meanwhile; it is for who has used it to close
            if cut and self.shared:
                self._ends[connection] = -math.inf
            if users:
                self._users[connection] = users
                return ()
            del self._users[connection]
            kept = self._keep and connection.is_idle() and not connection.is_closed() and now < self._ends[connection]
            if not kept:
                return self._forget(connection)
            self._free.pop(connection, None)
            self._free[connection] = None
            return self._surplus()

    def keep_nothing(self) -> Sequence[Any]:
        """From now on keep none; returns the idle ones, to be closed. Those in use are when they come back."""
        with self._lock:
            self._keep = 0
            closing: list[Any] = []
            for connection in list(self._free):
                self._withdraw(connection, closing)
            return closing

    def take_all(self) -> Sequence[Any]:
        """Forget all of them; returns them, to be closed. Those in use are given back, and returned, once more."""
        with self._lock:
            everything = list(self._ends)
            self._ends.clear()
            self._users.clear()
            self._free.clear()
            return everything

    def _usable(self, connection: Any, now: float) -> bool:
        return connection.is_available() and now < self._ends[connection] and not connection.has_expired()

    def _withdraw(self, connection: Any, closing: list[Any]) -> None:
        """It takes no further request; it is closed now, or when the last that it serves has ended."""
        del self._free[connection]
        if connection not in self._users:
            del self._ends[connection]
            closing.append(connection)

    def _forget(self, connection: Any) -> Sequence[Any]:
        self._free.pop(connection, None)
        del self._ends[connection]
        return (connection,)

    def _surplus(self) -> Sequence[Any]:
        """The one that has been idle for longest, where there is one more than may be kept."""
        busy = sum(connection in self._users for connection in self._free) if self.shared else 0
        if len(self._free) - busy <= self._keep:
            return ()
        return self._forget(next(connection for connection in self._free if connection not in self._users))

    def _sweep(self, now: float, closing: list[Any]) -> None:
        self._sweep_at = now + SWEEP
        for connection in [connection for connection in self._free if connection not in self._users]:
            if not self._usable(connection, now):
                self._withdraw(connection, closing)
