"""Nodes: settings become endpoints, and others take their place."""

from __future__ import annotations

import random
from collections import Counter

import httpx
import pytest

from resilient_http import Resilience
from resilient_http.events import CircuitOpened, EndpointsChanged, Hub, PanicBegan, PanicEnded
from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.settings.models import Settings
from resilient_http.upstreams.nodes import Nodes


class Fleet:
    """Nodes, what they told, and which endpoints are gone."""

    def __init__(self, *endpoints, zone=None, **own):
        settings = Settings(upstreams={"payments": {"endpoints": list(endpoints), **own}}).upstreams["payments"]
        self.events, self.gone = [], []
        self.nodes = Nodes("payments", settings, Hub([self.events.append]), zone=zone, rng=random.Random(1))
        self.nodes.on_gone = self.gone.append

    def replace(self, *found, now=1.0):
        return self.nodes.replace([EndpointSettings.model_validate(each) for each in found], now)

    @property
    def members(self):
        return {member.url: member for member in self.nodes.endpoints.members}


def test_endpoints_are_as_the_settings_say():
    fleet = Fleet({"url": "http://n1", "weight": 2, "zone": "a"}, "http://n2", {"url": "http://n3", "backup": True})
    told = [(each["url"], each["weight"], each["backup"], each["zone"]) for each in fleet.nodes.status(0.0)]
    assert told == [("http://n1", 2, False, "a"), ("http://n2", 1, False, None), ("http://n3", 1, True, None)]


def test_what_stays_is_the_same_endpoint_with_what_is_told_of_it_now():
    fleet = Fleet("http://n1", "http://n2")
    n2 = fleet.members["http://n2"]
    n2.circuit.open()
    assert fleet.replace({"url": "http://n2", "weight": 3, "zone": "b"}, "http://n3")
    assert fleet.members["http://n2"] is n2
    assert (n2.weight, n2.zone, n2.circuit.current_state) == (3, "b", "open")
    assert [member.url for member in fleet.gone] == ["http://n1"]
    assert fleet.events[-1] == EndpointsChanged("payments", ("http://n3",), ("http://n1",))


@pytest.mark.parametrize("found", [("http://n1", "http://n2"), ("http://n2", "http://n1")])
def test_the_same_again_in_any_order_changes_nothing(found):
    fleet = Fleet("http://n1", "http://n2")
    arranged = fleet.nodes.endpoints._fleet
    assert not fleet.replace(*found)
    assert (fleet.nodes.endpoints._fleet is arranged, fleet.events) == (True, [])


def test_a_weight_that_has_changed_is_a_change():
    fleet = Fleet("http://n1", "http://n2", balance="weighted")
    assert fleet.replace("http://n1", {"url": "http://n2", "weight": 3})
    counts = Counter(fleet.nodes.endpoints.choose(0.0, random.Random(1))[0].host for _ in range(400))
    assert counts == {"n1": 100, "n2": 300}


def test_a_new_one_has_a_circuit_that_is_told_like_the_others():
    fleet = Fleet("http://n1")
    fleet.replace("http://n1", "http://n2")
    fleet.members["http://n2"].circuit.open()
    assert isinstance(fleet.events[-1], CircuitOpened)
    assert fleet.events[-1].endpoint == "http://n2"


def told(**own):
    return Settings(upstreams={"payments": {"endpoints": ["http://n1", "http://n2"], **own}}).upstreams["payments"]


def test_health_checks_may_be_switched_on_and_off_and_off_nobody_is_unhealthy():
    fleet = Fleet("http://n1", "http://n2")
    n1 = fleet.members["http://n1"]
    assert n1.health is None
    fleet.nodes.adjust(told(health={"path": "/", "unhealthy_after": 2}), 1.0, zone=None)
    assert [n1.health.record("status 503", 2.0) for _ in range(2)] == [False, True]
    fleet.nodes.endpoints.note_health(n1, 2.0, healthy=False)
    fleet.nodes.adjust(told(health={"path": "/", "healthy_after": 1}), 3.0, zone=None)
    assert (n1.health.healthy, n1.health.in_a_row, fleet.nodes.status(3.0)[0]["out"]) == (False, 2, True)
    fleet.nodes.adjust(told(), 4.0, zone=None)
    assert (n1.health, fleet.nodes.status(4.0)[0]["out"]) == (None, False)


def test_a_panic_is_told_when_it_begins_and_ends():
    fleet = Fleet("http://n1", "http://n2", balance={"panic": 0.5})
    endpoints, (n1, n2) = fleet.nodes.endpoints, fleet.members.values()
    endpoints.ejections.eject(n1, "unhealthy", 0.0)
    endpoints.ejections.eject(n2, "unhealthy", 0.0)
    endpoints.ejections.readmit(n1, "unhealthy", 1.0)
    assert fleet.events == [PanicBegan("payments", 2, 2), PanicEnded("payments", 1, 2)]
    (_, status) = fleet.nodes.status(1.0)
    assert (status["out"], status["reasons"]) == (True, {"unhealthy": None})


def test_a_location_that_names_one_of_them_or_their_host_means_the_upstream():
    fleet = Fleet("https://n1", host="pay.example")
    fleet.replace("https://n2:8443")
    assert [fleet.nodes.is_one(origin) for origin in ("https://n1", "https://n2:8443", "https://pay.example")] == [
        False, True, True,
    ]  # fmt: skip


# As a user has them


def endpoints_of(count, call, **balance):
    """Which endpoint each of some calls went to."""
    urls = [f"http://n{number}" for number in range(4)]
    resilience = Resilience({"upstreams": {"payments": {"endpoints": urls, "balance": balance}}})
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    with resilience, resilience.client(transport=transport) as client:
        journals = [call(client, number).extensions["resilient_http"] for number in range(count)]
    return [journal.attempts[0].endpoint for journal in journals]


def by_user(client, number):
    return client.get("http://payments/", headers={"X-User": str(number % 5)})


def test_calls_with_the_same_header_go_to_the_same_endpoint():
    went = endpoints_of(50, by_user, by="hash", header="X-User")
    assert all(len(set(went[user::5])) == 1 for user in range(5))
    assert len(set(went)) > 1


def test_calls_with_the_same_key_go_to_the_same_endpoint():
    went = endpoints_of(60, lambda client, number: client.get(f"http://payments/{number % 6}"), by="hash", key=path_of)
    assert all(len(set(went[path::6])) == 1 for path in range(6))
    assert len(set(went)) > 1


def path_of(request):
    return request.url.path


def test_calls_without_a_key_are_spread():
    assert len(set(endpoints_of(50, lambda client, _: client.get("http://payments/"), by="hash", header="X-User"))) == 4


def test_turns_are_taken_in_order():
    went = endpoints_of(8, lambda client, _: client.get("http://payments/"), by="weighted")
    assert went == [f"http://n{number % 4}" for number in range(8)]
