"""Timeout alone: each attempt's limits, and how a caller narrows them."""

from __future__ import annotations

import math
from decimal import Decimal
from types import SimpleNamespace

import pytest

from resilient_http.call import Attempt, Call
from resilient_http.policies.timeout import TimeoutPolicy
from resilient_http.ports.simulated import SimulatedPort
from tests.simulation.world import ended

PHASES = {"connect": 1.5, "read": 3.0, "write": 3.0, "pool": 1.0}


def limited(policy, *, within=math.inf, asked=None, at=0.0):
    """The attempt as the policy hands it on."""
    port = SimulatedPort(None)
    call = Call(port, "GET", started=0.0)
    call.bound(within, within)
    call.request = SimpleNamespace(extensions={} if asked is None else {"timeout": asked})
    attempt = Attempt(call, at)

    async def proceed(attempt):
        return attempt

    return ended(port, policy(attempt, proceed))


def test_an_attempt_has_the_time_of_the_settings():
    attempt = limited(TimeoutPolicy(3.0, PHASES), at=1.0)
    assert (attempt.expires, attempt.patience) == (4.0, 3.0)
    assert attempt.phases == PHASES
    assert not attempt.narrowed


def test_it_never_outlives_the_call():
    attempt = limited(TimeoutPolicy(3.0, PHASES), within=2.0, at=1.0)
    assert (attempt.expires, attempt.patience) == (2.0, 3.0)


def test_without_a_limit_it_has_the_time_of_the_call():
    assert limited(TimeoutPolicy(None, PHASES), within=7.0).expires == 7.0
    assert limited(TimeoutPolicy(None, PHASES)).expires == math.inf


def test_its_time_begins_when_its_endpoint_is_known():
    # Balance sets `started` anew after the wait for a permit.
    assert limited(TimeoutPolicy(3.0, PHASES), at=5.0).expires == 8.0


def test_a_caller_may_shorten_a_phase():
    attempt = limited(TimeoutPolicy(3.0, PHASES), asked={"connect": 5.0, "read": 0.5, "write": 3.0, "pool": None})
    assert attempt.phases == {**PHASES, "read": 0.5}
    assert attempt.narrowed


def test_what_a_caller_asks_may_be_any_number():
    phases = limited(TimeoutPolicy(3.0, PHASES), asked={"read": Decimal("0.5")}).phases
    assert (type(phases["read"]), phases["read"]) == (float, 0.5)


def test_a_caller_cannot_lengthen_one():
    attempt = limited(TimeoutPolicy(3.0, PHASES), asked=dict.fromkeys(PHASES, 60.0))
    assert attempt.phases == PHASES
    assert not attempt.narrowed


def test_a_caller_may_limit_a_phase_that_has_no_limit():
    attempt = limited(TimeoutPolicy(3.0, dict.fromkeys(PHASES)), asked={"read": 60.0})
    assert attempt.phases == {**dict.fromkeys(PHASES), "read": 60.0}
    assert attempt.narrowed


def test_one_attempt_does_not_narrow_the_next():
    policy = TimeoutPolicy(3.0, PHASES)
    limited(policy, asked={"read": 0.1})
    assert limited(policy).phases == PHASES


@pytest.mark.parametrize("asked", [None, {}, dict.fromkeys(PHASES)])
def test_a_caller_that_asks_for_nothing_gets_the_settings(asked):
    assert limited(TimeoutPolicy(3.0, PHASES), asked=asked).phases == PHASES


def test_a_call_that_is_not_http_has_no_timeout_of_the_callers():
    port = SimulatedPort(None)
    attempt = Attempt(Call(port, "GET", started=0.0), 0.0)

    async def proceed(attempt):
        return attempt.phases

    assert ended(port, TimeoutPolicy(3.0, PHASES)(attempt, proceed)) == PHASES
