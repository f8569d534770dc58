"""Plans: what they say is what the policies do."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_http import Settings, SettingsError, plan
from resilient_http.ports.simulated import SimulatedReply
from resilient_http.simulate.world import World
from resilient_http.state.outcome import Fault

ONE, THREE = ["http://n1"], ["http://n1", "http://n2", "http://n3"]


def planned(rate=100.0, endpoints=THREE, **own):
    return plan({"upstreams": {"payments": {"endpoints": endpoints, **own}}}, rate=rate).upstream("payments")


# Most requests, longest time


def test_the_defaults():
    own = planned()
    assert own.max_requests <= 4
    assert own.max_requests == 3
    assert own.worst_case == 10.0
    assert own.load_when_failing == pytest.approx(1.2, abs=0.01)
    assert own.tried_again == (4.0, 6.0)
    assert own.longest_rest == 72.0


POLICIES = [
    ({}, 3),
    ({"retry": None}, 1),
    ({"retry": {"max_attempts": 5}}, 5),
    ({"retry": {"observe": True}}, 1),
    ({"hedge": {"delay": 0.01}}, 3),
    ({"hedge": {"delay": 0.01}, "retry": {"max_attempts": 2}}, 2),
    ({"hedge": {"delay": 0.01}, "retry": {"observe": True}}, 2),
    ({"hedge": {"delay": 0.01, "observe": True}, "retry": {"max_attempts": 2}}, 2),
]


@pytest.mark.parametrize(("own", "requests"), POLICIES)
def test_a_call_that_always_fails_causes_just_so_many_requests(own, requests):
    assert planned(**own).max_requests == requests
    retry = own.get("retry", {})
    free = {**own, "circuit": None, "retry": None if retry is None else {**retry, "budget": None}}
    assert hostile(free, lambda attempt, now: (0.02, SimulatedReply(503)))[0] == requests


def hostile(own, respond):
    """Requests that one call made, and how long it took."""
    upstream = Settings(upstreams={"payments": {"endpoints": THREE, **own}}).upstreams["payments"]
    world = World("payments", upstream, respond)
    call, ended = world.open_call(world.upstreams[0]), []

    async def one():
        with suppress(Exception):
            await world.upstreams[0].pipeline.run(call)
        ended.append(world.port.now())

    world.port.spawn(one())
    world.port.run()
    return call.journal.sent, ended[0]


durations = st.floats(0.1, 5.0)


@settings(max_examples=60, deadline=None)
@given(
    st.none() | durations,
    durations,
    st.integers(1, 5),
    st.floats(0.1, 4.0),
    st.booleans(),
    st.sampled_from([0, 1, 3]),
)
def test_no_call_takes_longer_than_the_worst_case(total, attempt, attempts, max_wait, answers, retry_after):
    own = {
        "timeout": {"total": total, "attempt": min(attempt, total or attempt), "read": None},
        "retry": {"max_attempts": attempts, "max_wait": max_wait, "budget": None},
        "circuit": None,
    }
    limit = own["timeout"]["attempt"]

    def respond(attempt, now):
        reply = SimulatedReply(503, {"retry-after": str(retry_after)} if retry_after else {})
        return (0.99 * limit, reply) if answers else (math.inf, Fault.TIMEOUT)

    _, took = hostile(own, respond)
    assert took <= planned(**own).worst_case + 1e-9


def test_the_worst_case_is_not_much_worse_than_what_can_happen():
    own = {"timeout": {"total": None, "attempt": 2.0}, "retry": {"max_attempts": 3, "max_wait": 3.6, "budget": None}}
    asks = SimulatedReply(429, {"retry-after": "3"})
    _, took = hostile({**own, "circuit": None}, lambda attempt, now: (1.99, asks))
    worst = planned(**own).worst_case
    assert worst == pytest.approx(1.0 + 3 * 2.0 + 2 * 3.6)
    assert took > 0.8 * (worst - 1.0)  # nobody waits for a permit here


@pytest.mark.parametrize(
    ("own", "seconds"),
    [
        ({"retry": None}, 4.0),
        ({"retry": None, "rate_limit": {"rate": 1, "wait": 2.0}}, 6.0),
        ({"timeout": {"total": 1.5}}, 1.5),
        ({"timeout": {"total": None, "attempt": None}}, None),
        ({"timeout": {"total": None, "pool": None}}, None),
        ({"timeout": {"total": None}, "retry": {"max_attempts": 2, "statuses": [], "backoff": {"base": 0.5}}}, 7.5),
        ({"fallback": {"stale": {"wait": 0.1}}, "retry": None}, 4.1),
    ],
)
def test_worst_cases(own, seconds):
    assert planned(**own).worst_case == (None if seconds is None else pytest.approx(seconds))


# Circuits and budgets, as they really go


def test_the_only_node_that_refuses_opens_its_circuit_after_a_streak():
    own = planned(endpoints=ONE)
    assert own.opens_when_refused == pytest.approx(0.1, abs=0.05)
    assert 10 <= own.lost_when_refused <= 13
    slow = planned(rate=0.1, endpoints=ONE)
    assert slow.lost_when_refused <= 6  # while little is known, five in a row are enough


def test_one_that_hangs_is_found_out_when_attempts_have_waited():
    assert planned(endpoints=ONE).opens_when_hanging == pytest.approx(3.1, abs=0.1)
    impatient = planned(endpoints=ONE, timeout={"attempt": 0.5})
    assert impatient.opens_when_hanging == pytest.approx(0.6, abs=0.1)


def test_among_siblings_it_takes_longer_and_costs_less():
    own = planned()
    assert own.opens_when_refused > 1.0
    assert own.lost_when_refused < 11


def test_what_never_opens_says_so():
    own = planned(circuit=None)
    assert own.opens_when_refused is None
    assert own.opens_when_hanging is None
    assert own.tried_again is None
    assert own.longest_rest is None
    assert "never opens" in plan({"upstreams": {"payments": {"endpoints": THREE, "circuit": None}}}).as_table()


def test_rests_are_those_of_the_settings():
    own = planned(circuit={"open_for": 2.0, "max_open_for": 9.0, "jitter": 0.0})
    assert (own.tried_again, own.longest_rest) == ((2.0, 2.0), 9.0)


@pytest.mark.parametrize(
    ("own", "rate", "load"),
    [
        ({"retry": {"budget": None}}, 100.0, 3.0),
        ({"retry": None}, 100.0, 1.0),
        ({"retry": {"budget": {"ratio": 0.5, "floor": 0.0}}}, 100.0, 1.5),
        ({}, 0.1, 3.0),  # the floor: 0.3 a second
        ({}, 1.0, 1.5),
    ],
)
def test_repeats_are_what_the_budget_allows(own, rate, load):
    assert planned(rate=rate, **own).load_when_failing == pytest.approx(load, abs=0.05)


def test_the_first_call_is_refused_when_permits_and_queue_are_taken():
    refusal = planned(circuit=None, concurrency={"limit": 10, "queue": 5}).refused_when_hanging
    assert refusal.why == "Saturated"
    assert refusal.after == pytest.approx(0.15, abs=0.03)
    assert planned(timeout={"attempt": 0.3}).refused_when_hanging.why == "CircuitOpen"
    assert planned(rate=1.0, circuit=None).refused_when_hanging is None


# As a table, and as JSON


def test_everything_as_json_and_as_a_table():
    found = plan({"upstreams": {"payments": {"endpoints": THREE}, "geo": {"endpoints": ONE, "retry": None}}}, rate=50)
    told = json.loads(json.dumps(found.as_dict()))
    assert told["rate"] == 50
    assert told["upstreams"]["payments"]["worst_case"] == 10.0
    assert told["upstreams"]["geo"]["max_requests"] == 1
    head, _, *rows = found.as_table().splitlines()
    assert head.startswith("at 50 calls/s")
    assert [row.split()[0] for row in rows] == ["payments", "geo"]
    assert "1 request " in rows[1]


def test_the_same_settings_give_the_same_plan():
    assert planned().as_dict() == planned().as_dict()


def test_an_upstream_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(KeyError, match="no upstream 'paymnts'; known: payments"):
        plan({"upstreams": {"payments": {"endpoints": ONE}}}).upstream("paymnts")
    assert plan({}).as_table() == "no upstream is named in these settings"


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_rate_is_more_than_nothing(rate):
    with pytest.raises(SettingsError, match="rate"):
        plan({}, rate=rate)


def test_settings_that_are_wrong_are_refused():
    with pytest.raises(SettingsError, match="did you mean upstreams"):
        plan({"upstream": {}})
