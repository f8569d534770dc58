"""Membership: what an answer of discovery does to the nodes that are known.

Laws
    1. While nothing is known, the first answer is applied as it is.
    2. A source that fails, answers nothing, or garbage, changes nothing; what is known only grows old.
    3. Without confirmation at most half of the nodes go within `confirm_after` seconds, whether in one answer or in
       several. Those that are ejected now (state/ejections.py) count as gone too. One that has failed, so that its
       circuit is open, is not taken away by anybody: it counts neither as there nor as going.
    4. A node's going is confirmed when at least two answers leave it out, for `confirm_after` seconds without a break.
       Failures between them say nothing.
    5. An answer that takes more than that is held: as a whole, and told once. An answer that takes no node away is
       always applied.

    unknown -- an answer ---------------------------------->  known
    known   -- an answer that takes too many away --------->  held
    held    -- an answer that leaves them out once more --->  known (of it, when it is late enough)
    held    -- an answer that takes few away, or none ----->  known
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

Node = TypeVar("Node", bound=Hashable)


class Verdict(StrEnum):
    """What becomes of an answer."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Held(Generic[Node]):
    """An answer that is not believed yet.

    Attributes:
        since: Monotonic seconds at which the first such answer came.
        missing: The nodes that it takes away.
    """

    since: float
    missing: frozenset[Node]


class Membership(Generic[Node]):
    """The nodes of an upstream as its source says, and how far that is believed. Thread-safe.

    Args:
        confirm_after: Seconds for which a node must be left out of answers until it is believed to be gone; None
            believes every answer.

    Attributes:
        confirm_after: The same; it may be set.
        held: The answer that waits for confirmation, or None.
        failing: Why the source fails now, or None.
        failing_since: Monotonic seconds at which that began, or None.
        good_at: Monotonic seconds of the newest answer that was believed, or None.
    """

    def __init__(self, confirm_after: float | None) -> None:
        self.held: Held[Node] | None = None
        self.failing: str | None = None
        self.failing_since: float | None = None
        self.good_at: float | None = None
        self.confirm_after = confirm_after
        self._facts: Mapping[Node, Any] | None = None
        self._missing: dict[Node, float] = {}  # since when answers leave it out
        self._left: dict[Node, float] = {}  # when it was taken away, unconfirmed
        self._lock = threading.Lock()

    def answer(
        self,
        found: Mapping[Node, Any],
        now: float,
        *,
        out: Collection[Node] = (),
        failed: Collection[Node] = (),
    ) -> Verdict:
        """What becomes of a good answer.

        Args:
            found: Each node to what else is told of it (its weight, say). At least one.
            now: Monotonic seconds.
            out: Nodes that are ejected now.
            failed: Nodes whose circuits have opened on failures.
        """
        if not found:
            message = "an answer without nodes is a failure"
            raise ValueError(message)
        with self._lock:
            before = set(self._facts or ())
            missing = before - set(found)
            self._missing = {node: self._missing.get(node, now) for node in missing}
            if self._takes_too_many(before, missing, set(out) & before, set(failed), now):
                since = now if self.held is None else self.held.since
                self.held = Held(since, frozenset(missing))
                return Verdict.HELD
            self.held, self.good_at = None, now
            if self.confirm_after is not None:
                self._left |= {node: now for node in missing - set(failed) if not self._is_confirmed(node, now)}
            self._missing = {}
            if self._facts == found:
                return Verdict.UNCHANGED
            self._facts = dict(found)
            return Verdict.APPLIED

    def fail(self, why: str, now: float) -> bool:
        """The source failed, or answered nothing or garbage. Whether that is new."""
        with self._lock:
            self.failing = why
            if self.failing_since is not None:
                return False
            self.failing_since = now
            return True

    def recover(self, now: float) -> float | None:
        """The source answers. For how long it had failed, or None when it had not."""
        with self._lock:
            since, self.failing_since, self.failing = self.failing_since, None, None
            return None if since is None else now - since

    def age(self, now: float) -> float:
        """Seconds since the newest answer that was believed; infinity where there was none."""
        return math.inf if self.good_at is None else now - self.good_at

    # The lock is held

    def _takes_too_many(
        self, before: set[Node], missing: set[Node], out: set[Node], failed: set[Node], now: float
    ) -> bool:
        if not missing or self.confirm_after is None:
            return False
        since = now - self.confirm_after
        self._left = {node: at for node, at in self._left.items() if at > since and node not in before}
        confirmed = {node for node in missing if self._is_confirmed(node, now)}
        there = (before | self._left.keys()) - failed - confirmed
        going = ((missing | out) & there) | (self._left.keys() - failed)
        return bool(missing & there) and 2 * len(going) > len(there)

    def _is_confirmed(self, node: Node, now: float) -> bool:
        return self.confirm_after is not None and now - self._missing.get(node, now) >= self.confirm_after
