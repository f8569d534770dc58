"""Peak EWMA: how long an endpoint takes, where bad news counts at once and good news by and by.

    cost = took                                 when that is more than the cost, or
    cost = cost x w + took x (1 - w)            with w = e^(-t/decay), t the time since the last one

Source: Finagle's "Peak EWMA" load metric (Clients > Load Balancing, in its user guide).
"""

from __future__ import annotations

import math
import threading

DECAY = 10.0


class PeakEwma:
    """The cost of one endpoint, seconds. Thread-safe.

    Args:
        decay: Seconds in which an old cost fades to 1/e.
    """

    __slots__ = ("_at", "_decay", "_lock", "cost")

    def __init__(self, decay: float = DECAY) -> None:
        self.cost = 0.0
        self._decay = decay
        self._at = 0.0
        self._lock = threading.Lock()

    def observe(self, took: float, now: float) -> None:
        """An attempt took so long."""
        with self._lock:
            if took > self.cost:
                self.cost = took
            else:
                kept = math.exp(-max(0.0, now - self._at) / self._decay)
                self.cost = self.cost * kept + took * (1.0 - kept)
            self._at = now
