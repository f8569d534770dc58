"""The sync race: the first attempt in its caller's thread, and a hedge beside it in one of ours.

A call whose first attempt is quick costs an alarm that is taken back. When it rings, a thread of ours decides on a
hedge and runs it; when that wins, the first attempt is cut at its socket, so that its thread comes back with the
hedge's answer. That takes an engine of ours, and a connection for each attempt; all else goes by lanes.py.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from resilient_http.call import Attempt
from resilient_http.engines.alarms import alarms
from resilient_http.engines.sync_network import sever
from resilient_http.engines.threads import Threads
from resilient_http.state.grip import Grip
from resilient_http.state.race import FIRST, HEDGE, Race

CROWDED = "threads"  # why there is no hedge when all threads are busy


class SyncRace:
    """One race. It is an alarm, which rings when the first attempt takes long.

    Args:
        run: What is done with an attempt; awaits nothing that suspends.
        drive: Runs such a coroutine.
        first: The first.
        hedge: Gives the other one, or None when there shall be none.
        good: Whether a response wins.
        threads: Where the hedge runs.
    """

    __slots__ = (
        "_asked", "_context", "_crowded", "_drive", "_ended", "_first", "_good", "_hedge", "_run", "_second",
        "_threads", "state",
    )  # fmt: skip
    state: Race

    def __init__(
        self, run: Callable[[Attempt], Awaitable[Any]], drive: Callable[[Any], Any], first: Attempt,
        hedge: Callable[..., Attempt | None], good: Callable[[Any], bool], threads: Threads,
    ) -> None:  # fmt: skip
        self._run = run
        self._drive = drive
        self._first = first
        self._hedge = hedge
        self._good = good
        self._threads = threads
        self._context = copy_context()  # the caller's, for the hedge

    async def decide(self, at: float) -> tuple[Any, BaseException | None, bool]:
        """Run it to its end; a hedge is sent at `at`, monotonic seconds."""
        bell, first = alarms(), self._first
        first.raced, first.grip = True, Grip(sever)
        bell.arm(self, at)
        response: Any = None
        error: Exception | None = None
        try:
            response = await self._run(first)
        except Exception as exc:
            if bell.disarm(self):
                raise
            error = exc
        except BaseException:
            if not bell.disarm(self):
                self._call_off()
            raise
        else:
            if bell.disarm(self):
                return response, None, False
        return self._outcome(response, error)

    # In the thread of all alarms

    def prepare(self) -> None:
        """See Alarm."""
        self.state = Race(self._good)
        self._asked = threading.Event()  # whether there is a hedge is known
        self._ended = threading.Event()  # the hedge has ended
        self._second: Attempt | None = None
        self._crowded = False

    def ring(self) -> None:
        """See Alarm."""
        self._crowded = not self._threads.start(partial(self._context.run, self._beside))

    # In a thread of ours

    def _beside(self) -> None:
        # It joins before it is decided on, so that a first attempt that fails meanwhile does not decide alone.
        if not self.state.join():
            return
        response: Any = None
        error: BaseException | None = None
        try:
            response = self._drive(self._run(self._ask()))
        except BaseException as exc:  # noqa: BLE001 - a bad end as any other; the first attempt's outcome may yet stand
            error = exc
        self._finish(HEDGE, response, error)
        if self.state.winner == HEDGE and not self.state.ended(FIRST):
            self._first.lose()
        self._ended.set()

    def _ask(self) -> Attempt:
        try:
            second = self._second = self._hedge()
            if second is None:
                raise LookupError  # there shall be none
            second.raced, second.grip = True, Grip(sever)
            return second
        finally:
            self._asked.set()

    # In the caller's thread

    def _outcome(self, response: Any, error: BaseException | None) -> tuple[Any, BaseException | None, bool]:
        """The race's, when the first attempt has ended and the alarm has rung."""
        try:
            self._finish(FIRST, response, error)
            if self.state.winner is None:
                self._ended.wait()
        except BaseException:
            self._call_off()
            raise
        self._leave()
        if self._crowded:
            self._hedge(CROWDED)
        return *self.state.outcome, self.state.winner == HEDGE

    def _call_off(self) -> None:
        """Interrupted: nobody waits for an answer any more."""
        self.state.call_off()
        self._leave()

    def _leave(self) -> None:
        """Tell the one that has not ended that it has lost, and free a response that nobody will read."""
        state = self.state
        if state.joined:
            self._asked.wait()  # which is done soon: it is decided, not run
        if self._second is not None and state.winner == FIRST and not state.ended(HEDGE):
            self._second.lose()
        self._first.lost = state.winner == HEDGE and not state.ended(FIRST)
        if state.spare is not None:
            state.spare.close()

    def _finish(self, lane: int, response: Any, error: BaseException | None) -> None:
        if not self.state.finish(lane, response, error) and response is not None:
            response.close()
