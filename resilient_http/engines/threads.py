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
            if self._idle:
                self._idle -= 1
                self._queue.append(work)
                self._changed.notify()
                return True
            if self._running >= self._limit:
                return False
            self._running += 1
        try:
            threading.Thread(
                target=self._live, args=(work,), name=f"resilient-http-lane-{next(self._numbers)}", daemon=True
            ).start()
        except RuntimeError:  # no thread to be had
            with self._changed:
                self._running -= 1
            return False
        return True

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._numbers = itertools.count(1)
        self._queue: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._running = 0
        self._idle = 0  # threads that wait, less those that have been given something

    def _live(self, work: Callable[[], object] | None) -> None:
        while work is not None:
            work()
            work = None  # what it holds on to is not kept while this thread waits
            with self._changed:
                self._idle += 1
                if not self._changed.wait_for(lambda: self._queue, IDLE):
                    self._idle -= 1
                    self._running -= 1
                    return
                work = self._queue.popleft()
