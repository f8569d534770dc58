"""Injected faults through the whole pipeline: circuits, repeats, hedges and deadlines see them as real ones."""

from __future__ import annotations

import math

import pytest

from resilient_http.errors import CircuitOpen, DeadlineExceeded
from resilient_http.events import CircuitOpened, FaultInjected
from resilient_http.ports.simulated import SimulatedFailure, SimulatedReply
from resilient_http.state.chaos import FaultRules, Order
from resilient_http.state.outcome import Fault
from tests.simulation.world import World, script

ALLOWED = {"chaos": {"allowed": ["payments"], "key": "k" * 16}}


def world(chaos, *answers, **own):
    return World(script(*(answers or (200,))), root=ALLOWED, chaos={"lasts": 60, **chaos}, **own)


def test_without_a_section_it_is_not_in_the_pipeline():
    assert "chaos" not in World(script(200)).upstream.pipeline.order["attempt"]
    assert world({"error": 503}).upstream.pipeline.order["attempt"][-1] == "chaos"


def test_an_error_is_answered_without_asking_the_endpoint_and_is_repeated():
    asked = []
    own = World(
        lambda attempt, now: (asked.append(now), (0.01, SimulatedReply(200)))[1],
        root=ALLOWED,
        chaos={"lasts": 60, "error": {"status": 503, "headers": {"retry-after": "0"}}},
    )
    made = own.make()
    assert (made.status, asked, len(made.journal.attempts)) == (503, [], 3)
    assert made.journal.notes[0] == "chaos: 503 injected (attempt 1, by settings)"
    assert [(event.number, event.fault, event.by) for event in own.told(FaultInjected)] == [
        (number, "503 injected", "settings") for number in (1, 2, 3)
    ]
    status = own.upstream.status(own.port.now())["chaos"]
    assert (status["kinds"], status["injected"]) == (["error"], {"error": 3})


def test_errors_open_the_circuit():
    own = world({"error": 503}, retry=None)
    for _ in range(20):
        own.make()
    assert len(own.told(CircuitOpened)) == 1
    assert isinstance(own.make().error, CircuitOpen)


def test_latency_counts_against_the_timeout_of_the_attempt_and_the_deadline():
    made = world({"latency": 5.0}, timeout={"total": 2.5, "attempt": 1.0, "read": 1.0}).make()
    assert isinstance(made.error, DeadlineExceeded)
    assert made.took == pytest.approx(2.5, abs=0.01)
    assert [entry.fault for entry in made.journal.attempts][:2] == [Fault.TIMEOUT, Fault.TIMEOUT]


def test_a_little_latency_makes_a_call_late_and_no_more():
    made = world({"latency": [0.3, 0.4]}).make()
    assert made.status == 200
    assert 0.3 <= made.took <= 0.45


def test_latency_is_cut_by_the_read_timeout_and_was_sent():
    own = world({"latency": 5.0}, timeout={"total": 10, "attempt": 3, "read": 0.5}, retry=None)
    made = own.make("POST")
    assert made.took == pytest.approx(0.5)
    assert made.journal.last.sent


def test_a_post_is_repeated_after_an_abort_before_sending_and_not_after_one_behind_it():
    before = world({"abort": "before"}).make("POST")
    after = world({"abort": "after"}).make("POST")
    assert [entry.sent for entry in before.journal.attempts] == [False] * 3
    assert [(entry.sent, entry.fault) for entry in after.journal.attempts] == [(True, Fault.BROKEN)]
    assert isinstance(after.error, SimulatedFailure)
    assert after.journal.last.outcome == "unanswered"


def test_a_body_drips():
    body = SimulatedReply(200, {}, b"x" * 1000)
    assert world({"drip": 2000.0}, body).make().took == pytest.approx(0.52)
    made = world({"drip": 100.0}, body, retry=None, timeout={"attempt": 1.0}).make()
    assert (made.journal.last.fault, made.took) == (Fault.TIMEOUT, pytest.approx(1.0))


def test_a_hedge_wins_against_injected_latency():
    own = world(
        {"latency": {"max": 2.0, "share": 0.5}, "seed": 5}, hedge={"delay": 0.1}, retry={"budget": {"floor": 100.0}}
    )
    took = [own.make().took for _ in range(20)]
    # Half of the hedges are late as well; then both are.
    assert sum(0.1 < each < 0.2 for each in took) >= 3
    assert own.upstream.status(own.port.now())["hedges"]["won"] >= 3


def test_it_is_over_at_its_end():
    own = world({"error": 503}, retry=None)
    ends = own.upstream.chaos[None].ends
    before, after = own.spawn(at=ends - 1.0), own.spawn(at=ends + 1.0)
    own.port.run()
    assert (before.status, after.status) == (503, 200)
    assert own.upstream.status(ends + 1)["chaos"]["ends_in"] == 0.0


def test_a_route_has_faults_of_its_own():
    own = World(
        script(200),
        root=ALLOWED,
        retry=None,
        routes={"GET /slow": {"chaos": {"error": 500, "lasts": 60}}, "GET /calm": {}},
    )
    assert own.make(route="GET /slow").status == 500
    assert own.make(route="GET /calm").status == 200
    assert own.make().status == 200
    assert list(own.upstream.status(0.0)["chaos"]["routes"]) == ["GET /slow"]


def test_a_route_may_be_left_alone():
    own = world({"error": 500}, retry=None, routes={"GET /calm": {"chaos": None}, "GET /same": {}})
    assert own.make(route="GET /calm").status == 200
    assert own.make(route="GET /same").status == 500
    assert own.upstream.chaos["GET /same"] is own.upstream.chaos[None]


def test_an_order_of_the_inbound_request_goes_before_the_settings():
    own = World(script(200), root=ALLOWED, retry=None, chaos={"by_header": True})
    order = Order("payments", math.inf, FaultRules(status=418))

    def make(order):
        call = own.open_call()
        call.chaos = order
        results = []

        async def run():
            results.append(await own.upstream.pipeline.run(call))

        own.port.spawn(run(), at=own.port.now())
        own.port.run()
        return results[0].status_code, call.journal.notes

    assert make(order) == (418, ("chaos: 418 injected (attempt 1, by header)",))
    assert make(None) == (200, ())
    assert make(Order("offers", math.inf, FaultRules(status=418))) == (200, ())
