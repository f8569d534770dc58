"""Reading: pydantic in a daemon thread, without harm to a process that ends.

When Python ends, a daemon thread that asks for the interpreter within pydantic's own code takes the whole process
along (SIGABRT): it is ended there, and what is not Python's cannot be. So such threads validate under a lock that is
taken when Python ends, and never given back.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Iterator

PATIENCE = 1.0  # seconds that an end waits for what is being read

_lock = [threading.Lock()]  # a list: a forked child has another


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Validate within; briefly, for all threads beside the calls take turns."""
    with _lock[0]:
        yield


def _begin_anew() -> None:
    _lock[0] = threading.Lock()


atexit.register(lambda: _lock[0].acquire(timeout=PATIENCE))
os.register_at_fork(after_in_child=_begin_anew)
