"""Ports whose clock is virtual: all else is as the real ones have it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Self

import anyio

from resilient_http.call import Attempt
from resilient_http.errors import Saturated
from resilient_http.ports.async_race import AsyncRace
from resilient_http.ports.asynchronous import AsyncPort
from resilient_http.ports.sync import SyncPort, drive
from resilient_http.scope import Cancellation
from resilient_http.state.race import FIRST, HEDGE
from resilient_http.testing.clock import VirtualClock
from resilient_http.testing.together import Together, VirtualLanes, current


class _ByClock:
    """A port's clock is a virtual one."""

    clock: VirtualClock
    now: Callable[[], float]
    wall_now: Callable[[], float]

    @classmethod
    def like(cls, port: SyncPort | AsyncPort, clock: VirtualClock) -> Self:
        """The same port, by this clock."""
        self = object.__new__(cls)
        vars(self).update(vars(port))
        self.clock, self.now, self.wall_now = clock, clock.now, clock.wall_now
        return self


class VirtualSyncPort(_ByClock, SyncPort):
    """Sleeps without waiting. Get one by like()."""

    async def sleep(self, seconds: float, cancellation: Cancellation | None = None) -> None:
        """So much later at once."""
        self.clock.sleep(seconds)

    async def linger(self, attempt: Attempt, seconds: float) -> None:
        """So much later at once."""
        self.clock.sleep(seconds)

    async def race(
        self,
        run: Callable[[Attempt], Awaitable[Any]],
        first: Attempt,
        delay: float,
        hedge: Callable[..., Attempt | None],
        good: Callable[[Any], bool],
        *,
        cuttable: bool = True,
    ) -> tuple[Any, BaseException | None, bool]:
        """Both in threads of ours, which sleep beside each other; the hedge is sent by this clock."""
        lanes = VirtualLanes(self._threads, lambda attempt: drive(run(attempt)), good)  # type: ignore[arg-type]
        lanes.together = together = Together(self.clock)
        token = current.set(together)
        try:
            if not lanes.start(FIRST, first):
                return await run(first), None, False
            together.sleep_until(self.clock.now() + delay, lanes.first_ended.is_set)
            second = None if lanes.first_ended.is_set() else hedge()
            if second is not None and not lanes.start(HEDGE, second):
                second.end(self.now(), Saturated("no thread for a hedge", upstream=second.call.upstream))
            together.sleep_until(math.inf, lanes.decided.is_set)
        finally:
            current.reset(token)
            lanes.leave()
            together.end()
        return *lanes.race.outcome, lanes.race.winner == HEDGE


class VirtualAsyncPort(_ByClock, AsyncPort):
    """Sleeps without waiting, in the order in which tasks are due. Get one by like()."""

    async def sleep(self, seconds: float, cancellation: Cancellation | None = None) -> None:
        """Let other tasks run until it is so much later."""
        await self.clock.sleep_in_task(seconds)

    async def wait_for(self, event: anyio.Event, seconds: float) -> None:
        """Until it is set, for so long at most."""
        await self.clock.sleep_in_task(seconds, event.is_set)

    async def race(
        self,
        run: Callable[[Attempt], Awaitable[Any]],
        first: Attempt,
        delay: float,
        hedge: Callable[..., Attempt | None],
        good: Callable[[Any], bool],
        *,
        cuttable: bool = True,
    ) -> tuple[Any, BaseException | None, bool]:
        """Both as tasks of this loop; the hedge is sent by this clock."""
        race = _VirtualRace(run, first, delay, hedge, good)
        race.clock = self.clock
        outcome = await race.in_tasks()
        for response in race.unread:
            await self.set_aside(response, 0.0)
        return outcome


class _VirtualRace(AsyncRace):
    clock: VirtualClock

    async def wait_for(self, event: anyio.Event, seconds: float) -> None:
        """Until it is set, for so long at most."""
        await self.clock.sleep_in_task(seconds, event.is_set)
