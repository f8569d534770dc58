"""Balancers: which of some endpoints answers best. One is made for each group of endpoints, and anew when that changes.

A balancer only picks; whether the endpoint's circuit admits an attempt is asked by whoever picks (state/endpoints.py),
who then picks once more among the others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from resilient_http.state.endpoint import Endpoint


class Balancer(Protocol):
    """Picks among the endpoints that it was made for. Thread-safe."""

    def pick(
        self, passed: Collection[Endpoint], now: float, rng: random.Random, key: str | None = None
    ) -> Endpoint | None:
        """The best of those that are not among `passed`, or None when all are.

        Args:
            passed: Not these.
            now: Monotonic seconds.
            rng: Draws.
            key: What calls that belong together have in common, where there is such a thing.
        """


MakeBalancer = Callable[[Sequence[Endpoint]], Balancer]
