"""Pauses through the whole pipeline: endpoints after a 503, routes after a 429."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from resilient_http.errors import RateLimited
from resilient_http.events import EndpointPaused, Observed, RoutePaused
from resilient_http.ports.simulated import SimulatedReply
from tests.simulation.world import World, by_host, script, throttled

NODES = {"endpoints": ["http://n1", "http://n2"], "retry": None}


@dataclass
class Request:
    """As much of a request as makes a route."""

    path: str = "/charges"
    headers: dict[str, str] = field(default_factory=dict)
    extensions: dict[str, object] = field(default_factory=dict)

    @property
    def url(self):
        return SimpleNamespace(path=self.path)


def ask(world: World, request: Request | None = None, method: str = "GET"):
    """A call for a request; its response, or what it raises."""
    call = world.open_call(method)
    call.request = request
    results = []

    async def run():
        try:
            results.append(await world.upstream.pipeline.run(call))
        except RateLimited as exc:
            results.append(exc)

    world.port.spawn(run(), at=world.port.now())
    world.port.run()
    return results[0]


# Endpoints


def test_an_endpoint_that_asks_to_be_left_alone_is_and_its_siblings_take_over():
    world = World(by_host(n1=throttled(retry_after="10"), n2=200), **NODES)
    statuses = [call.status for call in world.traffic(calls=100, rate=20.0)]
    assert statuses.count(503) == 1
    assert [(event.endpoint, event.seconds) for event in world.told(EndpointPaused)] == [("http://n1", 10.0)]


def test_after_its_pause_it_is_asked_again():
    world = World(by_host(n1=throttled(retry_after="5"), n2=200), **NODES)
    statuses = [call.status for call in world.traffic(calls=1500, rate=100.0)]
    assert 2 <= statuses.count(503) <= 3  # in 15 s


def test_a_pause_is_no_longer_than_the_settings_allow():
    world = World(by_host(n1=throttled(retry_after="3600"), n2=200), **NODES)
    list(world.traffic(calls=50, rate=50.0))
    assert world.told(EndpointPaused) == [EndpointPaused("payments", "http://n1", 60.0)]
    assert 58 < world.upstream.status(world.port.now())["endpoints"][0]["reasons"]["paused"] <= 60


def test_at_most_half_of_the_endpoints_are_paused():
    asks = throttled(retry_after="10")
    world = World(by_host(n1=asks, n2=asks, n3=asks), endpoints=["http://n1", "http://n2", "http://n3"], retry=None)
    list(world.traffic(calls=4, rate=50.0))
    assert len(world.told(EndpointPaused)) == 1


def test_a_sole_endpoint_is_never_paused():
    world = World(script(throttled(retry_after="10")), retry=None)
    assert [call.status for call in world.traffic(calls=4, rate=50.0)] == [503] * 4
    assert not world.told(EndpointPaused)


def test_when_all_others_are_down_a_paused_endpoint_is_asked_all_the_same():
    world = World(by_host(n1=throttled(retry_after="60"), n2=200), **NODES)
    list(world.traffic(calls=20, rate=50.0))
    world.endpoint("n2").circuit.force_open()
    assert world.make().journal.attempts[0].endpoint == "http://n1"


@pytest.mark.parametrize("header", [{}, {"retry-after": "0"}, {"retry-after": "soon"}])
def test_an_answer_that_does_not_say_when_pauses_nothing(header):
    world = World(by_host(n1=SimulatedReply(503, header), n2=200), **NODES)
    list(world.traffic(calls=20, rate=50.0))
    assert not world.told(EndpointPaused)


@pytest.mark.parametrize("pauses", [None, {"endpoint": None}])
def test_endpoint_pauses_can_be_switched_off(pauses):
    world = World(by_host(n1=throttled(retry_after="10"), n2=200), pauses=pauses, **NODES)
    list(world.traffic(calls=20, rate=50.0))
    assert not world.told(EndpointPaused)


def test_only_observed_endpoints_are_not_paused_but_told():
    world = World(by_host(n1=throttled(retry_after="10"), n2=200), pauses={"observe": True}, **NODES)
    list(world.traffic(calls=20, rate=50.0))
    assert not world.told(EndpointPaused)
    assert set(world.told(Observed)) == {Observed("payments", "pauses", "pause http://n1 for 10 s")}


# Routes

ASKS = throttled(429, retry_after="10")


def paused(*answers, **pauses) -> World:
    return World(script(*answers), pauses={"route": 30.0, **pauses}, retry=None)


def test_a_429_holds_up_its_route_for_all_callers_until_its_time():
    world = paused(ASKS, 200)
    assert ask(world, Request()).status_code == 429
    error = ask(world, Request())
    assert isinstance(error, RateLimited)
    assert error.retry_in == pytest.approx(10.0)
    assert "asked (429) to be left alone for 10 s more" in str(error)
    world.port._clock += 10.1
    assert ask(world, Request()).status_code == 200
    assert world.told(RoutePaused) == [RoutePaused("payments", 10.0)]
    assert world.upstream.status(0.0)["pauses"]["decisions"] == {"paused": 1, "refused": 1}


@pytest.mark.parametrize(
    "other",
    [
        Request("/refunds"),
        *(
            Request(headers={name: "b"})
            for name in ("authorization", "x-api-key", "x-auth-token", "cookie", "private-token", "x-session")
        ),
    ],
    ids=lambda request: next(iter(request.headers), "path"),
)
def test_other_paths_and_other_credentials_go_on(other):
    world = paused(ASKS, 200)
    ask(world, Request(headers={"authorization": "Bearer a"}))
    assert ask(world, other).status_code == 200
    assert isinstance(ask(world, Request(headers={"authorization": "Bearer a"})), RateLimited)


@pytest.mark.parametrize("name", ["authorization", "cookie", "private-token", "ocp-apim-subscription-key"])
def test_the_pause_of_one_account_refuses_no_other(name):
    world = paused(ASKS, 200, by="credential")
    ask(world, Request(headers={name: "alice"}))
    assert ask(world, Request(headers={name: "bob"})).status_code == 200
    assert isinstance(ask(world, Request("/refunds", {name: "alice", "accept": "*/*"})), RateLimited)


def test_other_methods_go_on():
    world = paused(ASKS, 200)
    ask(world, Request())
    assert ask(world, Request(), "DELETE").status_code == 200


def test_by_credential_all_paths_are_one_route():
    world = paused(ASKS, 200, by="credential")
    ask(world, Request(headers={"authorization": "Bearer a"}))
    assert isinstance(ask(world, Request("/refunds", {"authorization": "Bearer a"})), RateLimited)
    assert ask(world, Request("/refunds", {"authorization": "Bearer b"})).status_code == 200


def test_a_route_is_paused_no_longer_than_the_settings_allow():
    world = paused(throttled(429, retry_after="3600"), 200)
    ask(world, Request())
    assert ask(world, Request()).retry_in == pytest.approx(30.0)


def test_nothing_of_a_credential_is_kept():
    world = paused(ASKS, 200)
    ask(world, Request(headers={"authorization": "Bearer secret"}))
    assert "secret" not in repr(world.upstream.record.pauses._until)
    assert all(len(key) == 16 for key in world.upstream.record.pauses._until)


def test_routes_are_not_paused_unless_that_is_switched_on():
    world = World(script(ASKS, 200), retry=None)
    ask(world, Request())
    assert ask(world, Request()).status_code == 200


def test_only_observed_routes_are_not_paused_but_told():
    world = paused(ASKS, 200, observe=True)
    ask(world, Request())
    assert ask(world, Request()).status_code == 200
    assert world.told(Observed) == [Observed("payments", "pauses", "pause the route for 10 s")]
