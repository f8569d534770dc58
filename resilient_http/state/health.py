"""Health: what checks have said of one endpoint, and whose turn it is to be checked.

Laws of Health
    1. An endpoint is healthy until checks have said otherwise: one that is new is used at once.
    2. So many bad checks in a row make it unhealthy, so many good ones in a row healthy again. A check of the other
       kind begins the count anew.
    3. It says nothing about circuits, and circuits nothing about it.

Laws of Rounds
    1. The first check of an endpoint comes within a second, the second at some instant of the interval that follows, so
       that the checks of many are spread over it; the next ones come every interval, varied by a fifth.
    2. An endpoint has one check under way at most, and all together `MOST`. One that is due meanwhile waits, the one
       that is due for longest goes first.
    3. Who is gone is not checked any more, and a check that ends after it has gone is forgotten.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)

SOON = 1.0  # seconds until the first check of what is new, at most
JITTER = 0.2
MOST = 32  # checks under way at once: so many endpoints may hang before the others wait for them


class Health:
    """What the checks of one endpoint have said. Written by one check at a time.

    Args:
        healthy_after: Good checks in a row that make it healthy again.
        unhealthy_after: Bad ones in a row that make it unhealthy.

    Attributes:
        healthy: Whether it is.
        in_a_row: How many of the newest checks are of the kind of the newest.
        why: Why the newest check was bad, or "".
        checked: When that was, in monotonic seconds, or None before the first.
    """

    __slots__ = ("_good", "_healthy_after", "_unhealthy_after", "checked", "healthy", "in_a_row", "why")

    def __init__(self, healthy_after: int = 2, unhealthy_after: int = 3) -> None:
        self._healthy_after = healthy_after
        self._unhealthy_after = unhealthy_after
        self._good = True
        self.healthy = True
        self.in_a_row = 0
        self.why = ""
        self.checked: float | None = None

    def adjust(self, healthy_after: int, unhealthy_after: int) -> None:
        """Go by other numbers from now on, with what is known."""
        self._healthy_after, self._unhealthy_after = healthy_after, unhealthy_after

    def record(self, why: str, now: float) -> bool:
        """Note a check. Whether that has made it healthy, or unhealthy.

        Args:
            why: Why it was bad, or "" for a good one.
            now: Monotonic seconds.
        """
        good = not why
        self.in_a_row = self.in_a_row + 1 if good is self._good else 1
        self._good, self.why, self.checked = good, why, now
        if good is self.healthy or self.in_a_row < (self._healthy_after if good else self._unhealthy_after):
            return False
        self.healthy = good
        return True

    def status(self, now: float) -> dict[str, Any]:
        """JSON-able: the last check."""
        return {
            "healthy": self.healthy,
            "in_a_row": self.in_a_row,
            "why": self.why or None,
            "ago": None if self.checked is None else round(now - self.checked, 3),
        }


@dataclass(slots=True)
class _Turn:
    interval: float
    due: float
    first: bool = True
    under_way: bool = False


class Rounds(Generic[Member]):
    """Whose turn it is. Thread-safe.

    Args:
        rng: Source of jitter.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._turns: dict[Member, _Turn] = {}
        self._under_way = 0
        self._lock = threading.Lock()

    def keep(self, intervals: Mapping[Member, float], now: float) -> None:
        """These are to be checked from now on, each every so many seconds."""
        with self._lock:
            for member in self._turns.keys() - intervals.keys():
                self._under_way -= self._turns.pop(member).under_way
            for member, interval in intervals.items():
                turn = self._turns.get(member)
                if turn is None:
                    self._turns[member] = _Turn(interval, now + self._rng.random() * min(SOON, interval))
                else:
                    turn.interval, turn.due = interval, min(turn.due, now + interval)

    def take(self, now: float) -> tuple[list[Member], float]:
        """Those whose check begins now, each to be told of by done(); and how many seconds to wait for the next.

        The wait is infinity when a check has to end before.
        """
        with self._lock:
            waiting = sorted(
                ((turn.due, index, member) for index, (member, turn) in enumerate(self._turns.items())
                 if not turn.under_way and turn.due <= now),
            )  # fmt: skip
            taken = [member for _, _, member in waiting[: MOST - self._under_way]]
            for member in taken:
                turn = self._turns[member]
                turn.under_way = True
                turn.due = now + self._next(turn)
            self._under_way += len(taken)
            if self._under_way >= MOST:
                return taken, math.inf
            return taken, min((turn.due - now for turn in self._turns.values() if not turn.under_way), default=math.inf)

    def done(self, member: Member) -> bool:
        """Its check has ended. Whether it still counts."""
        with self._lock:
            turn = self._turns.get(member)
            if turn is None or not turn.under_way:
                return False
            turn.under_way = False
            self._under_way -= 1
            return True

    def _next(self, turn: _Turn) -> float:
        if turn.first:
            turn.first = False
            return turn.interval * self._rng.random()
        return turn.interval * self._rng.uniform(1 - JITTER, 1 + JITTER)
