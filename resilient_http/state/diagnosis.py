"""Diagnosis: whether an endpoint is failing, or slow, by what its newest attempts say.

Laws
    1. Failing is, whichever comes first: a share of the newest attempts failed (`failure_rate`, of at least
       `min_calls`); so many failed in a row (`streak`, or `quiet_streak` while fewer than `min_calls` are known); so
       many failed within `window_span`, however many succeeded (`failures`); a share of them was slow (`slow_rate`).
    2. Only a failure, or a slow attempt, makes it failing. An error (500) counts for the shares, not for the streak.
    3. Not thread-safe: its owner has the lock.

Source of the rules: `failure_rate` and slow calls are resilience4j's, `streak` is pybreaker's and Envoy's, `failures`
is nginx's (max_fails in fail_timeout).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from resilient_http.state.outcome import Outcome
from resilient_http.state.window import Window


@dataclass(frozen=True, slots=True)
class CircuitRules:
    """The numbers of a circuit. Their meaning, ranges and reasons: see CircuitSettings.

    Attributes:
        slow_after: Seconds above which an attempt is slow; infinity for never.
        slow_rate: Share of slow attempts that opens the circuit.
    """

    failure_rate: float | None = 0.5
    min_calls: int = 20
    window: int = 100
    window_span: float = 30.0
    streak: int | None = 10
    quiet_streak: int | None = 5
    failures: int | None = None
    slow_after: float = math.inf
    slow_rate: float = 1.0
    open_for: float = 5.0
    max_open_for: float = 60.0
    jitter: float = 0.2
    calm_after: float = 60.0
    probes: int = 1
    successes: int = 2
    lease: float = 10.0
    observe: bool = False


class Cause(StrEnum):
    """Why a circuit opened, or closed again."""

    NONE = ""
    RATE = "failure rate"
    STREAK = "failures in a row"
    FAILURES = "number of failures"
    SLOW = "slow calls"
    PROBE = "probe"
    HAND = "by hand"
    OTHERS = "other processes"


SLOW = Cause.SLOW  # as outcome.SUCCESS


class Diagnosis:
    """Counts the attempts at an endpoint, and says when they are too bad.

    Args:
        rules: What is too bad.

    Attributes:
        window: The newest attempts.
        streak: Failures in a row.
    """

    __slots__ = ("_failures", "_rules", "streak", "window")

    def __init__(self, rules: CircuitRules) -> None:
        self._rules = rules
        self.window = Window(rules.window, rules.window_span)
        self.streak = 0
        self._failures: deque[float] = deque(maxlen=rules.failures or 0)  # when the newest ones were

    def add(self, now: float, outcome: Outcome, *, slow: bool = False) -> Cause:
        """Count an attempt that was not neutral. Why it is failing now, or Cause.NONE."""
        failed = outcome is not Outcome.SUCCESS
        self.window.add(now, failed, slow)
        if not failed:
            self.streak = 0
            return self._judge(now, in_a_row=False) if slow else Cause.NONE
        in_a_row = outcome is not Outcome.ERROR
        self.streak += in_a_row
        self._failures.append(now)
        return self._judge(now, in_a_row=in_a_row, failed=True)

    def succeed(self, instants: Sequence[float]) -> None:
        """Count attempts that were good and quick, the oldest first: add() without what cannot follow from them."""
        self.streak = 0
        self.window.add_good(instants)

    def adjust(self, rules: CircuitRules) -> None:
        """Go by other rules from now on, with what is known."""
        self._rules = rules
        self.window.adjust(rules.window, rules.window_span)
        self._failures = deque(self._failures, maxlen=rules.failures or 0)

    def clear(self) -> None:
        """Forget everything."""
        self.window.clear()
        self.streak = 0
        self._failures.clear()

    def _judge(self, now: float, *, in_a_row: bool, failed: bool = False) -> Cause:
        rules = self._rules
        known, failures, slow = self.window.count(now)
        busy = known >= rules.min_calls
        if failed and busy and rules.failure_rate is not None and failures >= rules.failure_rate * known:
            return Cause.RATE
        limit = rules.streak if busy else rules.quiet_streak
        if in_a_row and limit is not None and self.streak >= limit:
            return Cause.STREAK
        newest = self._failures
        if failed and rules.failures == len(newest) and newest[0] >= now - rules.window_span:
            return Cause.FAILURES
        if busy and slow and slow >= rules.slow_rate * known:
            return Cause.SLOW
        return Cause.NONE
