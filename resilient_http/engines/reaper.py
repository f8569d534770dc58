"""Reaper: ends streamed responses that nobody will end: those that were collected, and those whose deadline has passed.

Such a response holds a permit and a connection. Its body tells of its own collection; what nobody reads at its deadline
is found by one daemon thread, which sleeps until the earliest of them. What is read at its deadline ends by itself: the
read is clamped.

A collection may begin anywhere, under any lock. So what runs in it does no more than put into a SimpleQueue, which is
made for that; the thread does the work, or has the event loop do it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from resilient_http.state.outcome import Fault

if TYPE_CHECKING:
    from resilient_http.call import Attempt

logger = logging.getLogger("resilient_http.engines")

GRACE = 0.1  # seconds after its deadline that who is just reading has, to end it himself
LONGEST = 1e6  # seconds that a thread can be told to wait

COLLECTED = "the response was collected without having been closed"
OVERDUE = "the response was neither read nor closed at its deadline"


class OpenStream:
    """What an open streamed response holds; never the response itself.

    Args:
        attempt: Its attempt.
        free: Gives its connection back, or closes it.
        waker: Makes of a function one that has it called where `free` must run, the event loop, and answers False when
            that is gone; None for a `free` that may run in any thread.
        told: Told why it was ended.
    """

    __slots__ = ("_free", "_reaper", "_soon", "_told", "_why", "attempt", "expires")

    def __init__(
        self,
        attempt: Attempt,
        free: Callable[[], object],
        waker: Callable[[Callable[[], object]], Callable[[], bool]] | None,
        told: Callable[[Attempt, str], object],
    ) -> None:
        self.attempt = attempt
        self.expires = attempt.expires + GRACE
        self._free = free
        self._soon = None if waker is None else waker(self._reap)
        self._told = told
        self._why = ""
        self._reaper = reaper()
        self._reaper.watch(self)
        attempt.at_end(self._ended)

    def collected(self) -> None:
        """Its response was collected. May be called from anywhere, also from within a collection."""
        if not self.attempt.ended:
            self._reaper.take(self)

    def reap(self, why: str) -> None:
        """End it, now or as soon as its event loop comes to it. Not from within a collection."""
        self._why = why
        if self._soon is None or not self._soon():
            self._reap()

    def _reap(self) -> None:
        attempt = self.attempt
        if attempt.ended:
            return
        attempt.fault = Fault.CANCELLED if self._why is COLLECTED else Fault.TIMEOUT
        # A failure is one of a connection that is thrown away, or of a user's transport.
        with contextlib.suppress(Exception):
            self._free()  # before the permit goes back: who gets it finds the connection free
        attempt.entry.decide("return", self._why)
        attempt.end(attempt.call.port.now())
        self._told(attempt, self._why)

    def _ended(self, attempt: Attempt, now: float) -> None:
        self._reaper.forget(self)


class Reaper:
    """Looks after open streamed responses. Thread-safe; its thread begins with the first of them, and stays."""

    def __init__(self) -> None:
        self._open: dict[OpenStream, None] = {}
        self._taken: SimpleQueue[OpenStream | None] = SimpleQueue()  # None wakes the thread, no more
        self._wakes_at = math.inf  # while it does not sleep too: what comes then wakes it again
        self._running = False
        self._lock = threading.Lock()

    def watch(self, stream: OpenStream) -> None:
        """End this one at its deadline, unless somebody else does before."""
        self._open[stream] = None
        if not self._running:
            self._start()
        elif stream.expires < self._wakes_at:
            self._taken.put(None)

    def forget(self, stream: OpenStream) -> None:
        """It has been ended."""
        self._open.pop(stream, None)

    def take(self, stream: OpenStream) -> None:
        """End this one. May be called from anywhere."""
        self._taken.put(stream)

    def _start(self) -> None:
        with self._lock:
            if self._running:
                return
            try:
                threading.Thread(target=self._work, name="resilient-http-reaper", daemon=True).start()
            except RuntimeError:
                return  # no thread to be had; the next stream tries again
            self._running = True

    def _work(self) -> None:
        while True:
            try:
                self._reap_overdue(time.monotonic())
                self._reap_collected()
            except Exception:
                logger.exception("an open stream could not be ended")

    def _reap_overdue(self, now: float) -> None:
        # A copy is made in one step, whoever changes it meanwhile.
        for stream in [stream for stream in self._open.copy() if stream.expires <= now]:
            self.forget(stream)
            stream.reap(OVERDUE)

    def _reap_collected(self) -> None:
        """Sleep until there is something to do, and do it."""
        self._wakes_at = until = min((stream.expires for stream in self._open.copy()), default=math.inf)
        try:
            taken = self._taken.get(timeout=max(0.0, min(LONGEST, until - time.monotonic())))
        except Empty:
            return
        finally:
            self._wakes_at = math.inf
        if taken is not None:
            taken.reap(COLLECTED)


_of_this_process = [Reaper()]


def reaper() -> Reaper:
    """The reaper of this process."""
    return _of_this_process[0]


def _begin_anew() -> None:
    # In a forked child there are no threads; what the parent streams is the parent's to end.
    _of_this_process[0] = Reaper()


os.register_at_fork(after_in_child=_begin_anew)
