"""Deadline alone: the one that ends first wins, and what it cut is said to be cut by it."""

from __future__ import annotations

import math

import pytest

from resilient_http.call import Attempt, Call
from resilient_http.errors import CircuitOpen, DeadlineExceeded, Saturated
from resilient_http.policies.deadline import DeadlinePolicy
from resilient_http.ports.simulated import SimulatedFailure, SimulatedPort
from resilient_http.state.outcome import Fault
from tests.simulation.world import ended


def call_on(port, *, within=math.inf) -> Call:
    call = Call(port, "GET", started=port.now())
    call.bound(port.now() + within, within)
    call.enter("payments", None, "GET", repeatable=True, replayable=True)
    return call


def failing(error, *, after=0.0, fault=None):
    """Below the policy: one attempt that takes so long and raises."""

    async def proceed(call):
        attempt = Attempt(call, call.port.now())
        await call.port.sleep(after)
        attempt.fault = fault
        attempt.end(call.port.now(), error)
        raise error

    return proceed


def run(total, proceed, *, within=math.inf):
    port = SimulatedPort(None)
    call = call_on(port, within=within)
    return ended(port, DeadlinePolicy(total)(call, proceed))


@pytest.mark.parametrize(
    ("total", "within", "expires"), [(10.0, math.inf, 10.0), (10.0, 2.0, 2.0), (1.0, 2.0, 1.0), (None, 2.0, 2.0)]
)
def test_the_deadline_that_ends_first_wins(total, within, expires):
    async def proceed(call):
        return call.expires, call.budget, call.journal.budget

    assert run(total, proceed, within=within) == (expires, expires, expires)


def test_without_any_a_call_has_no_deadline():
    async def proceed(call):
        return call.expires, call.budget, call.journal.budget

    assert run(None, proceed) == (math.inf, math.inf, None)


def test_the_total_counts_from_the_start_of_the_call_and_not_of_the_hop():
    port = SimulatedPort(None)
    call = call_on(port)

    async def hop(call):
        await call.port.sleep(4.0)
        return call.expires

    async def two_hops():
        return [await DeadlinePolicy(10.0)(call, hop) for _ in range(2)]

    assert ended(port, two_hops()) == [10.0, 10.0]


def test_a_deadline_that_has_passed_sends_nothing():
    async def proceed(call):
        raise AssertionError("it was sent")

    with pytest.raises(DeadlineExceeded, match="nothing had been sent") as caught:
        run(10.0, proceed, within=0.0)
    assert caught.value.budget == 0.0


def test_what_the_deadline_cut_is_a_deadline_exceeded():
    error = SimulatedFailure(Fault.TIMEOUT)
    with pytest.raises(DeadlineExceeded) as caught:
        run(2.0, failing(error, after=2.0, fault=Fault.TIMEOUT))
    assert (caught.value.upstream, caught.value.budget) == ("payments", 2.0)
    assert caught.value.__cause__ is error
    assert caught.value.journal.attempts[0].duration == 2.0
    assert str(caught.value).startswith("payments: the deadline of 2 s passed after 2.000 s")


def test_a_wait_that_ends_a_hair_before_the_deadline_was_cut_by_it():
    with pytest.raises(DeadlineExceeded):
        run(2.0, failing(SimulatedFailure(Fault.TIMEOUT), after=1.997, fault=Fault.TIMEOUT))


def test_a_timeout_before_the_deadline_is_the_attempts_own():
    error = SimulatedFailure(Fault.TIMEOUT)
    with pytest.raises(SimulatedFailure) as caught:
        run(2.0, failing(error, after=1.9, fault=Fault.TIMEOUT))
    assert caught.value is error


@pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.UNREACHABLE, Fault.FOREIGN])
def test_what_failed_by_itself_passes_however_late(fault):
    error = SimulatedFailure(fault)
    with pytest.raises(SimulatedFailure) as caught:
        run(2.0, failing(error, after=2.0, fault=fault))
    assert caught.value is error


def test_a_wait_for_a_permit_that_the_deadline_ended_is_a_deadline_exceeded():
    with pytest.raises(DeadlineExceeded):
        run(2.0, failing(Saturated("payments: no permit", upstream="payments"), after=2.0))


@pytest.mark.parametrize("error", [Saturated("no permit"), CircuitOpen("open")])
def test_a_refusal_in_time_passes(error):
    with pytest.raises(type(error)):
        run(2.0, failing(error, after=0.1))


def test_a_response_passes_however_late():
    async def proceed(call):
        await call.port.sleep(5.0)
        return "response"

    assert run(2.0, proceed) == "response"


def test_a_cancellation_passes():
    with pytest.raises(KeyboardInterrupt):
        run(2.0, failing(KeyboardInterrupt(), after=3.0))
