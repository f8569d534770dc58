"""Outcome: what one attempt says about its endpoint.

answer                                                  counts as
-------------------------------------------------------  ------------------------------------------
below 500, and 501                                      success
408, 429                                                neutral
500                                                     error: for the rate, not for the streak
502, 503, 504, other 5xx                                failure
unreachable, broken off, TLS failure, timeout, silent   unanswered: a failure without an answer
cut short before it was silent, cancelled, closed early neutral
raised by a guarded function                            failure
while we ourselves stalled or lacked resources          neutral

OutcomeRules holds what a user has changed of it, and the numbers of "silent".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum


class Fault(Enum):
    """Why an attempt ended without a whole response."""

    UNREACHABLE = "unreachable"  # refused, unresolvable, connect timeout or other failure to connect
    UNTRUSTED = "untrusted"  # the certificate did not verify: repeating cannot help
    TIMEOUT = "timeout"
    BROKEN = "broken off"  # reset, closed early, malformed answer
    LOCAL = "lack of local resources"  # no file descriptors, no ports, no connection in the pool
    INVALID = "invalid request"  # nothing that a server could answer
    RAISED = "raised"  # by a guarded function
    FOREIGN = "foreign error"  # raised by code of the user's: a hook, a body generator, a mock
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """What an attempt counts as. See the table of this module."""

    SUCCESS = "success"
    ERROR = "error"
    FAILURE = "failure"
    UNANSWERED = "unanswered"
    NEUTRAL = "neutral"


# For where each attempt passes: it takes ten times as long to have them from their class.
SUCCESS, NEUTRAL, UNANSWERED = Outcome.SUCCESS, Outcome.NEUTRAL, Outcome.UNANSWERED
FAILED = frozenset({Outcome.ERROR, Outcome.FAILURE, Outcome.UNANSWERED})
_UNANSWERED = frozenset({Fault.UNREACHABLE, Fault.UNTRUSTED, Fault.TIMEOUT, Fault.BROKEN})


@dataclass(frozen=True, slots=True)
class OutcomeRules:
    """What of the table is a setting. Meaning, ranges and reasons: see CircuitSettings and SilentSettings.

    Attributes:
        statuses: What answers with these statuses count as, over the table.
        silent_after: Seconds without an answer after which an attempt is silent while the usual p95 is unknown.
        silent_least: Seconds without an answer below which none is silent.
        silent_factor: How many times the usual p95 is too long.
        silent_in_a_row: How many in a row that each waited `silent_least` are silent together.
    """

    statuses: Mapping[int, Outcome] = field(default_factory=dict)
    silent_after: float = 1.0
    silent_least: float = 0.25
    silent_factor: float = 4.0
    silent_in_a_row: int = 10

    def judge_status(self, status: int) -> Outcome:
        """What a complete answer with this status counts as."""
        return self.statuses.get(status) or judge_status(status)


def judge_status(status: int) -> Outcome:
    """What a complete answer with this status counts as by the table."""
    if status < 400:
        return SUCCESS
    if status < 500:
        return Outcome.NEUTRAL if status in (408, 429) else SUCCESS
    if status == 501:
        return SUCCESS
    return Outcome.ERROR if status == 500 else Outcome.FAILURE


def judge_fault(fault: Fault, *, stalled: bool) -> Outcome:
    """What an attempt without a whole answer counts as, unless it was cut short (see Endpoint.judge_cut)."""
    if fault is Fault.RAISED and not stalled:
        return Outcome.FAILURE
    if stalled or fault not in _UNANSWERED:
        return Outcome.NEUTRAL
    return Outcome.UNANSWERED
