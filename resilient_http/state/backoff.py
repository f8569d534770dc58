"""Backoff: how long to wait before the next attempt.

    failed                  full jitter: between 0 and base * 2^n, at most cap
    throttled (429, 503)    equal jitter: between a half and the whole of throttled_base * 2^n, at most cap
    Retry-After             what it asks for, plus up to 20 % so that callers do not come back in step

Source: Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

SPREAD = 0.2


@dataclass(frozen=True, slots=True)
class Backoff:
    """The numbers of a backoff; see BackoffSettings for their meaning."""

    base: float = 0.1
    cap: float = 5.0
    throttled_base: float = 0.5

    def next_delay(
        self, repeat: int, rng: random.Random, *, throttled: bool = False, retry_after: float | None = None
    ) -> float:
        """Seconds to wait before a repeat.

        Args:
            repeat: 1 for the first repeat, 2 for the second, and so on.
            rng: Source of jitter.
            throttled: The endpoint asked to slow down.
            retry_after: Seconds that it asked for, which then rule.
        """
        if retry_after is not None:
            return retry_after * rng.uniform(1.0, 1.0 + SPREAD)
        base = self.throttled_base if throttled else self.base
        ceiling = min(self.cap, base * 2.0 ** min(repeat - 1, 30))
        return rng.uniform(ceiling / 2 if throttled else 0.0, ceiling)
