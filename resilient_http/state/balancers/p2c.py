"""P2C: of two endpoints drawn at random, by weight, the one with the lower load.

Two draws are nearly as good as asking all, cost the same for ten endpoints and for a thousand, and do not send the
whole herd to the one that looked best a moment ago. Where both have failed or been slow lately, others are drawn: with
two bad nodes of three, a third of all draws would have no good one.

Source: M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (2001).
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate

from resilient_http.state.endpoint import Endpoint

MORE = 2  # that are drawn besides two, while the best of them is penalised
PENALISED = 1.0  # so much of a penalty is left that it is
DRAWS = 8  # that may hit one that is passed over, before the others are listed

Load = Callable[[Endpoint, float], float]


class P2C:
    """Picks the less loaded of two. Thread-safe.

    Args:
        members: The endpoints.
        load: What is compared, of an endpoint at an instant; None for Endpoint.load().
    """

    __slots__ = ("_bounds", "_load", "_members")

    def __init__(self, members: Sequence[Endpoint], load: Load | None = None) -> None:
        self._members = tuple(members)
        self._load = load
        even = len({member.weight for member in members}) <= 1
        self._bounds = [] if even else list(accumulate(member.weight for member in members))

    def pick(
        self, passed: Collection[Endpoint], now: float, rng: random.Random, key: str | None = None
    ) -> Endpoint | None:
        """See Balancer.pick()."""
        members = self._members
        count = len(members)
        if not passed and count > 1 and not self._bounds:  # the usual case, by the shortest way
            first, second = int(rng.random() * count), int(rng.random() * (count - 1))
            one: Endpoint | None = members[first]
            other: Endpoint | None = members[second + (second >= first)]
        else:
            one = self._draw(passed, rng)
            other = None if one is None else self._draw({*passed, one}, rng)
        if one is None or other is None:
            return one
        # Equally loaded, as all are while they are idle, the first drawn is taken: so the weights rule then too.
        best = self._less(one, other, now)
        if best.penalty(now) > PENALISED and count > 2:
            drawn = [one, other]
            for _ in range(MORE):
                another = self._draw({*passed, *drawn}, rng)
                if another is None or best.penalty(now) <= PENALISED:
                    break
                drawn.append(another)
                best = self._less(best, another, now)
        return best

    def _less(self, one: Endpoint, other: Endpoint, now: float) -> Endpoint:
        """The less loaded of the two."""
        load = self._load
        if load is None:
            return other if other.load(now) < one.load(now) else one
        return other if load(other, now) < load(one, now) else one

    def _draw(self, passed: Collection[Endpoint], rng: random.Random) -> Endpoint | None:
        """One that is not passed over, drawn by weight."""
        members, bounds = self._members, self._bounds
        for _ in range(DRAWS):
            if not members:
                break
            drawn = rng.random()
            place = bisect_right(bounds, drawn * bounds[-1]) if bounds else int(drawn * len(members))
            member = members[min(place, len(members) - 1)]
            if member not in passed:
                return member
        left = [member for member in members if member not in passed]
        return rng.choices(left, [member.weight for member in left])[0] if left else None
