"""The circuit's settings through the whole pipeline: slow calls, outcomes, silence, and observing."""

from __future__ import annotations

import pytest

from resilient_http.errors import CircuitOpen
from resilient_http.events import CircuitClosed, CircuitOpened, Observed
from resilient_http.state.outcome import Fault
from tests.simulation.world import HANG, REFUSE, World, script

ALONE = {"retry": None}


def circuit_of(world, host="n1"):
    return world.endpoint(host).circuit


def test_an_endpoint_that_is_slow_is_not_called_any_more():
    slow_call = {"duration": 0.5, "rate": 0.5}
    world = World(script((0.6, 200)), circuit={"slow_call": slow_call, "min_calls": 10}, **ALONE)
    assert [world.make().status for _ in range(10)] == [200] * 10
    assert isinstance(world.make().error, CircuitOpen)
    (opened,) = world.told(CircuitOpened)
    assert opened.cause == "slow calls"


def test_it_is_called_however_slow_by_default():
    world = World(script((2.0, 200)), **ALONE)
    assert [world.make().status for _ in range(50)] == [200] * 50


def test_a_user_says_what_an_answer_counts_as():
    outcomes = {500: "success", 429: "failure", 503: "neutral", 404: "error"}
    for status, outcome in outcomes.items():
        world = World(script(status), circuit={"outcomes": outcomes}, **ALONE)
        assert world.make().journal.newest.outcome == outcome
    world = World(script(502), circuit={"outcomes": outcomes}, **ALONE)
    assert world.make().journal.newest.outcome == "failure"


def test_a_user_says_when_a_cut_attempt_was_silent():
    for silent, outcome in [({}, "neutral"), ({"after": 0.3}, "unanswered"), ({"in_a_row": 1}, "unanswered")]:
        world = World(script(HANG), circuit={"silent": silent}, **ALONE)
        assert world.make(within=0.4).journal.newest.outcome == outcome
    world = World(script(HANG), circuit={"silent": {"in_a_row": 1, "least": 0.5}}, **ALONE)
    assert world.make(within=0.4).journal.newest.outcome == "neutral"


def test_the_factor_of_silence_is_that_of_the_settings():
    for factor, outcome in [(4.0, "unanswered"), (9.0, "neutral")]:
        answers = [(0.1, 200)] * 50 + [HANG]
        world = World(script(*answers), circuit={"silent": {"factor": factor}}, **ALONE)
        for _ in range(50):
            world.make()
        assert world.make(within=0.6).journal.newest.outcome == outcome


# Observing


def test_an_observing_circuit_lets_every_call_through_and_says_what_it_would_have_done():
    world = World(script(REFUSE), circuit={"observe": True}, **ALONE)
    made = [world.make() for _ in range(12)]

    assert {entry.fault for one in made for entry in one.journal.attempts} == {Fault.UNREACHABLE}
    assert [one.journal.notes for one in made[:5]] == [()] * 5
    (note,) = made[5].journal.notes
    assert note.startswith("circuit (observed): would not call http://n1: its circuit is open; next probe in ")
    observed = world.told(Observed)
    assert len(observed) == 7
    assert (observed[0].upstream, observed[0].policy) == ("payments", "circuit")
    assert observed[0].would in note
    status = world.upstream.status(world.port.now())["endpoints"][0]["circuit"]
    assert (status["state"], status["observed"]) == ("open", 7)


def test_an_observing_circuit_closes_again_by_its_probes():
    world = World(script(*[REFUSE] * 8, 200), circuit={"observe": True, "open_for": 1.0}, **ALONE)
    for _ in range(8):
        world.make()
    for later in (2.0, 2.1):
        world.spawn(at=world.port.now() + later)
    world.port.run()
    (closed,) = world.told(CircuitClosed)
    assert closed.cause == "probe"
    assert len(world.told(Observed)) == 3


def test_nothing_is_counted_as_observed_by_default():
    world = World(script(REFUSE), **ALONE)
    for _ in range(12):
        world.make()
    assert world.told(Observed) == []
    assert world.upstream.status(0.0)["endpoints"][0]["circuit"]["observed"] is None


def test_calls_go_on_to_an_endpoint_that_an_observing_circuit_would_spare():
    for observe in (True, False):
        world = World(script(200), endpoints=["http://n1", "http://n2"], circuit={"observe": observe})
        circuit_of(world).open()
        sent = sum(world.make().journal.newest.endpoint == "http://n1" for _ in range(30))
        assert (sent > 0) == observe


@pytest.mark.parametrize("observe", [True, False])
def test_a_person_forces_it_open_either_way(observe):
    world = World(script(200), circuit={"observe": observe}, **ALONE)
    circuit_of(world).force_open()
    assert isinstance(world.make().error, CircuitOpen)


# Nginx's rule and resilience4j's, as the settings say them (docs/circuit.md)


NGINX = {
    "failure_rate": None, "streak": None, "quiet_streak": None, "failures": 3, "window_span": 10.0, "open_for": 10.0,
    "max_open_for": 10.0, "jitter": 0.0, "successes": 1, "lease": 10.0,
    "outcomes": dict.fromkeys((500, 502, 503, 504), "success"),
}  # fmt: skip
RESILIENCE4J = {
    "failure_rate": 0.5, "streak": None, "quiet_streak": None, "min_calls": 100, "window": 100, "window_span": 604800,
    "slow_call": {"duration": 60.0, "rate": 1.0}, "open_for": 60.0, "max_open_for": 60.0, "jitter": 0.0,
    "probes": 10, "successes": 10, "outcomes": dict.fromkeys((429, 408), "success"),
}  # fmt: skip


def opens_after(rules, *answers):
    world = World(script(*answers), circuit=rules, **ALONE)
    for number in range(1, 400):
        if isinstance(world.make().error, CircuitOpen):
            return number - 1
    return None


@pytest.mark.parametrize(
    ("answers", "nginx", "resilience4j"),
    [
        ([REFUSE], 3, 100),
        ([200, 200, REFUSE] * 200, 9, None),
        ([200, REFUSE] * 200, 6, 100),
        ([503], None, 100),
        ([(0.02, 200)], None, None),
    ],
)
def test_both_rules_side_by_side(answers, nginx, resilience4j):
    assert opens_after(NGINX, *answers) == nginx
    assert opens_after(RESILIENCE4J, *answers) == resilience4j
