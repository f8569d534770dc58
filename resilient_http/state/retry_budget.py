"""RetryBudget: how many repeats an upstream may be sent for the calls that it gets.

Laws
    1. A sent first attempt deposits `ratio`; a repeat withdraws 1 when it is decided, and is refunded if not sent.
    2. `floor` tokens a second drip in by themselves, so that a quiet caller may still repeat.
    3. The bucket holds what one second deposits, at least `LEAST`: a quiet hour saves up nothing.
    4. Deposits are booked together, each as of its time, and before anything else is done or told.

Source: Finagle's RetryBudget (a ratio and a floor), with the bucket bounded by one second instead of a time to live.
"""

from __future__ import annotations

import threading
from collections import deque

from resilient_http.state.giving_way import if_free

LEAST = 3.0
TOGETHER = 16  # deposits that are booked at once


class RetryBudget:
    """One bucket per upstream, for retries and hedges together. Thread-safe.

    Args:
        ratio: Repeats allowed per first attempt. 0 to 1.
        floor: Repeats per second allowed whatever the traffic. 0 or more.
    """

    __slots__ = ("_floor", "_lock", "_noted", "_previous", "_ratio", "_second", "_this", "_tokens", "_updated")

    def __init__(self, ratio: float, floor: float) -> None:
        self._ratio = ratio
        self._floor = floor
        self._lock = threading.Lock()
        self._noted: deque[float] = deque()  # when the deposits were made that are still to be booked
        self._tokens = LEAST
        self._updated: float | None = None
        self._second = 0
        self._this = 0.0  # deposits in the current second, and in the one before it
        self._previous = 0.0

    def adjust(self, ratio: float, floor: float) -> None:
        """Go by other numbers from now on, with the tokens that are there."""
        with self._lock:
            self._book_noted()
            self._ratio, self._floor = ratio, floor

    def deposit(self, now: float) -> None:
        """A first attempt was sent."""
        self._noted.append(now)
        if len(self._noted) >= TOGETHER:
            if_free(self._lock, self._book_noted)

    def withdraw(self, now: float, *, keep: float = 0.0) -> bool:
        """Whether one repeat is allowed now; takes its token when it is.

        Args:
            now: Monotonic seconds.
            keep: Share of what the bucket can hold, 0 to 1, that must be left in it.
        """
        with self._lock:
            self._book_noted()
            self._drip(now)
            if self._tokens < 1 + keep * self._capacity():
                return False
            self._tokens -= 1
            return True

    def refund(self) -> None:
        """A decided repeat was not sent after all."""
        with self._lock:
            self._book_noted()
            self._tokens = min(self._capacity(), self._tokens + 1)

    def tokens(self, now: float) -> float:
        """Repeats that would be allowed at `now`."""
        with self._lock:
            self._book_noted()
            self._drip(now)
            return self._tokens

    def _book_noted(self) -> None:
        noted, ratio = self._noted, self._ratio
        while noted:
            now = noted.popleft()
            if now >= self._second + 1:
                self._drip(now)
            self._this += ratio
            self._tokens += ratio
        # Once is enough: what is too much at any step would be too much now.
        self._tokens = min(self._capacity(), self._tokens)

    def _capacity(self) -> float:
        return max(LEAST, self._this, self._previous)

    def _drip(self, now: float) -> None:
        if self._updated is None:
            self._updated, self._second = now, int(now)
            return
        second = int(now)
        if second > self._second:  # never back: a thread may come late with the time it read
            self._previous = self._this if second == self._second + 1 else 0.0
            self._this, self._second = 0.0, second
        passed = max(0.0, now - self._updated)
        self._updated = max(now, self._updated)
        self._tokens = min(self._capacity(), self._tokens + passed * self._floor)
