"""TokenBucket: how many attempts an upstream may be sent a second.

Laws
    1. `rate` tokens a second drip in, and at most `burst` are kept. An attempt takes one.
    2. Who may wait takes a token of the future, and is told how long it takes to come. So turns are in the order of
       asking, and nobody has to be woken.
    3. A token that was not used is given back.
"""

from __future__ import annotations

import threading


class TokenBucket:
    """One bucket per upstream. Thread-safe.

    Args:
        rate: Tokens per second. Positive.
        burst: Most tokens kept. At least 1.
    """

    __slots__ = ("_burst", "_lock", "_tokens", "_updated", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self._burst = burst
        self._tokens = burst  # below 0: those that wait have taken tokens of the future
        self._updated: float | None = None
        self._lock = threading.Lock()

    def adjust(self, rate: float, burst: float) -> None:
        """Go by other numbers from now on, with the tokens that are there; who waits has his turn as he was told."""
        with self._lock:
            self.rate, self._burst = rate, burst
            self._tokens = min(burst, self._tokens)

    def reserve(self, now: float, patience: float = 0.0) -> float:
        """Seconds until a token is there: 0.0 for at once. It is taken when that is at most `patience`."""
        with self._lock:
            self._drip(now)
            wait = 0.0 if self._tokens >= 1 else (1 - self._tokens) / self.rate
            if wait <= patience:
                self._tokens -= 1
            return wait

    def collect(self, now: float) -> float:
        """One that waited comes for its token: it has it."""
        return 0.0

    def leave(self) -> None:
        """One that waited does so no more."""
        self.refund()

    def refund(self) -> None:
        """A token that was taken has not been used."""
        with self._lock:
            self._tokens = min(self._burst, self._tokens + 1)

    def tokens(self, now: float) -> float:
        """Tokens that are there; below 0 when some wait for theirs."""
        with self._lock:
            self._drip(now)
            return self._tokens

    def _drip(self, now: float) -> None:
        if self._updated is None:
            self._updated = now
        passed = now - self._updated
        if passed > 0:  # a thread may come late with the time it read
            self._updated = now
            self._tokens = min(self._burst, self._tokens + passed * self.rate)
