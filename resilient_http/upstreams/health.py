"""Health checks: each endpoint is asked, beside the calls, whether it is well. One checker per process.

Laws
    1. It begins with the first call through the shared engines, and ends with end(); another call begins it anew. A
       forked child makes one of its own.
    2. In a process that makes sync calls it is a thread, else timers and tasks in the loop of the call. When that loop
       is over, the loop of the next call takes its place; a thread does, where a loop was over before a check was, as
       Django's are that serve one request each.
    3. A check goes through the endpoint's own engine, with a deadline, and through none of the policies: it takes no
       permit, feeds no circuit, and is in no trace.
    4. What checks say only adds to what is left alone (state/ejections.py). It closes no circuit and opens none.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from resilient_http.call import Port
from resilient_http.events import Hub
from resilient_http.upstreams.checker import Checker, Work
from resilient_http.upstreams.upstream import Upstream


class Beat(Protocol):
    """Something that asks what there is to do, again and again, and has it done; see ports/beats.py."""

    threaded: bool
    done: int

    @property
    def alive(self) -> bool:
        """Whether it goes on."""

    def wake(self) -> None:
        """Ask again now."""

    def end(self) -> None:
        """Begin nothing more."""

    async def ended(self) -> None:
        """Wait for what was cancelled."""


class Beats(Protocol):
    """Begins beats; see ports/beats.py."""

    def serve(self, port: object) -> bool:
        """Whether calls through that port go through the shared engines."""

    def begin(self, due: Callable[[float], tuple[list[Work], float]], *, threaded: bool) -> Beat:
        """Begin one, that holds the bound method `due` weakly."""


class HealthChecks:
    """The checks of all upstreams of one process. Thread-safe.

    Args:
        hub: Where changes are told.
        beats: Begins what asks it what is due.
        rng: Source of jitter.
    """

    def __init__(self, hub: Hub, beats: Beats, rng: random.Random | None = None) -> None:
        self._hub = hub
        self._beats = beats
        self._rng = rng or random.Random()
        self._watched: list[Upstream] = []
        self._checker: Checker | None = None
        self._beat: Beat | None = None
        self._lock = threading.Lock()

    def watch(self, upstreams: Iterable[Upstream]) -> None:
        """These are to be checked from now on, if their settings say so."""
        watched = [upstream for upstream in upstreams if upstream.settings.health is not None]
        if watched == self._watched:
            return
        for upstream in watched:
            upstream.nodes.on_replaced = self.wake
        with self._lock:
            self._watched = watched
            if self._checker is not None:
                self._checker.watch(watched)
        self.wake()

    def begin(self, port: Port) -> None:
        """There is a call through this port: have the checks go on. Cheap when they do."""
        if self._goes_on(port) or not self._beats.serve(port):
            return
        with self._lock:
            if self._goes_on(port):
                return
            beat = self._beat
            fleeting = beat is not None and not beat.alive and not beat.done
            self._part()
            self._checker = Checker(self._watched, self._hub, self._rng)
            self._beat = self._beats.begin(self._checker.due, threaded=fleeting or not port.is_async)

    def _goes_on(self, port: Port) -> bool:
        beat = self._beat
        return beat is not None and (beat.threaded or port.is_async) and beat.alive

    def wake(self) -> None:
        """The endpoints have changed."""
        beat = self._beat
        if beat is not None:
            beat.wake()

    def end(self) -> None:
        """Check no more. Does not wait for what is under way; that counts no more."""
        with self._lock:
            self._part()

    async def aend(self) -> None:
        """The same, and when it runs in this event loop nothing is under way any more."""
        beat = self._beat
        self.end()
        if beat is not None:
            await beat.ended()

    def _part(self) -> None:
        if self._checker is not None:
            self._checker.over = True
        if self._beat is not None:
            self._beat.end()
        self._checker = self._beat = None
