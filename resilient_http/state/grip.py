"""Grip: what an attempt waits on at this moment, so that another thread can cut it there.

Laws
    1. What is cut is what the attempt waits on, never what it waited on before: that may be somebody else's by now.
    2. What was cut is used no more: who let go of it is told.
    3. Once cut, an attempt gets hold of nothing any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Grip:
    """An attempt's. Thread-safe.

    Args:
        sever: Makes a wait on what it is given end. Called under the lock, so that law 1 holds: it must not block.
    """

    __slots__ = ("_cut", "_held", "_lock", "_sever")

    def __init__(self, sever: Callable[[Any], object]) -> None:
        self._sever = sever
        self._lock = threading.Lock()
        self._held: Any = None
        self._cut = False

    def take(self, what: Any) -> bool:
        """A wait on it begins. False when the attempt has been cut before: then it must not begin."""
        with self._lock:
            if not self._cut:
                self._held = what
            return not self._cut

    def release(self) -> bool:
        """The wait has ended. False when the attempt has been cut meanwhile, however the wait ended."""
        with self._lock:
            self._held = None
            return not self._cut

    def cut(self) -> None:
        """Make the wait end, and let none begin. From any thread; a second time changes nothing."""
        with self._lock:
            held, self._held = self._held, None
            self._cut = True
            if held is not None:
                self._sever(held)
