"""Routes on a virtual clock: what their calls go by for themselves, and what they share with all others."""

from __future__ import annotations

from resilient_http.errors import CircuitOpen, DeadlineExceeded
from tests.simulation.world import HANG, World, script

REPORT, CHARGE = "GET /reports/{id}", "POST /charges"
ROUTES = {
    REPORT: {"timeout": {"total": 30.0, "attempt": 20.0}, "retry": None},
    CHARGE: {"retry": {"max_attempts": 2}},
}


def world(respond, **own):
    return World(respond, routes=ROUTES, **own)


def test_a_route_has_time_limits_of_its_own():
    assert world(script(HANG)).make(route=REPORT).took == 20.0
    hanging = world(script(HANG), timeout={"total": 2.0, "attempt": 1.5}).make()
    assert isinstance(hanging.error, DeadlineExceeded)
    assert hanging.took == 2.0


def test_a_route_is_repeated_as_it_says_and_others_as_the_upstream_says():
    for route, attempts in [(None, 3), (REPORT, 1), (CHARGE, 2)]:
        assert len(world(script(503)).make(route=route).journal.attempts) == attempts


def test_the_circuit_is_the_upstreams():
    failing = world(script(503))
    for _ in range(10):
        failing.make(route=REPORT)
    assert isinstance(failing.make().error, CircuitOpen)


def test_the_budget_is_the_upstreams():
    failing = world(script(503), circuit=None, retry={"budget": {"ratio": 0.0, "floor": 0.001}})
    made = [len(failing.make(route=route).journal.attempts) for route in (None, CHARGE, CHARGE, None)]
    assert made == [3, 2, 1, 1]  # three tokens at the start, whoever takes them


def test_repeats_that_only_a_route_makes_have_a_budget_all_the_same():
    failing = world(script(503), circuit=None, retry=None)
    made = [len(failing.make(route=CHARGE).journal.attempts) for _ in range(6)]
    assert made[:3] == [2, 2, 2]
    assert made[-1] == 1
