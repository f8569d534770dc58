"""Switching: kill switches are thrown, and are over by themselves.

Laws
    1. Nothing of it is in the way of a call to an upstream of which nothing is switched: throwing one has the rings of
       its upstream composed anew.
    2. While something is switched, one thread waits for the next one that is over. It keeps nobody alive.
    3. Who has thrown what, for how long, and how it ended is logged, and events.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from resilient_http.events import Hub, SwitchEnded, SwitchThrown
from resilient_http.state.switches import Named, Position, Slot, Switch, Switches
from resilient_http.upstreams.health import Beat

LAPSED = "its time is over"


class Switching:
    """The switches of one process. Thread-safe.

    Args:
        hub: Where it is told.
        begin: Begins the thread: it is given the bound method that is to be asked again and again.
        settle: Called after each change: the upstreams go by what is switched now.
        thrown: What is switched from the start.
    """

    def __init__(
        self,
        hub: Hub,
        begin: Callable[[Callable[[float], tuple[list[Any], float]]], Beat],
        settle: Callable[[], None],
        thrown: Mapping[Slot, Switch] | None = None,
    ) -> None:
        self._hub = hub
        self._begin = begin
        self._settle = settle
        self._switches = Switches(thrown)
        self._beat: Beat | None = None
        self._lock = threading.Lock()

    @property
    def thrown(self) -> Mapping[Slot, Switch]:
        """What is switched, for a forked child."""
        return self._switches.thrown

    def position(self, name: str) -> Position:
        """What counts for that upstream."""
        return self._switches.position(name)

    def begin(self) -> None:
        """The upstreams are there: wait for what is over, if something is switched from the start."""
        self._wait()

    def throw(self, name: str, switch: Switch) -> None:
        """It holds from now on."""
        self._switches.throw(name, switch)
        self._changed(((name, switch),), (), "")

    def lift(self, name: str, about: str | None, by: str) -> None:
        """Those of that name are over: all, or those about that."""
        over = self._switches.lift(name, about)
        if over:
            self._changed((), over, f"lifted by {by}")

    def say(self, switches: Iterable[Named], by: str) -> None:
        """These are what comes from afar, all of it."""
        new, over = self._switches.say(switches)
        if new or over:
            self._changed(new, over, f"{by} says so no longer")

    def due(self, now: float) -> tuple[list[Any], float]:
        """End what is over. Nothing to be done by others, and the seconds until the next one is over."""
        over = self._switches.lapse(now)
        if over:
            self._changed((), over, LAPSED, wakes=False)
        with self._lock:  # what is thrown meanwhile either is seen here, or begins another thread
            next_at = self._switches.next_at()
            if next_at is None:
                self._part()
                return [], 0.0
        return [], max(0.0, next_at - now)

    def end(self) -> None:
        """Have the thread end. What is switched stays."""
        with self._lock:
            self._part()

    def _part(self) -> None:
        if self._beat is not None:
            self._beat.end()
        self._beat = None

    def _changed(self, new: Iterable[Named], over: Iterable[Named], why: str, *, wakes: bool = True) -> None:
        self._settle()
        now = time.monotonic()
        for name, switch in new:
            self._hub.announce(SwitchThrown(name, str(switch), switch.by, switch.until - now))
        for name, switch in over:
            self._hub.announce(SwitchEnded(name, str(switch), switch.by, why))
        if wakes:
            self._wait()

    def _wait(self) -> None:
        with self._lock:
            if self._beat is not None and self._beat.alive:
                self._beat.wake()
            elif self.thrown:
                self._beat = self._begin(self.due)
