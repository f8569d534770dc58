"""Race: which of two attempts answers a call, when a hedge was sent beside the first.

Laws
    1. The first good one to end wins. Nothing that ends later changes that.
    2. When all that have begun ended badly, the first attempt's outcome stands: it is what the call would have seen.
    3. A hedge joins a race that is not decided, or not at all.
    4. When a race is called off, the hedge's response is nobody's, and so is whatever ends later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

FIRST, HEDGE = 0, 1


class Race:
    """Two lanes. Thread-safe.

    Args:
        good: Whether a response ends the call; an exception never is.

    Attributes:
        joined: Whether the hedge has joined.
        winner: FIRST or HEDGE; None while it is not decided.
    """

    __slots__ = ("_good", "_lock", "_outcomes", "_running", "joined", "winner")

    def __init__(self, good: Callable[[Any], bool]) -> None:
        self._good = good
        self._lock = threading.Lock()
        self._running = {FIRST}
        self._outcomes: dict[int, tuple[Any, BaseException | None]] = {}
        self.joined = False
        self.winner: int | None = None

    def join(self) -> bool:
        """Have the hedge run too. False when it is too late."""
        with self._lock:
            if self.winner is not None:
                return False
            self._running.add(HEDGE)
            self.joined = True
            return True

    def finish(self, lane: int, response: Any, error: BaseException | None) -> bool:
        """A lane has ended. False when the race was decided before: then its response is nobody's."""
        good = error is None and self._good(response)
        with self._lock:
            if self.winner is not None:
                return False
            self._running.discard(lane)
            self._outcomes[lane] = (response, error)
            if good:
                self.winner = lane
            elif not self._running:
                self.winner = FIRST
            return True

    def call_off(self) -> None:
        """Nobody waits for the outcome any more."""
        with self._lock:
            self.winner = FIRST

    def ended(self, lane: int) -> bool:
        """Whether it came to its end before the race was decided."""
        return lane in self._outcomes

    @property
    def outcome(self) -> tuple[Any, BaseException | None]:
        """The winner's response or exception, once there is one."""
        return self._outcomes[FIRST if self.winner is None else self.winner]

    @property
    def spare(self) -> Any:
        """A response that ended before the race was decided and did not win; None when there is none."""
        return next((response for lane, (response, _) in self._outcomes.items() if lane != self.winner), None)
