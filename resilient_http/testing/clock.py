"""The virtual clock: it stands still, and goes on when somebody sleeps, or says so.

Laws
    1. It never waits, and never goes back.
    2. Who sleeps in sync code moves it on at once; an attempt and its hedge when both sleep, to what is due first.
    3. Of the tasks of an event loop it is the one that is due first that moves it on, and only when no other one has
       come to a wait, or from one, for `ROUNDS` rounds of the loop. A task that waits for something real (a socket, a
       thread) meanwhile is not waited for.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio.lowlevel

from resilient_http.testing.together import current

ROUNDS = 20


@dataclass(slots=True)
class _Sleeper:
    due: float
    order: int


class VirtualClock:
    """Seconds that pass without waiting. Thread-safe; it begins at the real time.

    Attributes:
        started: Monotonic seconds at which it began.
    """

    def __init__(self) -> None:
        self.started = self._now = time.monotonic()
        self._wall = time.time() - self.started
        self._lock = threading.Lock()
        self._order = itertools.count().__next__
        self._sleepers: list[_Sleeper] = []
        self._moves = 0

    @property
    def elapsed(self) -> float:
        """Virtual seconds since it began."""
        return self._now - self.started

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    def wall_now(self) -> float:
        """Wall-clock seconds since the epoch."""
        return self._now + self._wall

    def advance(self, seconds: float) -> None:
        """So many seconds pass.

        Raises:
            ValueError: They are negative, or no finite number.
        """
        if not 0 <= seconds < math.inf:
            message = f"a clock goes on by finite seconds, 0 or more, not {seconds!r}"
            raise ValueError(message)
        self.move_to(self._now + seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep, without waiting for anybody but those who race beside."""
        due, race = self._now + max(0.0, seconds), current.get()
        if race is None:
            self.move_to(due)
        else:
            race.sleep_until(due)

    async def sleep_in_task(self, seconds: float, done: Callable[[], bool] | None = None) -> None:
        """Let other tasks run until it is so much later, or `done` says that it is not worth waiting for."""
        me = _Sleeper(self._now + max(0.0, seconds), self._order())
        self._sleepers.append(me)
        self._moves += 1
        try:
            await anyio.lowlevel.checkpoint()
            while self._now < me.due and not (done is not None and done()):
                if await self._is_quiet() and self._is_first(me):
                    self.move_to(me.due)
        finally:
            self._sleepers.remove(me)
            self._moves += 1

    async def _is_quiet(self) -> bool:
        moves = self._moves
        for _ in range(ROUNDS):
            await anyio.lowlevel.checkpoint()
            if self._moves != moves:
                return False
        return True

    def _is_first(self, me: _Sleeper) -> bool:
        # One that sleeps for ever is woken by something else.
        return me.due < math.inf and min(self._sleepers, key=lambda each: (each.due, each.order)) is me

    def move_to(self, instant: float) -> None:
        """It is then, monotonic seconds, or later."""
        with self._lock:
            self._now = max(self._now, instant)

    def __repr__(self) -> str:
        return f"<VirtualClock {self.elapsed:.3f} s after it began>"
