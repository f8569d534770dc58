"""Giving way: how many threads share a lock that is held for a microsecond.

Who blocks in a lock is handed it by the operating system, and then waits for the interpreter's own lock with this one
in its hands; meanwhile all others block in it too, one after the other, and 32 threads do half of what they could. So
nobody blocks in a lock that every call takes: who finds it taken lets others run, and looks again; or, where what is to
be done can wait, leaves it to whoever comes next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any


def give_way(lock: threading.Lock) -> None:
    """Let other threads run until the lock looks free. Before `with lock:`, which then hardly ever blocks."""
    while lock.locked():
        time.sleep(0)  # no wait: it gives up the interpreter's lock


def if_free(lock: Any, work: Callable[[], object]) -> None:
    """Do it under the lock (an RLock, too), unless another thread has that."""
    if lock.acquire(blocking=False):
        try:
            work()
        finally:
            lock.release()
