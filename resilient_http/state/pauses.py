"""Pauses: routes that an upstream has asked to leave alone for a while.

Laws
    1. A route is known by a key that its caller makes; here it says nothing.
    2. The longest pause that was asked for holds, and ends by itself.
    3. At most `KEPT` routes are known; the one whose pause was asked for first goes.
"""

from __future__ import annotations

import math
import threading

KEPT = 1000


class Pauses:
    """The paused routes of one upstream. Thread-safe.

    Args:
        salt: Secret of this process, with which keys are made, so that nobody can tell from one what it stands for.
    """

    __slots__ = ("_ends", "_lock", "_until", "salt")

    def __init__(self, salt: bytes) -> None:
        self.salt = salt
        self._until: dict[bytes, float] = {}
        self._ends = -math.inf
        self._lock = threading.Lock()

    def any(self, now: float) -> bool:
        """Whether any route is paused."""
        return now < self._ends

    def pause(self, route: bytes, until: float) -> None:
        """Leave a route alone until then, monotonic seconds."""
        with self._lock:
            self._until[route] = max(until, self._until.pop(route, until))
            self._ends = max(self._ends, until)
            if len(self._until) > KEPT:
                del self._until[next(iter(self._until))]

    def left(self, route: bytes, now: float) -> float:
        """Seconds that a route is still to be left alone; 0.0 for not at all."""
        until = self._until.get(route)
        if until is None:
            return 0.0
        if until <= now:
            with self._lock:
                if self._until.get(route) == until:
                    del self._until[route]
            return 0.0
        return until - now

    def paused(self, now: float) -> int:
        """How many routes are paused."""
        with self._lock:
            return sum(until > now for until in self._until.values())
