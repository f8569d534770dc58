"""Beside: work with a store outside this process, which no call may wait for long, in daemon threads of our own.

A store may hang. Who asks it waits for a short time; who tells it something does not wait at all. What is told is done
in order, by one thread, so that an answer is not forgotten before it is kept; what is too much is dropped.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from resilient_http.engines.threads import Threads

ASKING = 8  # questions under way at once; more get no answer
QUEUE = 1000  # things to tell that wait; more are dropped


class Question:
    """A function whose result somebody waits for, but not for long.

    Attributes:
        answer: What it gave, or None as long as it has not.
    """

    __slots__ = ("_ask", "_done", "answer")

    def __init__(self, ask: Callable[[], Any], done: Callable[[], object]) -> None:
        self._ask = ask
        self._done = done
        self.answer: Any = None

    def run(self) -> None:
        """Ask. Who made it sees to exceptions."""
        try:
            self.answer = self._ask()
        finally:
            self._done()


class Beside:
    """Asks and tells. Thread-safe."""

    def __init__(self) -> None:
        self._asking = Threads(ASKING)
        self._telling = Threads(1)
        self._queue: deque[Callable[[], object]] = deque()
        self._busy = False
        self._lock = threading.Lock()

    def ask(self, question: Question) -> bool:
        """Have it asked now; False when too many are under way."""
        return self._asking.start(question.run)

    def tell(self, function: Callable[[], object]) -> None:
        """Have it called soon. It must not raise."""
        with self._lock:
            if len(self._queue) >= QUEUE:
                return
            self._queue.append(function)
            if self._busy:
                return
            self._busy = True
        if not self._telling.start(self._tell_all):
            with self._lock:
                self._busy = False

    def _tell_all(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._busy = False
                    return
                function = self._queue.popleft()
            function()


_known: WeakKeyDictionary[Any, Beside] = WeakKeyDictionary()
_of_all_others: list[Beside] = [Beside()]


def beside(store: Any) -> Beside:
    """That of a store: one that hangs holds up no other."""
    try:
        return _known.get(store) or _known.setdefault(store, Beside())
    except TypeError:  # nothing can refer to it weakly
        return _of_all_others[0]


def _begin_anew() -> None:
    # In a forked child there are no threads, and the locks may have been held.
    _known.clear()
    _of_all_others[0] = Beside()


os.register_at_fork(after_in_child=_begin_anew)
