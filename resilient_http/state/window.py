"""Window: the newest outcomes of an endpoint, bounded in number and in age.

Laws
    1. It never holds more than `size` outcomes, and none older than `span` seconds.
    2. Adding and counting are O(1), amortised. Not thread-safe: its owner has the lock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence


class Window:
    """Counts the newest outcomes.

    Args:
        size: Most outcomes to remember. At least 1.
        span: Seconds after which an outcome is forgotten. Positive.
    """

    __slots__ = ("_failed", "_outcomes", "_size", "_slow", "_span")

    def __init__(self, size: int, span: float) -> None:
        self._size = size
        self._span = span
        self._outcomes: deque[tuple[float, bool, bool]] = deque()
        self._failed = 0
        self._slow = 0

    def add(self, now: float, failed: bool, slow: bool = False) -> None:
        """Remember one outcome at `now`, monotonic seconds."""
        self._outcomes.append((now, failed, slow))
        if failed:
            self._failed += 1
        if slow:
            self._slow += 1
        self._forget(now)

    def add_good(self, instants: Sequence[float]) -> None:
        """Remember outcomes that neither failed nor were slow; at least one, the oldest first."""
        self._outcomes.extend([(now, False, False) for now in instants])
        self._forget(instants[-1])

    def count(self, now: float) -> tuple[int, int, int]:
        """How many outcomes are known, how many of them failed, and how many were slow."""
        self._forget(now)
        return len(self._outcomes), self._failed, self._slow

    def newest(self, *, failed: bool) -> float:
        """When the newest failure, or the newest success, was; minus infinity when none is known. O(size)."""
        return next((at for at, bad, _ in reversed(self._outcomes) if bad == failed), -math.inf)

    def adjust(self, size: int, span: float) -> None:
        """Remember so many from now on, for so long; the newest of those that are known stay."""
        self._size, self._span = size, span
        self._forget(-math.inf)

    def clear(self) -> None:
        """Forget everything."""
        self._outcomes.clear()
        self._failed = self._slow = 0

    def _forget(self, now: float) -> None:
        outcomes, oldest = self._outcomes, now - self._span
        while outcomes and (len(outcomes) > self._size or outcomes[0][0] < oldest):
            _, failed, slow = outcomes.popleft()
            if failed:
                self._failed -= 1
            if slow:
                self._slow -= 1
