"""Nodes by Consul's HTTP API, as tests/live/consul.py answers it."""

from __future__ import annotations

import json
import logging
import threading
import time

import pytest

from resilient_http import NoEndpoint, Resilience
from resilient_http.events import DiscoveryFailed, DiscoveryRestored
from tests.live.consul import Consul
from tests.live.servers import answer, hang, raw
from tests.live.sharing_process import within

SECRET = "hunter2"


@pytest.fixture
def consul():
    with Consul() as server:
        yield server


def settings(consul, **own):
    more = {key: own.pop(key) for key in ("first_wait", "confirm_after", "interval") if key in own}
    asked = {"service": "payments", "url": consul if isinstance(consul, str) else consul.url, "wait": 5.0, **own}
    discovery = {"consul": asked, "timeout": 0.5, "max_backoff": 0.3, "confirm_after": 0.5, **more}
    return {"upstreams": {"payments": {"discovery": discovery}}}


def status(resilience):
    return resilience.status()["upstreams"]["payments"]["discovery"]


def nodes(resilience):
    return sorted(each["url"] for each in resilience.status()["upstreams"]["payments"]["endpoints"])


class Watcher:
    """A Resilience, and what it was told."""

    def __init__(self, own):
        self.told = []
        self.resilience = Resilience(own, listeners=[self.told.append])
        self.client = self.resilience.client()

    def call(self):
        return self.client.get("http://payments/")

    def sees(self, *urls):
        within(10.0, lambda: nodes(self.resilience) == sorted(urls))

    def kinds(self):
        return [type(event) for event in self.told]


@pytest.fixture
def watch():
    made = []

    def begin(consul, **own):
        made.append(Watcher(settings(consul, **own)))
        return made[-1]

    yield begin
    for each in made:
        each.client.close()
        each.resilience.close()


def test_instances_that_pass_are_the_nodes_and_changes_are_heard_at_once(caller, consul, fault_server):
    servers = [fault_server() for _ in range(3)]
    consul.register("a", servers[0].port, weight=3)
    consul.register("b", servers[1].port, address="127.0.0.1", node="10.255.255.1")
    consul.register("other", 1, service="orders")
    resilience = caller.resilience(settings(consul, wait=60.0))

    async def body(client):
        for _ in range(10):
            assert (await client.get("http://payments/")).status_code == 200
        found = resilience.status()["upstreams"]["payments"]["endpoints"]
        assert {each["url"]: each["weight"] for each in found} == {servers[0].url: 3.0, servers[1].url: 1.0}
        consul.register("c", servers[2].port)
        within(10.0, lambda: len(nodes(resilience)) == 3)
        consul.register("b", servers[1].port, address="127.0.0.1", status="critical")
        within(10.0, lambda: nodes(resilience) == sorted([servers[0].url, servers[2].url]))
        for _ in range(10):
            assert (await client.get("http://payments/")).status_code == 200

    caller.run(resilience, body)


def test_what_is_asked(consul, watch):
    consul.register("a", 8080, tags=("v2", "eu"))
    watcher = watch(consul, tags=["v2", "eu"], datacenter="dc1", wait=1.5)
    within(5.0, lambda: _tried(watcher) and len(consul.queries) >= 2)
    assert consul.server.requests[0].target.startswith("/v1/health/service/payments?")
    assert consul.queries[0] == {"tag": ["v2", "eu"], "passing": ["1"], "dc": ["dc1"]}
    assert consul.queries[1] == {**consul.queries[0], "index": ["11"], "wait": ["1500ms"]}


def _tried(watcher):
    """Have it look without a call: nobody is there. The nodes that it has found."""
    watcher.resilience.dispatcher.registry.named["payments"].discovery.begin()
    return nodes(watcher.resilience)


def test_tags_and_checks_choose(consul, watch):
    consul.register("a", 1, tags=("v1",))
    consul.register("b", 2, tags=("v1", "eu"))
    consul.register("c", 3, tags=("v1", "eu"), status="warning")
    one, two = watch(consul, tags=["v1", "eu"]), watch(consul, tags="v1", passing=False)
    within(5.0, lambda: _tried(one) == ["http://127.0.0.1:2"])
    within(5.0, lambda: len(_tried(two)) == 3)
    assert "passing" not in consul.queries[-1]


def test_the_name_of_a_service_is_quoted(consul, watch):
    consul.register("a", 1, service="pay ments/v1")
    watcher = watch(consul, service="pay ments/v1")
    within(5.0, lambda: _tried(watcher) == ["http://127.0.0.1:1"])


def test_https_and_ipv6(consul, watch):
    consul.register("a", 8443, address="fd00::1")
    watcher = watch(consul, scheme="https")
    within(5.0, lambda: _tried(watcher) == ["https://[fd00::1]:8443"])


@pytest.mark.parametrize("weight", [0, -1, "3", None, True])
def test_a_weight_that_is_none_counts_as_one(weight, consul, watch):
    consul.register("a", 1, weight=weight)
    watcher = watch(consul)
    within(5.0, lambda: _tried(watcher))
    assert watcher.resilience.status()["upstreams"]["payments"]["endpoints"][0]["weight"] == 1.0


def test_an_instance_without_a_port_or_an_address_does_not_take_the_others_away(consul, watch):
    consul.register("a", 1)
    consul.register("b", 0)
    consul.register("c", 3, node="")
    consul.register("d", "8080/path")
    watcher = watch(consul)
    within(5.0, lambda: _tried(watcher) == ["http://127.0.0.1:1"])
    assert status(watcher.resilience)["left_out"] == 3


def test_an_index_that_goes_backwards_is_forgotten(consul, watch):
    consul.register("a", 1)
    watcher = watch(consul, wait=1.0)
    within(5.0, lambda: _tried(watcher) and len(consul.queries) >= 2)
    consul.lose_raft(3)
    within(10.0, lambda: any("index" not in query for query in consul.queries[2:]))
    consul.register("b", 2)
    watcher.sees("http://127.0.0.1:1", "http://127.0.0.1:2")
    within(5.0, lambda: consul.queries[-1]["index"] == ["4"])


@pytest.mark.parametrize("says", ["0", "-7"])
def test_an_index_that_is_not_above_zero_counts_as_one(says, consul, watch):
    consul.register("a", 1)
    consul.says = says
    watcher = watch(consul)
    within(5.0, lambda: _tried(watcher) and len(consul.queries) >= 2)
    assert consul.queries[1]["index"] == ["1"]


@pytest.mark.parametrize("says", ["", "soon", "--5"])
def test_without_an_index_it_is_asked_every_interval(says, consul, watch):
    consul.register("a", 1)
    consul.says = says
    watcher = watch(consul, interval=0.3)
    within(10.0, lambda: _tried(watcher) and len(consul.queries) >= 4)
    assert all("index" not in query for query in consul.queries)
    consul.register("b", 2)
    watcher.sees("http://127.0.0.1:1", "http://127.0.0.1:2")


def test_an_index_that_rises_without_a_change_is_not_followed_at_full_speed(consul, watch):
    consul.register("a", 1)
    watcher = watch(consul)
    within(5.0, lambda: _tried(watcher))
    ends = time.monotonic() + 1.5
    while time.monotonic() < ends:
        consul.touch()
        time.sleep(0.005)
    assert len(consul.queries) < 12


def test_a_question_that_was_waited_out_is_no_failure(consul, watch):
    consul.register("a", 1)
    watcher = watch(consul, wait=0.3)
    within(10.0, lambda: _tried(watcher) and len(consul.queries) >= 4)
    assert DiscoveryFailed not in watcher.kinds()
    assert status(watcher.resilience)["age"] < 2.0


def test_all_instances_gone_is_no_answer(consul, watch, fault_server):
    server = fault_server()
    consul.register("a", server.port)
    watcher = watch(consul)
    watcher.call()
    consul.deregister("a")
    within(10.0, lambda: status(watcher.resilience)["failing"] == "it names no endpoint")
    assert watcher.call().status_code == 200
    consul.register("a", server.port)
    within(10.0, lambda: status(watcher.resilience)["failing"] is None)


def test_many_gone_at_once_are_held_and_then_applied(consul, watch):
    for i in range(1, 7):
        consul.register(str(i), i)
    watcher = watch(consul, confirm_after=1.5)
    within(5.0, lambda: len(_tried(watcher)) == 6)
    consul.deregister("1", "2", "3", "4")
    within(5.0, lambda: status(watcher.resilience)["held"])
    assert len(nodes(watcher.resilience)) == 6
    watcher.sees("http://127.0.0.1:5", "http://127.0.0.1:6")


def test_a_token_is_sent_and_never_shown(watch, caplog, fault_server):
    caplog.set_level(logging.DEBUG)
    server = fault_server()
    with Consul(token=SECRET) as consul:
        consul.register("a", server.port)
        watcher = watch(consul, token=SECRET)
        assert watcher.call().status_code == 200
        other = watch(consul, token=f"{SECRET}-is-wrong", first_wait=0.5)
        with pytest.raises(NoEndpoint, match="it answered 403") as caught:
            other.call()
        told = caplog.text + repr(caught.value) + repr(caught.value.__cause__)
        for each in (watcher, other):
            told += repr(each.told) + json.dumps(each.resilience.status()) + repr(each.resilience.settings)
        assert SECRET not in told
        watcher.resilience.close()
        other.resilience.close()


def test_tls_is_verified(watch, tls, fault_server):
    server = fault_server()
    with Consul(tls=tls.server_context("localhost")) as consul:
        consul.register("a", server.port)
        url = f"https://localhost:{consul.server.port}"
        trusting = watch(url, tls={"verify": str(tls.ca_file)})
        assert trusting.call().status_code == 200
        with pytest.raises(NoEndpoint, match=r"cannot be reached \(ConnectError\)"):
            watch(url, first_wait=1.0).call()
        trusting.resilience.close()


def test_it_survives_the_death_and_the_return_of_the_agent(watch, fault_server):
    server = fault_server()
    with Consul() as consul:
        consul.register("a", server.port)
        watcher = watch(consul)
        watcher.call()
        consul.server.play(answer(500))
        consul.touch()
        within(10.0, lambda: status(watcher.resilience)["failing"] == "it answered 500")
        assert watcher.call().status_code == 200
        consul.server.play(consul.treat)
        within(10.0, lambda: status(watcher.resilience)["failing"] is None)
        assert watcher.kinds().count(DiscoveryFailed) == watcher.kinds().count(DiscoveryRestored) == 1
        watcher.resilience.close()


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (answer(200, "<html>", {"X-Consul-Index": "7"}), "garbage: the answer is no JSON"),
        (answer(200, "{}", {"X-Consul-Index": "7"}), "garbage: the answer is not that of Consul"),
        (answer(200, "[7, null, {}]", {"X-Consul-Index": "7"}), "garbage: nothing in it is an endpoint"),
        (answer(200, "[]", {"X-Consul-Index": "7"}), "it names no endpoint"),
        (answer(404), "it answered 404"),
        (raw(b"garbage\r\n\r\n"), "it cannot be reached (RemoteProtocolError)"),
        (hang(), "it did not answer in time"),
    ],
    ids=["html", "mapping", "instances", "none", "404", "no http", "hangs"],
)
def test_garbage_is_a_failure(behaviour, why, watch, fault_server):
    watcher = watch(fault_server(behaviour).url, first_wait=1.0)
    with pytest.raises(NoEndpoint) as caught:
        watcher.call()
    assert why in str(caught.value)
    watcher.resilience.close()


def test_it_ends_at_once_with_close(consul, watch):
    consul.register("a", 1)
    watcher = watch(consul, wait=600.0)
    within(5.0, lambda: _tried(watcher) and len(consul.queries) >= 2)
    (thread,) = (each for each in threading.enumerate() if each.name == "resilient-http discovery")
    watcher.resilience.close()
    thread.join(5.0)
    assert not thread.is_alive()
