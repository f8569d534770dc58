"""Sources of nodes that a test tells what to say."""

from __future__ import annotations

import queue
import threading
from typing import Any

from resilient_http import Discovered


class Steps:
    """Says what stands in `says`: endpoints, or an exception that it raises; asked anew every `every` seconds.

    Attributes:
        asked: How often it was.
        gate: It answers only while this is set.
    """

    def __init__(self, says: Any = (), *, every: float = 0.05, open_gate: bool = True) -> None:
        self.says = says
        self.every = every
        self.asked = 0
        self.closed = 0
        self.gate = threading.Event()
        if open_gate:
            self.gate.set()

    def resolve(self) -> Discovered:
        self.asked += 1
        self.gate.wait(30.0)
        if isinstance(self.says, BaseException):
            raise self.says
        return Discovered(self.says, self.every)

    def close(self) -> None:
        self.closed += 1


class Stream:
    """Yields what the test puts into it; an exception is raised, None ends it.

    Attributes:
        begun: How often it was.
    """

    def __init__(self, *says: Any) -> None:
        self.queue: queue.Queue[Any] = queue.Queue()
        self.begun = 0
        for each in says:
            self.queue.put(each)

    def watch(self, stop: threading.Event) -> Any:
        self.begun += 1
        while not stop.is_set():
            try:
                said = self.queue.get(timeout=0.02)
            except queue.Empty:
                continue
            if isinstance(said, BaseException):
                raise said
            if said is None:
                return
            yield said
