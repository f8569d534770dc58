"""Lanes: a sync race with each attempt in a thread of our own, so that its caller can leave either of them behind.

That is what an attempt takes that we cannot cut: over a transport of the user's, or a connection that it shares.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from resilient_http.call import Attempt
from resilient_http.engines.threads import Threads
from resilient_http.state.race import FIRST, Race


class Lanes:
    """Runs the attempts of one race.

    Args:
        threads: Where.
        run: What is done with an attempt; blocks.
        good: Whether a response wins.

    Attributes:
        race: What is decided.
        first_ended: The first attempt has ended.
        decided: There is a winner.
    """

    def __init__(self, threads: Threads, run: Callable[[Attempt], Any], good: Callable[[Any], bool]) -> None:
        self.race = Race(good)
        self.first_ended = threading.Event()
        self.decided = threading.Event()
        self._threads = threads
        self._run = run
        self._entrants: list[Attempt] = []

    def start(self, lane: int, attempt: Attempt) -> bool:
        """Run an attempt, in the caller's context. False when there is no thread for it."""
        attempt.raced = True
        # The hedge joins before it runs, so that a first attempt that fails meanwhile does not decide alone.
        joined = lane == FIRST or self.race.join()
        started = joined and self._threads.start(partial(copy_context().run, self._live, lane, attempt))
        if started:
            self._entrants.append(attempt)
        elif joined and lane != FIRST:
            self._finish(lane, None, RuntimeError("it was never run"))
        return started

    def leave(self) -> None:
        """Tell those that have not ended that they have lost, and free a response that nobody will read."""
        for lane, attempt in enumerate(self._entrants):
            attempt.lost = lane != self.race.winner and not self.race.ended(lane)
        if self.race.spare is not None:
            self.race.spare.close()

    def _live(self, lane: int, attempt: Attempt) -> None:
        response: Any = None
        error: BaseException | None = None
        try:
            response = self._run(attempt)
        except BaseException as exc:  # noqa: BLE001 - raised again where the call waits
            error = exc
        self._finish(lane, response, error)

    def _finish(self, lane: int, response: Any, error: BaseException | None) -> None:
        if not self.race.finish(lane, response, error) and response is not None:
            response.close()
        if lane == FIRST:
            self.first_ended.set()
        if self.race.winner is not None:
            self.decided.set()
