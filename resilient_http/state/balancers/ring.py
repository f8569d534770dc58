"""Ring: calls that have a key in common go to one endpoint; its neighbours take over what it cannot take.

Laws
    1. An endpoint that leaves, or is passed over, moves its own share only: to those that come next on the ring.
    2. Load is bounded: an endpoint that has more than `bound` times its share of all that is in flight is passed over.
    3. A weight is a number of places on the ring; at weight 1 there are `PLACES`.

Sources: D. Karger et al., Consistent Hashing and Random Trees (1997); V. Mirrokni et al., Consistent Hashing with
Bounded Loads (2016).
"""

from __future__ import annotations

import hashlib
import math
import random
import struct
from bisect import bisect
from collections.abc import Collection, Sequence

from resilient_http.state.balancers.p2c import P2C
from resilient_http.state.endpoint import Crowd, Endpoint

PLACES = 160
BOUND = 1.25
MOST_PLACES = 100_000  # of all together


class Ring:
    """Picks by key; without one the less loaded of two. Thread-safe.

    Args:
        members: The endpoints.
        bound: How many times its share an endpoint may have in flight. Above 1; infinity for no bound.
    """

    __slots__ = ("_bound", "_crowd", "_members", "_owners", "_places", "_sum", "_without_key")

    def __init__(self, members: Sequence[Endpoint], bound: float = BOUND) -> None:
        self._members = tuple(members)
        self._bound = bound
        self._sum = sum(member.weight for member in members)
        self._without_key = P2C(members)
        self._crowd = Crowd(members)
        scale = min(PLACES, MOST_PLACES / self._sum) if members else PLACES
        ring = sorted(
            (at, place)
            for place, member in enumerate(members)
            for at in _places(member.url, max(1, round(scale * member.weight)))
        )
        self._places = [at for at, _ in ring]
        self._owners = [self._members[place] for _, place in ring]

    def pick(
        self, passed: Collection[Endpoint], now: float, rng: random.Random, key: str | None = None
    ) -> Endpoint | None:
        """See Balancer.pick()."""
        if key is None:
            return self._without_key.pick(passed, now, rng)
        owners = self._owners
        start = bisect(self._places, _hash(key))
        first: Endpoint | None = None
        full: set[Endpoint] = set()
        for step in range(len(owners)):
            member = owners[(start + step) % len(owners)]
            if member in passed or member in full:
                continue
            if self._has_room(member):
                return member
            first = first or member
            full.add(member)
            if len(full) == len(self._members):
                break
        return first

    def _has_room(self, member: Endpoint) -> bool:
        under_way = member.in_flight
        if not under_way or self._bound == math.inf:
            return True  # one alone is never more than its share
        share = (self._crowd.in_flight + 1) * member.weight / self._sum
        return under_way + 1 <= math.ceil(self._bound * share)


def _places(url: str, count: int) -> list[int]:
    """So many, eight of each digest."""
    found: list[int] = []
    for number in range(-(-count // 8)):
        found += struct.unpack(">8Q", hashlib.blake2b(f"{url}#{number}".encode()).digest())
    return found[:count]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
