"""Loop: the running event loop, and how to wake what waits in it from anywhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any


def running_loop() -> Any:
    """What stands for the running event loop: asyncio's loop, or trio's token."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        # Only a program that runs trio has it imported.
        return sys.modules["trio"].lowlevel.current_trio_token()


def has_ended(loop: Any) -> bool:
    """Whether an asyncio loop is closed; of a trio token it is not known."""
    return isinstance(loop, asyncio.AbstractEventLoop) and loop.is_closed()


def waker(wake: Callable[[], object]) -> Callable[[], bool]:
    """Has `wake` called in the running loop, from any thread. False when that loop is gone, and with it who waited."""
    loop = running_loop()
    soon = loop.call_soon_threadsafe if isinstance(loop, asyncio.AbstractEventLoop) else loop.run_sync_soon

    def call() -> bool:
        try:
            soon(wake)
        except RuntimeError:  # asyncio's own, or trio's RunFinishedError
            return False
        return True

    return call
