"""Threads: a bounded set of daemon threads that run what may have to be left behind."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable

IDLE = 5.0  # seconds that a thread waits for more to do


class Threads:
    """Runs functions. Thread-safe; none of its threads holds up the end of the process.

    Args:
        limit: Most threads at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begin()

    def start(self, work: Callable[[], object]) -> bool:
        """Have `work` run, or return False when all threads are busy. It must not raise."""
        if self._pid != os.getpid():
            self._begin()  # a forked child has none of its parent's threads
        with self._changed:
            spawn = self._running - self._busy <= len(self._queue)  # no thread is waiting that is not meant for another
            if spawn and self._running >= self._limit:
                return False
            self._queue.append(work)
            self._running += spawn
            self._changed.notify()
        return not spawn or self._spawn(work)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._numbers = itertools.count(1)
        self._queue: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._running = 0
        self._busy = 0

    def _spawn(self, work: Callable[[], object]) -> bool:
        try:
            threading.Thread(target=self._live, name=f"resilient-http-lane-{next(self._numbers)}", daemon=True).start()
        except RuntimeError:  # no thread to be had
            with self._changed:
                self._running -= 1
                taken = work not in self._queue
                if not taken:
                    self._queue.remove(work)
            return taken
        return True

    def _live(self) -> None:
        while self._do_next():
            with self._changed:
                self._busy -= 1

    def _do_next(self) -> bool:
        # A frame of its own: what the work holds on to is not kept while the thread waits for more.
        with self._changed:
            if not self._changed.wait_for(lambda: self._queue, IDLE):
                self._running -= 1
                return False
            work = self._queue.popleft()
            self._busy += 1
        work()
        return True
