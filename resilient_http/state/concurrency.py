"""ConcurrencyLimit: how many attempts of an upstream may be under way at once.

Laws
    1. At most `limit` permits are out. Of a class, a permit that comes back goes to whoever has waited longest.
    2. Nobody overtakes the queue of his own class, and no queue ever holds more than `queue` callers.
    3. Critical callers go before default ones. The last `reserve` permits are theirs alone, but after `TURNS` of them
       in a row that passed a waiting default one, that has the next permit, whichever it is: or none would ever be his
       while critical callers keep the others busy. More than all but `reserve` are never with others at once.
    4. Sheddable callers get a permit while there is no pressure (nobody waits, and fewer than `shed_at` of the limit
       are out), and never wait.
    5. The limit may change. Permits that are out above a lower one are not taken away; they are not given out again.
    6. It does not wait: a waiting caller hands in `wake`, which is called once, without the lock, when it is granted.
       It answers False when there is nobody left to wake; then the next one is.

Source of the classes: B. Beyer et al., Site Reliability Engineering (2016), chapter 21, "Criticality".
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from resilient_http.state.giving_way import give_way

SHEDDABLE, DEFAULT, CRITICAL = "sheddable", "default", "critical"
PRIORITIES = (SHEDDABLE, DEFAULT, CRITICAL)
TURNS = 4  # critical callers in a row, while default ones wait


class Ticket:
    """A place in the queue, or a permit when `granted`."""

    __slots__ = ("granted", "priority", "wake")

    def __init__(self, wake: Callable[[], object], priority: str, *, granted: bool) -> None:
        self.wake = wake
        self.priority = priority
        self.granted = granted


class ConcurrencyLimit:
    """The one limiter before the connection pool. Thread-safe.

    Args:
        limit: Most permits out at once. At least 1.
        queue: Most callers of each class that wait for one. 0 or more.
        shed_at: Share of the limit from which on sheddable callers get none. 0 to 1; 0 still lets one in.
        reserve: Share of the limit that only critical callers get. 0 to below 1.
    """

    __slots__ = (
        "_ceilings", "_critical", "_default", "_lock", "_others", "_reserve", "_shed_at", "_turns", "_waits",
        "in_flight", "limit", "queue",
    )  # fmt: skip

    def __init__(self, limit: int, queue: int, *, shed_at: float = 0.75, reserve: float = 0.0) -> None:
        self.queue = queue
        self.in_flight = 0
        self._shed_at = shed_at
        self._reserve = reserve
        self._critical: deque[Ticket] = deque()
        self._default: deque[Ticket] = deque()
        self._others = 0  # permits that are not with critical callers
        self._waits = 0
        self._turns = 0  # critical callers in a row that passed a default one
        self._lock = threading.Lock()
        self._set(limit)

    @property
    def waiting(self) -> int:
        """Callers in the queues."""
        return self._waits

    def admit(self, priority: str = DEFAULT) -> bool:
        """Take a permit at once, or return False."""
        if self._lock.locked():
            give_way(self._lock)
        with self._lock:
            if self.in_flight >= self._ceilings[priority] or (self._waits and not self._may_pass(priority)):
                return False
            self._take(priority)
            return True

    def overrun(self, priority: str = DEFAULT) -> None:
        """Take a permit although there is none, as one who only observes does. Give it back with release()."""
        with self._lock:
            self._take(priority)

    def join_queue(self, wake: Callable[[], object], priority: str = DEFAULT) -> Ticket | None:
        """Wait for a permit: a ticket (it may be granted already), or None when the queue is full."""
        with self._lock:
            if self.in_flight < self._ceilings[priority] and (not self._waits or self._may_pass(priority)):
                self._take(priority)
                return Ticket(wake, priority, granted=True)
            queue = self._critical if priority == CRITICAL else self._default
            if priority == SHEDDABLE or len(queue) >= self.queue:
                return None
            ticket = Ticket(wake, priority, granted=False)
            queue.append(ticket)
            self._waits += 1
            return ticket

    def abandon(self, ticket: Ticket) -> bool:
        """Leave the queue. False when the permit came first: then it is the caller's, to use or to give back."""
        with self._lock:
            if ticket.granted:
                return False
            for queue in (self._critical, self._default):
                if ticket in queue:  # else it was passed over
                    queue.remove(ticket)
                    self._waits -= 1
            return True

    def release(self, priority: str = DEFAULT) -> None:
        """Give a permit back, with the priority that it was taken with."""
        if self._lock.locked():
            give_way(self._lock)
        with self._lock:
            self._put_back(priority)
            if not self._waits:
                return
            granted = self._grant()
        self._wake(granted)

    def resize(self, limit: int) -> None:
        """Change the limit. At least 1."""
        with self._lock:
            self._set(limit)
            granted = self._grant()
        self._wake(granted)

    def adjust(self, limit: int, queue: int, *, shed_at: float, reserve: float) -> None:
        """Go by other numbers from now on. Permits that are out stay out, and who waits goes on waiting."""
        with self._lock:
            self.queue, self._shed_at, self._reserve = queue, shed_at, reserve
        self.resize(limit)

    def _set(self, limit: int) -> None:
        self.limit = limit
        default = max(1, limit - int(limit * self._reserve))
        self._ceilings = {
            SHEDDABLE: max(1, min(default, int(limit * self._shed_at))),
            DEFAULT: default,
            CRITICAL: limit,
        }

    def _take(self, priority: str) -> None:
        self.in_flight += 1
        if priority != CRITICAL:
            self._others += 1
        else:
            self._turns = self._turns + 1 if self._default else 0

    def _put_back(self, priority: str) -> None:
        self.in_flight -= 1
        if priority != CRITICAL:
            self._others -= 1

    def _may_pass(self, priority: str) -> bool:
        """Whether somebody of this class overtakes nobody of his own who waits."""
        return priority == CRITICAL and not self._critical

    def _grant(self) -> list[Ticket]:
        granted = []
        while self._waits:
            ticket = self._next()
            if ticket is None:
                break
            self._take(ticket.priority)
            self._waits -= 1
            ticket.granted = True
            granted.append(ticket)
        return granted

    def _next(self) -> Ticket | None:
        """Who is to have the next permit, if there is one for him."""
        due = self._turns >= TURNS
        fits = self._others < self._ceilings[DEFAULT] and self.in_flight < (
            self.limit if due else self._ceilings[DEFAULT]
        )
        default_may = bool(self._default) and fits
        if self._critical and not (default_may and due):
            return self._critical.popleft() if self.in_flight < self.limit else None
        if not default_may:
            return None
        self._turns = 0
        return self._default.popleft()

    def _wake(self, granted: list[Ticket]) -> None:
        while granted:
            ticket = granted.pop(0)
            if ticket.wake() is not False:
                continue
            with self._lock:
                ticket.granted = False  # so that it gives nothing back when it leaves the queue after all
                self._put_back(ticket.priority)
                granted += self._grant()
