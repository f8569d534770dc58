"""Together: the threads of one race on the virtual clock. Each sleeps beside the others, in the order of what is due.

Laws
    1. The clock goes on when all who take part sleep, to the instant that is due first.
    2. Who takes part and waits for something else holds it up.
    3. Once the race is over nobody sleeps any more, and nobody moves the clock.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from resilient_http.call import Attempt
from resilient_http.ports.lanes import Lanes

if TYPE_CHECKING:
    from resilient_http.testing.clock import VirtualClock

current: ContextVar[Together | None] = ContextVar("resilient_http.testing.together", default=None)


_Sleeper = tuple[float, Callable[[], bool]]


class Together:
    """Those who take part; whoever makes it does. Thread-safe.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._awake = 1
        self._sleepers: list[_Sleeper] = []
        self._over = False
        self._changed = threading.Condition()

    def join(self) -> None:
        """One more takes part."""
        with self._changed:
            self._awake += 1

    def leave(self) -> None:
        """One less does; what it did before is seen by those who wait for it."""
        with self._changed:
            self._awake -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """The race is over."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def sleep_until(self, due: float, done: Callable[[], bool] = lambda: False) -> None:
        """Sleep until then, monotonic seconds, or until `done` says that it is not worth waiting for."""
        with self._changed:
            me = (due, done)
            self._awake -= 1
            self._sleepers.append(me)
            try:
                while not self._is_up(me):
                    if self._is_next(me):
                        self._clock.move_to(due)
                    else:
                        self._changed.notify_all()
                        self._changed.wait()
            finally:
                self._sleepers.remove(me)
                self._awake += 1
                self._changed.notify_all()

    def _is_up(self, sleeper: _Sleeper) -> bool:
        due, done = sleeper
        return self._over or done() or self._clock.now() >= due

    def _is_next(self, sleeper: _Sleeper) -> bool:
        """Whether all sleep, and that one is due first; who need not sleep any more may not have noticed yet."""
        if self._awake or any(map(self._is_up, self._sleepers)):
            return False
        return sleeper[0] == min(due for due, _ in self._sleepers) < math.inf


class VirtualLanes(Lanes):
    """Lanes whose threads take part in a race, until what they did is known."""

    together: Together

    def start(self, lane: int, attempt: Attempt) -> bool:
        """Run an attempt; False when there is no thread for it."""
        self.together.join()
        started = super().start(lane, attempt)
        if not started:
            self.together.leave()
        return started

    def _live(self, lane: int, attempt: Attempt) -> None:
        try:
            super()._live(lane, attempt)
        finally:
            self.together.leave()
