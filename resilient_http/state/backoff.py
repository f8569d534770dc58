"""Backoff: how long to wait before the next attempt.

    full        between 0 and base * 2^n, at most cap
    equal       between a half and the whole of that
    constant    base
    none        base * 2^n, at most cap: without jitter, to compare with; no setting offers it
    throttled (429, 503)    equal, from throttled_base
    elsewhere               a share of the wait when the next attempt goes to an endpoint that has not been tried
    Retry-After             what it asks for, plus up to 20 % so that callers do not come back in step

Source: Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

SPREAD = 0.2

Jitter = Literal["full", "equal", "constant", "none"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """The numbers of a backoff; see BackoffSettings for their meaning."""

    base: float = 0.1
    cap: float = 5.0
    throttled_base: float = 0.5
    jitter: Jitter = "full"
    elsewhere: float = 0.25

    def next_delay(
        self,
        repeat: int,
        rng: random.Random,
        *,
        throttled: bool = False,
        retry_after: float | None = None,
        elsewhere: bool = False,
    ) -> float:
        """Seconds to wait before a repeat.

        Args:
            repeat: 1 for the first repeat, 2 for the second, and so on.
            rng: Source of jitter.
            throttled: The endpoint asked to slow down.
            retry_after: Seconds that it asked for, which then rule.
            elsewhere: The repeat goes to another endpoint, which has asked for nothing.
        """
        if retry_after is not None:
            return retry_after * rng.uniform(1.0, 1.0 + SPREAD)
        if elsewhere:
            return self.elsewhere * self._jittered(self.base, self.jitter, repeat, rng)
        if throttled:
            return self._jittered(self.throttled_base, "equal", repeat, rng)
        return self._jittered(self.base, self.jitter, repeat, rng)

    def _jittered(self, base: float, jitter: Jitter, repeat: int, rng: random.Random) -> float:
        if jitter == "constant":
            return base
        ceiling = min(self.cap, base * 2.0 ** min(repeat - 1, 30))
        if jitter == "none":
            return ceiling
        return rng.uniform(ceiling / 2 if jitter == "equal" else 0.0, ceiling)
