"""Health checks, and nodes that ask to be left alone, on the virtual clock: what calls meet meanwhile."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from resilient_http.events import (
    CircuitClosed,
    CircuitOpened,
    EndpointHealthy,
    EndpointPaused,
    EndpointUnhealthy,
    Hub,
    Observed,
    PanicBegan,
    PanicEnded,
)
from resilient_http.ports.simulated import SimulatedReply
from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.state.outcome import Fault
from resilient_http.upstreams.checker import Checker
from tests.simulation.world import HANG, Answer, World, by_host

NODES = ("n1", "n2", "n3")
HEALTH = {"path": "/health", "interval": 1.0, "timeout": 0.5}


class Checked:
    """A world whose nodes are checked. `ill` says of a node what it answers to checks, and calls, at an instant."""

    def __init__(self, *, seconds: float, calls: Any = None, hosts=NODES, own: Any = None, **ill: Any) -> None:
        self.checks: list[tuple[str, float]] = []

        def answer(host):
            def of(attempt, now) -> Answer:
                if attempt.call.request != "http://payments/health":
                    return 200 if calls is None else calls(host, now)
                self.checks.append((host, now))
                return ill[host](now) if host in ill else 200

            return of

        own = {"balance": "weighted", **(own or {})}
        endpoints = [f"http://{host}" for host in hosts]
        answers = {host: answer(host) for host in NODES}
        self.world = World(by_host(**answers), endpoints=endpoints, health=HEALTH, **own)
        self.checker = Checker([self.world.upstream], Hub([self.world.events.append]), random.Random(1))
        self.world.port.spawn(self._beat(seconds))

    async def _beat(self, seconds: float) -> None:
        port = self.world.port
        while port.now() < seconds:
            works, wait = self.checker.due(port.now())
            for work in works:
                port.spawn(work(port), at=port.now())
            await port.sleep(min(wait, 0.05))

    def reached(self, made, *, after: float, before: float) -> Counter:
        return Counter(one.journal.attempts[-1].endpoint for one in made if after < one.at < before)


def ill_until(instant: float, answer: Answer = 503):
    return lambda now: answer if now < instant else 200


@pytest.mark.parametrize("answer", [503, 302, HANG, (0.001, Fault.UNREACHABLE), (0.6, 200)])
def test_a_node_that_answers_no_check_is_left_alone_and_used_again_when_it_does(answer):
    checked = Checked(seconds=20.0, n1=ill_until(10.0, answer))
    made = list(checked.world.traffic(calls=380, rate=20))
    assert all(one.good for one in made)
    (ill,) = checked.world.told(EndpointUnhealthy)
    (well,) = checked.world.told(EndpointHealthy)
    assert (ill.endpoint, well.endpoint) == ("http://n1", "http://n1")
    assert "http://n1" not in checked.reached(made, after=6.0, before=10.0)
    assert checked.reached(made, after=14.0, before=19.0)["http://n1"] > 25
    circuit = checked.world.endpoint("n1").circuit
    assert (circuit.current_state, circuit.evidence()[1]) == ("closed", -float("inf"))


def test_why_it_is_unhealthy_is_told():
    checked = Checked(seconds=6.0, n1=lambda now: 503, n2=lambda now: (0.6, 200))
    checked.world.port.run()
    told = {event.endpoint: event.why for event in checked.world.told(EndpointUnhealthy)}
    assert told == {"http://n1": "status 503", "http://n2": "SimulatedFailure"}
    status = checked.world.upstream.nodes.status(6.0)
    assert [(each["health"]["healthy"], each["out"]) for each in status] == [
        (False, True),
        (False, False),
        (True, False),
    ]


def test_a_good_check_closes_no_circuit_and_a_circuit_needs_none():
    def calls(host, now):
        return 503 if host == "n1" and now < 10.0 else 200

    own = {"circuit": {"open_for": 4.0, "max_open_for": 4.0, "jitter": 0}}
    checked = Checked(seconds=20.0, calls=calls, own=own)
    list(checked.world.traffic(calls=380, rate=20))
    opened, closed = checked.world.told(CircuitOpened), checked.world.told(CircuitClosed)
    assert opened[0].endpoint == "http://n1"
    assert [event.cause for event in closed] == ["probe"]
    assert checked.world.told(EndpointUnhealthy, EndpointHealthy) == []
    assert len(checked.checks) > 50


def test_a_circuit_closes_by_its_probes_although_checks_are_bad():
    def calls(host, now):
        return 503 if host == "n1" and now < 2.0 else 200

    own = {"circuit": {"open_for": 2.0, "max_open_for": 2.0, "jitter": 0}, "retry": None}
    checked = Checked(seconds=20.0, calls=calls, own=own, hosts=("n1",), n1=lambda now: 503)
    made = list(checked.world.traffic(calls=380, rate=20))
    assert [event.cause for event in checked.world.told(CircuitClosed)] == ["probe"]
    assert all(one.good for one in made if one.at > 5.0)  # and one alone is never left alone


def test_beyond_the_panic_share_all_are_used_again_which_is_told():
    checked = Checked(seconds=20.0, **{host: ill_until(10.0) for host in NODES})
    made = list(checked.world.traffic(calls=380, rate=20))
    assert checked.world.told(PanicBegan) == [PanicBegan("payments", 3, 3)]
    assert len(checked.world.told(PanicEnded)) == 1
    assert len(checked.reached(made, after=6.0, before=10.0)) == 3
    assert len(checked.world.told(EndpointHealthy)) == 3


def test_one_that_is_back_starts_slowly():
    own = {"balance": {"by": "weighted", "slow_start": 20.0}}
    checked = Checked(seconds=40.0, n1=ill_until(10.0), own=own)
    made = list(checked.world.traffic(calls=780, rate=20))
    (back,) = [one for one in checked.world.upstream.endpoints.members if one.host == "n1"]
    shares = [checked.reached(made, after=at, before=at + 6.0)["http://n1"] for at in (12.0, back.since + 20.0)]
    assert 0 < shares[0] < 20
    assert shares[1] == pytest.approx(40, abs=2)


def test_those_that_come_are_checked_soon_and_those_that_go_no_longer():
    checked = Checked(seconds=20.0, hosts=("n1", "n2"), n3=lambda now: 503)
    nodes = checked.world.upstream.nodes

    async def change():
        await checked.world.port.sleep(5.0)
        nodes.replace([EndpointSettings(url=f"http://{host}") for host in ("n2", "n3")], 5.0)

    checked.world.port.spawn(change())
    checked.world.port.run()
    at = {host: [now for one, now in checked.checks if one == host] for host in NODES}
    assert max(at["n1"]) <= 5.0
    assert 5.0 <= min(at["n3"]) <= 6.1
    assert [event.endpoint for event in checked.world.told(EndpointUnhealthy)] == ["http://n3"]


def test_one_that_hangs_delays_no_other():
    checked = Checked(seconds=20.0, n1=lambda now: HANG)
    checked.world.port.run()
    counts = Counter(host for host, _ in checked.checks)
    assert counts["n2"] >= 16
    assert counts["n3"] >= 16


@pytest.mark.parametrize(
    ("own", "reply", "healthy"),
    [
        ({"statuses": [204]}, SimulatedReply(204), True),
        ({"statuses": [204]}, SimulatedReply(200), False),
        ({"check": lambda response: response.body == b"up"}, SimulatedReply(503, body=b"up"), True),
        ({"check": lambda response: response.body == b"up"}, SimulatedReply(200, body=b"down"), False),
        ({"check": lambda response: response.nothing}, SimulatedReply(200), False),
    ],
)
def test_what_is_good_may_be_told(own, reply, healthy):
    world = World(by_host(n1=reply), health={**HEALTH, **own})
    checker = Checker([world.upstream], Hub(), random.Random(1))
    for now in (0.0, 1.0, 3.0, 5.0):
        works, _ = checker.due(now)
        for work in works:
            world.port.spawn(work(world.port), at=now)
        world.port.run()
    assert world.endpoint("n1").health.healthy is healthy
    assert world.endpoint("n1").health.in_a_row == 3


def test_others_may_be_checked_from_now_on():
    worlds = [World(by_host(n1=200), health=HEALTH) for _ in range(2)]
    checker = Checker([worlds[0].upstream], Hub(), random.Random(1))

    def checked(now):
        return {work.args[0] for work in checker.due(now)[0]}

    checker.due(0.0)
    assert checked(1.0) == {worlds[0].endpoint("n1")}
    checker.watch([worlds[1].upstream])
    checker.due(1.0)
    assert checked(2.0) == {worlds[1].endpoint("n1")}
    checker.watch([])
    assert checked(9.0) == set()


def test_what_ends_when_the_checker_is_over_counts_no_more():
    world = World(by_host(n1=503), health=HEALTH)
    checker = Checker([world.upstream], Hub(), random.Random(1))
    checker.due(0.0)
    works, _ = checker.due(1.0)
    checker.over = True
    world.port.spawn(works[0](world.port), at=1.0)
    world.port.run()
    assert world.endpoint("n1").health.in_a_row == 0


# Asking to be left alone


def asking(value: str, status: int = 200) -> SimulatedReply:
    return SimulatedReply(status, {"x-leave-alone": value})


def fleet(reply: SimulatedReply, **pauses: Any) -> World:
    nodes = {"endpoints": ["http://n1", "http://n2", "http://n3"], "balance": "weighted", "retry": None}
    return World(by_host(n1=reply, n2=200, n3=200), pauses={"header": "X-Leave-Alone", **pauses}, **nodes)


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_any_answer_may_ask_to_leave_its_endpoint_alone(status):
    world = fleet(asking("5", status))
    made = list(world.traffic(calls=200, rate=20))
    visits = [one.at for one in made if one.journal.attempts[-1].endpoint == "http://n1"]
    assert [later - earlier for earlier, later in pairwise(visits)] == pytest.approx([5.0], abs=0.2)
    assert world.told(EndpointPaused)[0] == EndpointPaused("payments", "http://n1", 5.0)
    assert made[0].status == status


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5.0),
        ("3600", 30.0),
        ("Thu, 01 Jan 1970 00:00:08 GMT", 7.98),
        ("0", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("soon", None),
        ("-5", None),
    ],
)
def test_it_is_written_as_retry_after_is_and_bounded(value, seconds):
    world = fleet(asking(value), endpoint=30.0)
    world.make()
    told = world.told(EndpointPaused)
    assert [event.seconds for event in told] == ([] if seconds is None else [pytest.approx(seconds)])


def test_without_the_setting_the_header_says_nothing():
    world = fleet(asking("5"), header=None)
    list(world.traffic(calls=30, rate=20))
    assert world.told(EndpointPaused) == []


def test_a_503_may_ask_in_both_ways_and_the_longer_one_holds():
    world = fleet(SimulatedReply(503, {"x-leave-alone": "9", "retry-after": "4"}))
    world.make()
    (reason,) = [each["reasons"] for each in world.upstream.nodes.status(0.02) if each["reasons"]]
    assert reason == {"paused": 9.0}


def test_asking_is_only_told_when_pauses_are_observed():
    world = fleet(asking("5"), observe=True)
    world.make()
    assert world.told(EndpointPaused) == []
    assert world.told(Observed) == [Observed("payments", "pauses", "pause http://n1 for 5 s")]
