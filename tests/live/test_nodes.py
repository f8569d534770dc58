"""Three real nodes under steady calls: one is killed, or hangs, and comes back; the calls hardly notice.

The numbers are chosen for a busy machine of two cores. Nodes take 0.2 s, so that what the machine adds to the slowest
calls is small beside what twice that is. An attempt may take 1.5 s, longer than such a machine stands still. There are
100 calls a second, not 200: as many are under way at the nodes as with 50 ms and 400 a second.
`benchmarks/failover.py` does it at 200. A run in which even the callers came too late says nothing, and is done again.
"""

from __future__ import annotations

import pytest

from tests.live.failover import KINDS, OUTAGES, Outcome, Plan, fail_over, p

PLAN = Plan(rate=100, takes=0.2, before=3.0, down=5.0, after=4.5, attempt=1.5, open_for=1.0, slow_start=1.0)
TRIES = 3
LATE = 0.3  # seconds: then it was the machine
JITTER = 1.2
MARGIN = 1.0  # seconds: two probes, and RUN calls


def quiet_run(kind: str, outage: str) -> Outcome:
    """One that the machine did not disturb; or the last one."""
    for _ in range(TRIES):
        outcome = fail_over(kind, outage, PLAN)
        if max(call.at - call.due for call in outcome.calls) < LATE:
            break
    return outcome


@pytest.mark.timeout(150)
@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_call_fails_when_a_node_does_and_it_is_used_again_when_it_is_back(kind, outage):
    outcome = quiet_run(kind, outage)

    assert outcome.failed == []
    assert max(call.attempts for call in outcome.calls) <= 2
    assert p(0.99, outcome.settled) < 2 * p(0.99, outcome.before)
    assert outcome.back_in is not None
    assert outcome.back_in < JITTER * PLAN.open_for + PLAN.slow_start + MARGIN
    # Few calls meet the node that is down at all: those under way, those until it is found out, and probes.
    assert sum(call.attempts > 1 for call in outcome.calls) < 40
