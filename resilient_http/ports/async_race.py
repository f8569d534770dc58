"""The async race: a hedge beside a first attempt that takes long, at the least cost where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio

from resilient_http.call import Attempt
from resilient_http.engines.time_limit import Begun
from resilient_http.state.race import FIRST, HEDGE, Race

Run = Callable[[Attempt], Awaitable[Any]]


class AsyncRace:
    """One race.

    Args:
        run: What is done with an attempt.
        first: The first.
        delay: Seconds.
        hedge: Gives the other one, or None when there shall be none.
        good: Whether a response wins.
    """

    def __init__(
        self, run: Run, first: Attempt, delay: float, hedge: Callable[[], Attempt | None], good: Callable[[Any], bool]
    ) -> None:
        self.state = Race(good)
        self._run = run
        self._delay = delay
        self._hedge = hedge
        self._entrants = [first]
        self._late: list[Any] = []

    @property
    def unread(self) -> list[Any]:
        """The responses that nobody will read."""
        spare = self.state.spare
        return self._late if spare is None else [spare, *self._late]

    async def decide(self) -> None:
        """Run it to its end."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            await self._in_tasks()
        else:
            await self._on_asyncio(loop)

    async def _on_asyncio(self, loop: asyncio.AbstractEventLoop) -> None:
        """The first attempt stays in the caller's task; nothing is made for one that is quick but a timer."""
        work: Any = self._run(self._entrants[FIRST])
        try:
            waiting = work.send(None)
        except StopIteration as stop:
            self.state.finish(FIRST, stop.value, None)
            return
        except Exception as exc:  # noqa: BLE001 - raised again where the call waits
            self.state.finish(FIRST, None, exc)
            return
        limit = asyncio.timeout(None)  # passes when the hedge has won
        beside: list[asyncio.Task[None]] = []

        async def second(attempt: Attempt) -> None:
            await self._lane(HEDGE, attempt)
            if self.state.winner == HEDGE and not self.state.ended(FIRST):
                self._tell_losers()
                limit.reschedule(loop.time())

        def begin() -> None:
            attempt = self._enter_hedge()
            if attempt is not None:
                beside.append(loop.create_task(second(attempt)))

        timer = loop.call_later(self._delay, begin)
        try:
            await self._first(limit, work, waiting)
            if self.state.winner is None:
                await beside[0]
        finally:
            timer.cancel()
            if beside and not beside[0].done():
                self._tell_losers()
                beside[0].cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait(beside)

    async def _first(self, limit: asyncio.Timeout, work: Any, waiting: Any) -> None:
        response: Any = None
        error: Exception | None = None
        try:
            async with limit:
                response = await Begun(work, waiting)
        except Exception as exc:  # noqa: BLE001 - raised again where the call waits
            if isinstance(exc, TimeoutError) and limit.expired():
                return
            error = exc
        self._finish(FIRST, response, error)

    async def _in_tasks(self) -> None:
        """Elsewhere both are tasks of a group."""
        moved = anyio.Event()  # the first has ended
        decided = anyio.Event()

        async def lane(number: int, attempt: Attempt) -> None:
            await self._lane(number, attempt)
            if number == FIRST:
                moved.set()
            if self.state.winner is not None:
                decided.set()

        async with anyio.create_task_group() as lanes:
            lanes.start_soon(lane, FIRST, self._entrants[FIRST])
            with anyio.move_on_after(self._delay):
                await moved.wait()
            attempt = self._enter_hedge()
            if attempt is not None:
                lanes.start_soon(lane, HEDGE, attempt)
            await decided.wait()
            self._tell_losers()
            lanes.cancel_scope.cancel()

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
        if not self.state.finish(number, response, error) and response is not None:
            self._late.append(response)

    def _enter_hedge(self) -> Attempt | None:
        attempt = None if self.state.winner is not None else self._hedge()
        if attempt is not None:
            self.state.join()
            self._entrants.append(attempt)
        return attempt

    def _tell_losers(self) -> None:
        for number, attempt in enumerate(self._entrants):
            attempt.lost = number != self.state.winner and not self.state.ended(number)
