"""Peak EWMA: how long an endpoint takes, where bad news counts at once and good news by and by.

    cost = took                                 when that is more than the cost, or
    cost = cost x w + took x (1 - w)            with w = e^(-t/decay), t the time since the last one

While there is no news the cost fades likewise, so that one that was slow is tried again some time.

Source: Finagle's "Peak EWMA" load metric (Clients > Load Balancing, in its user guide).
"""

from __future__ import annotations

import math
import threading

DECAY = 10.0


class PeakEwma:
    """How long one endpoint takes. Thread-safe.

    Args:
        decay: Seconds in which an old cost fades to 1/e.
    """

    __slots__ = ("_at", "_cost", "_decay", "_lock")

    def __init__(self, decay: float = DECAY) -> None:
        self._cost = 0.0
        self._decay = decay
        self._at = 0.0
        self._lock = threading.Lock()

    def observe(self, took: float, now: float) -> None:
        """An attempt took so long."""
        with self._lock:
            if took > self._cost:
                self._cost = took
            else:
                kept = math.exp(-max(0.0, now - self._at) / self._decay)
                self._cost = self._cost * kept + took * (1.0 - kept)
            self._at = now

    def forget(self) -> None:
        """Nothing is known any more."""
        with self._lock:
            self._cost = 0.0

    def cost(self, now: float) -> float:
        """Seconds; 0.0 when nothing is known."""
        return self._cost * math.exp(-max(0.0, now - self._at) / self._decay) if self._cost else 0.0
