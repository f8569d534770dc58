"""Whole: what a signal must not break off half-way.

Python runs the handlers of signals in the main thread, wherever that is, and what they raise (KeyboardInterrupt, a
worker's time limit) comes out there. So what has to be done as a whole is done in another thread, for which the main
one waits: it may be interrupted in its waiting, and the other one goes on to the end.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def whole(act: Callable[[], Result]) -> Result:
    """What `act` returns or raises; once it has begun it is done to its end, whatever interrupts the caller.

    It must take all locks that it needs itself, and is in the caller's context (contextvars), but not in its thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return act()
    done: Future[Result] = Future()
    # No daemon: Python ends when it has ended.
    thread = threading.Thread(target=_run, args=(contextvars.copy_context(), act, done), name="resilient-http whole")
    try:
        thread.start()
    except RuntimeError:  # Python that is about to exit starts no thread
        return act()
    return done.result()


def _run(context: contextvars.Context, act: Callable[[], Result], done: Future[Result]) -> None:
    try:
        done.set_result(context.run(act))
    except BaseException as exc:  # noqa: BLE001 - the caller raises it
        done.set_exception(exc)
        del done  # or the error and this frame would hold each other
