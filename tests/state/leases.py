"""The shared bucket as plain Python: what the script of upstreams/shared_rates.py does in Redis.

tests/live/test_shared_rates.py compares the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from resilient_http.state.leased_bucket import Answer, Ask

AWAITED = 7.5
NEVER = -1e9


@dataclass(frozen=True)
class Part:
    held: int
    want: int
    seen: float
    served: float


class SharedBucket:
    """Args as those of the script."""

    def __init__(self, rate: float, burst: float, *, interval: float = 0.25, expires: float = 2.0) -> None:
        self.rate, self.burst = rate, burst
        self.fresh, self.expires = 2 * interval, expires
        self.forget()

    def forget(self) -> None:
        """As a Redis that starts anew."""
        self.level: float | None = None
        self.at: float | None = None
        self.crowd, self.until = 0, 0.0
        self.parts: dict[str, Part] = {}

    def lease(self, me: str, ask: Ask, now: float) -> Answer:
        had = self.parts.get(me, Part(0, 0, now, NEVER))
        others = [
            part for name, part in self.parts.items() if name != me and not now - part.seen > self.expires
        ]  # fmt: skip
        self.parts = {
            name: part for name, part in self.parts.items() if name == me or not now - part.seen > self.expires
        }
        claimants = [part for part in others if part.want > 0 and now - part.seen <= self.fresh]
        ahead = sum(part.served < had.served for part in claimants)
        unserved = max(0, min(now - had.served, self.expires))
        all_unserved = unserved + sum(max(0, min(now - part.served, self.expires)) for part in claimants)
        elsewhere = sum(part.held for part in others)

        level = self.level if self.level is not None else (0.0 if ask.known else self.burst)
        awaited = self.crowd if now < self.until else 0
        if ask.crowd > awaited:
            awaited = self.crowd = ask.crowd
            self.until = now + AWAITED
        passed = max(0.0, now - (self.at if self.at is not None else now))
        drip = passed * self.rate * min(1, (len(others) + 1) / max(1, awaited))
        level = max(level, min(level + drip, self.burst - elsewhere - had.held))
        if ask.spent > 0:
            level = max(level - ask.spent, min(level, 0) - 1)
        level = min(level + ask.back, self.burst - elsewhere - ask.held)

        granted, served = 0, had.served
        if ask.want > 0 and level >= 1 + ahead:
            share = unserved / max(all_unserved, 0.000001) if claimants else 1
            due = level * share
            granted = min(ask.want, max(1, math.floor(due)))
            served = now - (unserved * (due - granted) / max(due, granted) if granted < ask.want else 0)
            level -= granted
        self.level, self.at = level, now
        self.parts[me] = Part(ask.held + granted, ask.want - granted, now, served)
        return Answer(granted, len(others) + 1, len(claimants), level)

    def part(self, me: str) -> Part:
        return replace(self.parts[me])
