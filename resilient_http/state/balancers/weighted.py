"""Weighted: endpoints take turns by their weights, smoothly. Equal weights are plain round robin.

In each turn every endpoint gains its weight, the one that has most is picked and pays the sum of all weights. Weights
5, 1, 1 give a a b a c a a. Endpoints of one weight take turns among themselves, so only the next of each weight needs
to be looked at: a turn costs as much as there are different weights.

Source: nginx, ngx_http_upstream_round_robin, "smooth weighted balancing" (changes of version 1.3.1).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Sequence

from resilient_http.state.endpoint import Endpoint

TURNS = 8  # that may fall to one that is passed over, before the others are listed


class _Row:
    """The endpoints of one weight, which take turns; `paid` is how often the next of them has been picked."""

    __slots__ = ("members", "next", "paid", "places", "weight")

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.members: list[Endpoint] = []
        self.places: list[int] = []
        self.next = 0
        self.paid = 0


class Weighted:
    """Picks in turn. Thread-safe.

    Args:
        members: The endpoints, in the order in which equals take turns.
    """

    __slots__ = ("_lock", "_members", "_rows", "_sum", "_turn")

    def __init__(self, members: Sequence[Endpoint]) -> None:
        self._members = tuple(members)
        rows: dict[float, _Row] = {}
        for place, member in enumerate(members):
            row = rows.setdefault(member.weight, _Row(member.weight))
            row.members.append(member)
            row.places.append(place)
        self._rows = tuple(rows.values())
        self._sum = sum(member.weight for member in members)
        self._turn = 0
        self._lock = threading.Lock()

    def pick(
        self, passed: Collection[Endpoint], now: float, rng: random.Random, key: str | None = None
    ) -> Endpoint | None:
        """See Balancer.pick()."""
        for _ in range(TURNS):
            member = self._next()
            if member is None or member not in passed:
                return member
        left = [member for member in self._members if member not in passed]
        return min(left, key=lambda member: member.busy(now) / member.weight, default=None)

    def _next(self) -> Endpoint | None:
        if not self._members:
            return None
        with self._lock:
            self._turn += 1
            row = self._rows[0] if len(self._rows) == 1 else max(self._rows, key=self._standing)
            member = row.members[row.next]
            row.next += 1
            if row.next == len(row.members):
                row.next = 0
                row.paid += 1
            if len(self._rows) == 1 and not row.next:
                self._turn = row.paid = 0
            return member

    def _standing(self, row: _Row) -> tuple[float, int]:
        """What the next of a row has gained and not paid; of equals the one that was listed first."""
        return self._turn * row.weight - row.paid * self._sum, -row.places[row.next]
