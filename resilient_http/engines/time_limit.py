"""Time limit: await what may take too long, at the least cost where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await `work` for at most so long; then it is cancelled.

    On asyncio, work that never suspends, as a mock's, sets no timer.

    Raises:
        TimeoutError: The time was up.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # trio
        with anyio.fail_after(seconds):
            return await work
    result: T
    try:
        waiting = work.send(None)
    except StopIteration as stop:
        result = stop.value
        return result
    async with asyncio.timeout(seconds):
        result = await _Begun(work, waiting)
    return result


class _Begun:
    """A coroutine that has taken its first step, and now waits for something."""

    __slots__ = ("_waiting", "_work")

    def __init__(self, work: Coroutine[Any, Any, Any], waiting: Any) -> None:
        self._work = work
        self._waiting = waiting

    def __await__(self) -> Generator[Any, Any, Any]:
        work, waiting = self._work, self._waiting
        try:
            while True:
                try:
                    value = yield waiting
                except BaseException as exc:  # noqa: BLE001 - handed on to the coroutine, whatever it is
                    waiting = work.throw(exc)
                else:
                    waiting = work.send(value)
        except StopIteration as stop:
            return stop.value
