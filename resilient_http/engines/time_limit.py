"""Time limit: await what may take too long, or for somebody who may go away, at the least cost where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

import anyio

from resilient_http.engines.loop import waker
from resilient_http.scope import Cancellation

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T], late: Callable[[], Exception] = TimeoutError) -> T:
    """Await `work` for at most so long; then it is cancelled, and what `late` makes is raised.

    On asyncio, work that never suspends, as a mock's, sets no timer.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return await _within_on_trio(seconds, work, late)
    result: T
    try:
        waiting = work.send(None)
    except StopIteration as stop:
        result = stop.value
        return result
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            result = await Begun(work, waiting)
    except TimeoutError as exc:
        if limit.expired():
            raise late() from exc
        raise  # the work's own
    return result


async def unless_cancelled(
    cancellation: Cancellation, work: Coroutine[Any, Any, T], gone: Callable[[], Exception]
) -> T:
    """Await `work` until the cancellation is requested; then it is cancelled, and what `gone` makes is raised."""
    with anyio.CancelScope() as cut, cancellation.listening(waker(cut.cancel)):
        return await work
    raise gone()


async def _within_on_trio(seconds: float, work: Coroutine[Any, Any, T], late: Callable[[], Exception]) -> T:
    with anyio.move_on_after(seconds):
        return await work
    raise late()


class Begun:
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
