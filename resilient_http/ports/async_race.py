"""The async race: a hedge beside a first attempt that takes long, at the least cost where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import anyio

from resilient_http.call import Attempt
from resilient_http.engines.time_limit import Begun
from resilient_http.state.race import FIRST, HEDGE, Race

Run = Callable[[Attempt], Awaitable[Any]]
Outcome = tuple[Any, BaseException | None, bool]


class AsyncRace:
    """One race.

    Args:
        run: What is done with an attempt.
        first: The first.
        delay: Seconds.
        hedge: Gives the other one, or None when there shall be none.
        good: Whether a response wins.

    Attributes:
        unread: The responses that nobody will read.
    """

    __slots__ = ("_beside", "_context", "_delay", "_first", "_good", "_hedge", "_run", "_second", "_state", "unread")
    _state: Race  # made when there is a hedge
    _second: Attempt

    def __init__(
        self, run: Run, first: Attempt, delay: float, hedge: Callable[..., Attempt | None], good: Callable[[Any], bool]
    ) -> None:
        self._run = run
        self._first = first
        self._delay = delay
        self._hedge = hedge
        self._good = good
        self._beside: asyncio.Task[None] | None = None
        self.unread: list[Any] = []

    async def decide(self) -> Outcome:
        """Run it to its end."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return await self.in_tasks()
        # On asyncio the first attempt stays in the caller's task; nothing is made for one that is quick but a timer.
        self._context = copy_context()  # before the first attempt has a span in it, which is not the hedge's parent
        work: Any = self._run(self._first)
        try:
            waiting = work.send(None)
        except StopIteration as stop:
            return stop.value, None, False
        return await self._on_asyncio(loop, work, waiting)

    async def _on_asyncio(self, loop: asyncio.AbstractEventLoop, work: Any, waiting: Any) -> Outcome:
        limit = asyncio.timeout(None)  # passes when the hedge has won
        timer = loop.call_later(self._delay, self._begin, loop, limit, context=self._context)
        try:
            try:
                async with limit:
                    response = await Begun(work, waiting)
            except Exception as exc:
                if self._beside is None:
                    raise
                if not (isinstance(exc, TimeoutError) and limit.expired()):
                    self._finish(FIRST, None, exc)
            else:
                if self._beside is None:
                    return response, None, False
                self._finish(FIRST, response, None)
            if self._state.winner is None:
                await self._beside
        finally:
            timer.cancel()
            if self._beside is not None and not self._beside.done():
                self._tell_losers()
                self._beside.cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([self._beside])
        return self._outcome()

    def _begin(self, loop: asyncio.AbstractEventLoop, limit: asyncio.Timeout) -> None:
        second = self._hedge()
        if second is not None:
            self._state = Race(self._good)
            self._enter(second)
            self._beside = loop.create_task(self._live_beside(loop, limit))

    async def _live_beside(self, loop: asyncio.AbstractEventLoop, limit: asyncio.Timeout) -> None:
        await self._lane(HEDGE, self._second)
        if self._state.winner == HEDGE and not self._state.ended(FIRST):
            self._tell_losers()
            limit.reschedule(loop.time())

    async def wait_for(self, event: anyio.Event, seconds: float) -> None:
        """Until it is set, for so long at most."""
        with anyio.move_on_after(seconds):
            await event.wait()

    async def in_tasks(self) -> Outcome:
        """Elsewhere both are tasks of a group."""
        self._state = Race(self._good)
        moved = anyio.Event()  # the first has ended
        decided = anyio.Event()

        async def lane(number: int, attempt: Attempt) -> None:
            await self._lane(number, attempt)
            if number == FIRST:
                moved.set()
            if self._state.winner is not None:
                decided.set()

        async with anyio.create_task_group() as lanes:
            lanes.start_soon(lane, FIRST, self._first)
            await self.wait_for(moved, self._delay)
            second = None if self._state.winner is not None else self._hedge()
            if second is not None:
                self._enter(second)
                lanes.start_soon(lane, HEDGE, second)
            await decided.wait()
            self._tell_losers()
            lanes.cancel_scope.cancel()
        return self._outcome()

    def _enter(self, second: Attempt) -> None:
        self._state.join()
        self._second = second

    async def _lane(self, number: int, attempt: Attempt) -> None:
        response: Any = None
        error: Exception | None = None
        try:
            response = await self._run(attempt)
        except Exception as exc:  # noqa: BLE001 - raised again where the call waits
            error = exc
        self._finish(number, response, error)

    def _finish(self, number: int, response: Any, error: Exception | None) -> None:
        # Both may end before the loop comes to cancel one of them.
        if not self._state.finish(number, response, error) and response is not None:
            self.unread.append(response)

    def _tell_losers(self) -> None:
        state = self._state
        self._first.lost = state.winner != FIRST and not state.ended(FIRST)
        if state.joined:
            self._second.lost = state.winner != HEDGE and not state.ended(HEDGE)

    def _outcome(self) -> Outcome:
        if self._state.spare is not None:
            self.unread.append(self._state.spare)
        return *self._state.outcome, self._state.winner == HEDGE
