"""Alarms: what is to happen in a while unless it is taken back before, as nearly all of it is.

Setting one and taking it back costs a dictionary's entry each. One daemon thread, begun by the first of them, sleeps
until the earliest; it is woken only for one that is earlier still. Whoever takes an alarm out of the dictionary, that
thread or who has set it, owns it: it rings, or was taken back, never both.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from queue import Empty, SimpleQueue
from typing import Protocol

logger = logging.getLogger("resilient_http.engines")

TICK = 0.001  # seconds between two looks at least: of many calls, one after the other is due
LONGEST = 1e6  # seconds that a thread can be told to wait


class Alarm(Protocol):
    """What may be set. Both are called in the thread of all alarms, so they must neither block nor raise."""

    def prepare(self) -> None:
        """It is due, and may still be taken back: make what ringing needs."""

    def ring(self) -> None:
        """It cannot be taken back any more."""


class Alarms:
    """Rings alarms. Thread-safe."""

    def __init__(self) -> None:
        self._armed: dict[Alarm, float] = {}
        self._woken: SimpleQueue[None] = SimpleQueue()
        self._wakes_at = math.inf  # while it does not sleep too: what comes then wakes it again
        self._running = False
        self._lock = threading.Lock()

    def arm(self, alarm: Alarm, at: float) -> None:
        """Have it ring at that time, monotonic seconds, or a little later."""
        self._armed[alarm] = at
        if not self._running:
            self._start()
        elif at < self._wakes_at:
            self._wakes_at = at  # so that those behind it do not wake it once more
            self._woken.put(None)

    def disarm(self, alarm: Alarm) -> bool:
        """Take it back. False when it rings, or has rung; then it has been prepared."""
        return self._armed.pop(alarm, None) is not None

    def _start(self) -> None:
        with self._lock:
            if self._running:
                return
            try:
                threading.Thread(target=self._work, name="resilient-http-alarms", daemon=True).start()
            except RuntimeError:
                return  # no thread to be had; the next alarm tries again
            self._running = True

    def _work(self) -> None:
        while True:
            try:
                self._ring_due(time.monotonic())
                self._sleep()
            except Exception:
                logger.exception("an alarm could not ring")

    def _ring_due(self, now: float) -> None:
        # A copy is made in one step, whoever changes it meanwhile.
        for alarm in [alarm for alarm, at in self._armed.copy().items() if at <= now]:
            alarm.prepare()
            if self.disarm(alarm):
                alarm.ring()

    def _sleep(self) -> None:
        """Until the earliest, or until an earlier one is set."""
        self._wakes_at = until = min(self._armed.copy().values(), default=math.inf)
        try:
            self._woken.get(timeout=min(LONGEST, max(TICK, until - time.monotonic())))
        except Empty:
            return
        finally:
            self._wakes_at = math.inf


_of_this_process = [Alarms()]


def alarms() -> Alarms:
    """The alarms of this process."""
    return _of_this_process[0]


def _begin_anew() -> None:
    # In a forked child there are no threads; what the parent has set is the parent's to hear.
    _of_this_process[0] = Alarms()


os.register_at_fork(after_in_child=_begin_anew)
