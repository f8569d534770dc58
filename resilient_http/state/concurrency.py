"""ConcurrencyLimit: how many attempts of an upstream may be under way at once.

Laws
    1. At most `limit` permits are out. A permit that comes back goes to the caller that has waited longest.
    2. Nobody overtakes the queue, and the queue never holds more than `queue` callers.
    3. It does not wait: a waiting caller hands in `wake`, which is called once, without the lock, when it is granted.
       It answers False when there is nobody left to wake; then the next one is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Ticket:
    """A place in the queue, or a permit when `granted`."""

    __slots__ = ("granted", "wake")

    def __init__(self, wake: Callable[[], object], *, granted: bool) -> None:
        self.wake = wake
        self.granted = granted


class ConcurrencyLimit:
    """The one limiter before the connection pool. Thread-safe.

    Args:
        limit: Most permits out at once. At least 1.
        queue: Most callers waiting for one. 0 or more.
    """

    __slots__ = ("_lock", "_waiting", "in_flight", "limit", "queue")

    def __init__(self, limit: int, queue: int) -> None:
        self.limit = limit
        self.queue = queue
        self.in_flight = 0
        self._waiting: deque[Ticket] = deque()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return len(self._waiting)

    def admit(self) -> bool:
        """Take a permit at once, or return False."""
        with self._lock:
            if self.in_flight >= self.limit or self._waiting:
                return False
            self.in_flight += 1
            return True

    def join_queue(self, wake: Callable[[], object]) -> Ticket | None:
        """Wait for a permit: a ticket (it may be granted already), or None when the queue is full."""
        with self._lock:
            if self.in_flight < self.limit and not self._waiting:
                self.in_flight += 1
                return Ticket(wake, granted=True)
            if len(self._waiting) >= self.queue:
                return None
            ticket = Ticket(wake, granted=False)
            self._waiting.append(ticket)
            return ticket

    def abandon(self, ticket: Ticket) -> bool:
        """Leave the queue. False when the permit came first: then it is the caller's, to use or to give back."""
        with self._lock:
            if ticket.granted:
                return False
            if ticket in self._waiting:  # else it was passed over
                self._waiting.remove(ticket)
            return True

    def release(self) -> None:
        """Give a permit back."""
        while True:
            with self._lock:
                if not self._waiting:
                    self.in_flight -= 1
                    return
                ticket = self._waiting.popleft()
                ticket.granted = True
            if ticket.wake() is not False:
                return
            ticket.granted = False  # so that it gives nothing back when it leaves the queue after all
