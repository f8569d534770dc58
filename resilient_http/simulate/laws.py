"""Laws: how long a simulated node works on a request."""

from __future__ import annotations

import math
import random

from resilient_http.simulate.scenario import LatencySettings


class Law:
    """Draws durations, in seconds.

    Args:
        settings: Of which law.
    """

    __slots__ = ("_least", "_median", "_most", "_mu", "_power", "_share", "_sigma")

    def __init__(self, settings: LatencySettings) -> None:
        tail = settings.tail
        self._median = settings.median
        self._mu = math.log(settings.median)
        self._sigma = settings.sigma
        self._share = 0.0 if tail is None else tail.share
        self._least = 0.0 if tail is None else tail.least
        self._power = 0.0 if tail is None else -1.0 / tail.shape
        self._most = 0.0 if tail is None else tail.most

    def draw(self, rng: random.Random) -> float:
        """One duration."""
        if self._share and rng.random() < self._share:
            return min(self._most, self._least * math.pow(1.0 - rng.random(), self._power))
        return math.exp(rng.gauss(self._mu, self._sigma)) if self._sigma else self._median
