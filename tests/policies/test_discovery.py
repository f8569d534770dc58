"""Discovery alone: who waits for the first answer, and for how long, on the virtual clock."""

from __future__ import annotations

import math

import pytest

from resilient_http.call import Call
from resilient_http.errors import Cancelled, NoEndpoint
from resilient_http.policies.discovery import DiscoveryPolicy
from resilient_http.ports.simulated import SimulatedPort
from resilient_http.scope import Cancellation
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.endpoints import Endpoints


class Search:
    """Stands in for what finds the nodes."""

    def __init__(self, port, *, patient_for=3.0):
        self.running = False
        self.patient_until = math.inf
        self._port, self._patient_for = port, patient_for
        self.begun = 0

    def begin(self):
        if self.running:
            return
        self.begun += 1
        self.running = True
        self.patient_until = self._port.now() + self._patient_for

    def refusal(self, now):
        return "payments has no endpoint: nobody knows", 0.5


class World:
    def __init__(self, *members, total=10.0, patient_for=3.0):
        self.port = SimulatedPort(None)
        self.endpoints = Endpoints(members)
        self.search = Search(self.port, patient_for=patient_for)
        self.policy = DiscoveryPolicy(self.endpoints, self.search, total)
        self.ended = []

    def call(self, *, at=0.0, within=math.inf, secure=False, cancellation=None):
        async def whole():
            call = Call(self.port, "GET", started=self.port.now())
            call.bound(self.port.now() + within, within)
            call.upstream, call.secure, call.cancellation = "payments", secure, cancellation
            try:
                answer = await self.policy(call, proceed)
            except Exception as exc:  # noqa: BLE001 - the test looks at it
                answer = exc
            self.ended.append((self.port.now(), answer))

        async def proceed(call):
            return "went"

        self.port.spawn(whole(), at=at)

    def answer(self, *members, at):
        async def replace():
            self.endpoints.replace(members, self.port.now())

        self.port.spawn(replace(), at=at)

    def run(self):
        self.port.run()
        return self.ended


def node(scheme="http"):
    return Endpoint(scheme, "n1", 8080)


def test_a_call_that_knows_nodes_goes_at_once_and_has_them_searched_for():
    world = World(node())
    world.call()
    world.call()
    assert world.run() == [(0.0, "went"), (0.0, "went")]
    assert world.search.begun == 1


def test_it_begins_anew_after_it_has_ended():
    world = World(node())
    world.call()
    world.run()
    world.search.running = False
    world.call()
    world.run()
    assert world.search.begun == 2


def test_first_calls_wait_for_the_first_answer_all_of_them():
    world = World()
    for i in range(200):
        world.call(at=i / 1000)
    world.answer(node(), at=0.7)
    ended = world.run()
    assert [answer for _, answer in ended] == ["went"] * 200
    assert all(0.7 <= at <= 0.76 for at, _ in ended)


def test_a_call_waits_no_longer_than_its_deadline_and_is_told_why():
    world = World()
    world.call(within=0.5)
    ((at, error),) = world.run()
    assert 0.4 < at < 0.5
    assert isinstance(error, NoEndpoint)
    assert (str(error), error.upstream, error.retry_in) == ("payments has no endpoint: nobody knows", "payments", 0.5)


def test_the_upstreams_own_total_bounds_it_too():
    world = World(total=0.3)
    world.call()
    ((at, error),) = world.run()
    assert at < 0.3
    assert isinstance(error, NoEndpoint)


def test_without_a_deadline_it_is_bounded_all_the_same_and_later_calls_do_not_wait():
    world = World(total=None, patient_for=3.0)
    world.call()
    world.call(at=2.0)
    world.call(at=60.0)
    ended = world.run()
    assert [round(at, 2) for at, _ in ended] == [2.98, 2.98, 60.0]
    assert all(isinstance(error, NoEndpoint) for _, error in ended)


def test_a_late_answer_lets_the_next_call_go():
    world = World()
    world.call()
    world.answer(node(), at=10.0)
    world.call(at=11.0)
    assert world.run()[-1] == (11.0, "went")


def test_a_caller_that_goes_away_is_not_kept():
    world, cancellation = World(), Cancellation()
    world.call(cancellation=cancellation)

    async def leave():
        cancellation.request()

    world.port.spawn(leave(), at=0.1)
    ((at, error),) = world.run()
    assert at < 0.2
    assert isinstance(error, Cancelled)


@pytest.mark.parametrize(
    ("scheme", "secure", "goes"), [("http", True, False), ("https", True, True), ("http", False, True)]
)
def test_who_asked_for_tls_gets_it_or_nothing(scheme, secure, goes):
    world = World()
    world.call(secure=secure)
    world.answer(node(scheme), at=0.1)
    ((_, answer),) = world.run()
    if goes:
        assert answer == "went"
    else:
        assert isinstance(answer, NoEndpoint)
        assert "asks for TLS" in str(answer)
