"""Nodes by a real etcd."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time

import httpx
import pytest

from resilient_http import NoEndpoint, Resilience, deadline
from resilient_http.events import DiscoveryFailed, DiscoveryRestored, EndpointsChanged
from resilient_http.settings.discovery import EtcdSettings
from resilient_http.upstreams.sources.etcd import Etcd as EtcdSource
from tests.live.servers import Behaviour, FaultServer, answer, hang, raw
from tests.live.sharing_process import within

PREFIX = "/services/payments/"
SECRET = "hunter2"


@pytest.fixture
def etcd(etcd_server):
    return etcd_server()


def settings(*etcds, **own):
    etcd = {"url": [each if isinstance(each, str) else each.url for each in etcds], "prefix": PREFIX}
    etcd |= {key: own.pop(key) for key in ("user", "password", "tls") if key in own}
    own = {"timeout": 0.5, "max_backoff": 0.3, "confirm_after": 0.5, **own}
    return {"upstreams": {"payments": {"discovery": {"etcd": etcd, **own}}}}


def status(resilience):
    return resilience.status()["upstreams"]["payments"]["discovery"]


def nodes(resilience):
    return [each["url"] for each in resilience.status()["upstreams"]["payments"]["endpoints"]]


class Watcher:
    """A Resilience that has called once, and what it was told."""

    def __init__(self, settings, url="http://payments/"):
        self.told = []
        self.resilience = Resilience(settings, listeners=[self.told.append])
        self.client = self.resilience.client()
        self.url = url

    def call(self):
        return self.client.get(self.url)

    def sees(self, *urls, seconds=10.0):
        within(seconds, lambda: sorted(nodes(self.resilience)) == sorted(urls))

    def kinds(self):
        return [type(event) for event in self.told]


@pytest.fixture
def watch():
    made = []

    def begin(*etcds, **own):
        made.append(Watcher(settings(*etcds, **own)))
        return made[-1]

    yield begin
    for each in made:
        each.client.close()
        each.resilience.close()


def test_values_are_urls_or_json_and_nodes_join_and_leave(caller, etcd, fault_server):
    servers = [fault_server() for _ in range(3)]
    etcd.put(PREFIX + "a", servers[0].url)
    etcd.put(PREFIX + "b", {"url": servers[1].url, "weight": 2, "zone": "z1", "version": "1.2.3"})
    etcd.put("/services/payments-old/a", "http://127.0.0.1:1")
    resilience = caller.resilience(settings(etcd))

    async def body(client):
        for _ in range(20):
            assert (await client.get("http://payments/")).status_code == 200
        etcd.put(PREFIX + "c", {"url": servers[2].url})
        within(10.0, lambda: len(nodes(resilience)) == 3)
        for _ in range(40):
            assert (await client.get("http://payments/")).status_code == 200
        etcd.delete(PREFIX + "a")
        within(10.0, lambda: len(nodes(resilience)) == 2)
        before = len(servers[0].requests)
        for _ in range(20):
            assert (await client.get("http://payments/")).status_code == 200
        assert len(servers[0].requests) == before
        return {
            each["url"]: (each["weight"], each["zone"])
            for each in resilience.status()["upstreams"]["payments"]["endpoints"]
        }

    found = caller.run(resilience, body)

    assert found == {servers[1].url: (2.0, "z1"), servers[2].url: (1.0, None)}
    assert all(server.requests for server in servers)


def test_a_change_is_heard_at_once(etcd, watch, fault_server):
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    watcher = watch(etcd, interval=60.0)
    watcher.call()
    time.sleep(0.5)  # the watch stands
    etcd.put(PREFIX + "b", "http://127.0.0.1:1")
    watcher.sees(server.url, "http://127.0.0.1:1")
    assert status(watcher.resilience)["where"] == f"etcd at {etcd.url} for {PREFIX}"


def test_one_bad_value_does_not_take_the_others_away(etcd, watch, fault_server):
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    for i, value in enumerate(
        [
            b"\xff\xfe", "", "nonsense", "{", "[]", "7", f"http://me:{SECRET}@n1", {"weight": 2}, {"url": 7},
            {"url": "http://n1/path"}, "[" * 100_000, "https://n1", '"',
        ]
    ):  # fmt: skip
        etcd.put(f"{PREFIX}bad{i}", value)
    etcd.put(PREFIX + "z", '"http://127.0.0.1:1"')
    watcher = watch(etcd)
    watcher.call()
    assert nodes(watcher.resilience) == sorted([server.url, "http://127.0.0.1:1"])
    assert status(watcher.resilience)["left_out"] == 13
    assert SECRET not in json.dumps(watcher.resilience.status())


def test_when_a_lease_expires_its_node_goes(etcd, watch, fault_server):
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    etcd.put(PREFIX + "b", "http://127.0.0.1:1", etcd.lease(2))
    watcher = watch(etcd)
    watcher.call()
    watcher.sees(server.url, "http://127.0.0.1:1")
    watcher.sees(server.url, seconds=20.0)
    assert DiscoveryFailed not in watcher.kinds()


def test_one_lease_after_the_other_does_not_empty_it(etcd, watch, fault_server):
    urls = [fault_server().url for _ in range(6)]
    lease = etcd.lease(2)
    for url in urls:
        etcd.put(PREFIX + url, url, lease)
    watcher = watch(etcd, confirm_after=30.0)
    watcher.call()
    watcher.sees(*urls)
    within(20.0, lambda: status(watcher.resilience)["failing"] or status(watcher.resilience)["held"])
    time.sleep(1.0)
    assert len(nodes(watcher.resilience)) >= 3


def test_it_goes_on_after_a_compaction(etcd, watch, fault_server):
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    watcher = watch(etcd, interval=60.0)
    watcher.call()
    time.sleep(0.3)
    for i in range(10):
        etcd.put(PREFIX + "b", f"http://127.0.0.1:{i + 1}")
    etcd.compact()
    etcd.put(PREFIX + "c", "http://127.0.0.1:99")
    watcher.sees(server.url, "http://127.0.0.1:10", "http://127.0.0.1:99")


def test_a_watch_of_what_was_compacted_ends_at_once(etcd):
    etcd.put(PREFIX + "a", "http://127.0.0.1:1")
    for _ in range(3):
        etcd.put(PREFIX + "a", "http://127.0.0.1:2")
    etcd.compact()
    source = EtcdSource(EtcdSettings(url=etcd.url, prefix=PREFIX), httpx, 2.0, 30.0)
    began = time.monotonic()
    assert list(source._keys._changes(2)) == []
    assert time.monotonic() - began < 10.0
    source.close()


def test_what_was_compacted_while_nobody_looked_is_read_anew(fault_server, watch):
    """What etcd says then, line by line: it cannot be had by timing."""
    node = fault_server()
    reads = []

    def treat(request):
        if request.target == "/v3/kv/range":
            reads.append(request)
            value = "aHR0cDovLzEyNy4wLjAuMTox" if len(reads) > 1 else _encoded(node.url)
            pair = {"key": "YQ==", "value": value, "mod_revision": "5"}
            return answer(200, json.dumps({"header": {"revision": "7"}, "kvs": [pair], "count": "1"}))
        created = {"result": {"header": {"revision": "7"}, "created": True}}
        cancelled = {"result": {"header": {}, "canceled": True, "compact_revision": "9"}}
        assert json.loads(request.body)["create_request"]["start_revision"] == "8"
        return said_and_silent(created, cancelled)

    server = fault_server(treat)
    watcher = watch(server.url, confirm_after=None, interval=60.0)
    watcher.call()
    watcher.sees("http://127.0.0.1:1")
    assert DiscoveryFailed not in watcher.kinds()


def said_and_silent(*lines):
    """A stream of lines that does not end."""

    def act(exchange):
        exchange.send_head(200, {"Transfer-Encoding": "chunked"})
        for line in lines:
            text = f"{json.dumps(line)}\n".encode()
            exchange.send(b"%x\r\n%b\r\n" % (len(text), text))
        exchange.wait()

    return Behaviour(act)


def test_it_survives_the_death_and_the_return_of_etcd(etcd, watch, fault_server, caplog):
    caplog.set_level(logging.INFO, "resilient_http.discovery")
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    watcher = watch(etcd)
    watcher.call()
    etcd.kill()
    within(10.0, lambda: status(watcher.resilience)["failing"])
    assert status(watcher.resilience)["failing"] == "it cannot be reached (ConnectError)"
    for _ in range(5):
        assert watcher.call().status_code == 200
    age = status(watcher.resilience)["age"]
    assert age > 0
    time.sleep(0.5)
    assert status(watcher.resilience)["age"] > age
    etcd.start()
    etcd.put(PREFIX + "b", "http://127.0.0.1:1")
    watcher.sees(server.url, "http://127.0.0.1:1")
    assert watcher.kinds().count(DiscoveryFailed) == watcher.kinds().count(DiscoveryRestored) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_watch_whose_etcd_hangs_is_noticed(etcd, watch, fault_server):
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    watcher = watch(etcd, interval=1.0)
    watcher.call()
    time.sleep(0.5)  # the watch stands
    etcd.freeze()
    try:
        within(10.0, lambda: status(watcher.resilience)["failing"] == "it did not answer in time")
        assert watcher.call().status_code == 200
    finally:
        etcd.thaw()
    etcd.put(PREFIX + "b", "http://127.0.0.1:1")
    watcher.sees(server.url, "http://127.0.0.1:1")


def test_another_member_is_asked_where_one_is_away(etcd, watch, fault_server, refused_url):
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    watcher = watch(refused_url, etcd)
    assert watcher.call().status_code == 200
    assert watcher.kinds().count(DiscoveryFailed) == watcher.kinds().count(DiscoveryRestored) == 1


def test_it_ends_at_once_with_close(etcd, watch, fault_server):
    etcd.put(PREFIX + "a", fault_server().url)
    watcher = watch(etcd, interval=60.0)
    watcher.call()
    time.sleep(0.3)
    (thread,) = (each for each in threading.enumerate() if each.name == "resilient-http discovery")
    watcher.resilience.close()
    thread.join(5.0)
    assert not thread.is_alive()


def test_a_first_call_with_no_etcd_ends_with_its_deadline(caller, refused_url):
    async def body(client):
        began = time.monotonic()
        with deadline(0.5), pytest.raises(caller.errors.NoEndpoint) as caught:
            await client.get("http://payments/")
        return time.monotonic() - began, str(caught.value)

    took, said = caller.run(caller.resilience(settings(refused_url)), body)

    assert took < 2.0
    assert f"payments has no endpoint: etcd at {refused_url} for {PREFIX} was asked" in said
    assert "it cannot be reached (ConnectError)" in said


def test_a_proxy_of_the_environment_is_not_asked(etcd, watch, fault_server, refused_url, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", refused_url)
    monkeypatch.setenv("ALL_PROXY", refused_url)
    etcd.put(PREFIX + "a", fault_server().url)
    assert watch(etcd).call().status_code == 200


def test_a_watch_may_be_silent_for_longer_than_an_answer_may_take(fault_server, watch):
    node = fault_server()
    read = json.dumps({"header": {"revision": "7"}, "kvs": [{"key": "YQ==", "value": _encoded(node.url)}]})
    created = said_and_silent({"result": {"header": {"revision": "7"}, "created": True}})
    server = fault_server(lambda request: answer(200, read) if request.target == "/v3/kv/range" else created)
    watcher = watch(server.url, timeout=0.3, interval=60.0)
    watcher.call()
    time.sleep(1.5)
    assert [request.target for request in server.requests] == ["/v3/kv/range", "/v3/watch"]


def test_an_empty_prefix_is_waited_for(etcd, watch, fault_server):
    watcher = watch(etcd, first_wait=0.5)
    with pytest.raises(NoEndpoint, match="it names no endpoint"):
        watcher.call()
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    watcher.sees(server.url)
    assert watcher.call().status_code == 200


# Authentication, and secrets


def test_it_authenticates_and_does_so_anew_when_its_token_is_not_valid_any_more(etcd, watch, fault_server, caplog):
    caplog.set_level(logging.DEBUG)
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    etcd.lock("reader", SECRET)
    watcher = watch(etcd, user="reader", password=SECRET, interval=0.5)
    watcher.call()
    etcd.put(PREFIX + "b", "http://127.0.0.1:1")
    watcher.sees(server.url, "http://127.0.0.1:1")
    etcd.ask("/auth/user/changepw", {"name": "reader", "password": SECRET})  # its tokens are not valid any more
    etcd.delete(PREFIX + "b")
    within(10.0, lambda: "401 Unauthorized" in caplog.text)
    watcher.sees(server.url)
    within(5.0, lambda: status(watcher.resilience)["age"] < 0.5)
    assert DiscoveryFailed not in watcher.kinds()
    told = (
        caplog.text + repr(watcher.told) + json.dumps(watcher.resilience.status()) + repr(watcher.resilience.settings)
    )
    assert SECRET not in told


def test_a_wrong_password_is_told_without_showing_it(etcd, watch, caplog):
    caplog.set_level(logging.DEBUG)
    etcd.lock("reader", "other")
    watcher = watch(etcd, user="reader", password=SECRET, first_wait=0.5)
    with pytest.raises(NoEndpoint, match="authentication: it answered 400") as caught:
        watcher.call()
    told = caplog.text + repr(watcher.told) + json.dumps(watcher.resilience.status()) + repr(caught.value)
    assert SECRET not in told


def test_tls_is_verified(etcd_server, watch, fault_server, tls, tmp_path):
    chain, key = tls.server_files(tmp_path, "127.0.0.1")
    etcd = etcd_server("--cert-file", str(chain), "--key-file", str(key))
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    trusting = watch(etcd, tls={"verify": str(tls.ca_file)}, interval=60.0)
    assert trusting.call().status_code == 200
    etcd.put(PREFIX + "b", "http://127.0.0.1:1")
    trusting.sees(server.url, "http://127.0.0.1:1")
    trusting.resilience.close()  # ends the watch, through TLS too
    within(5.0, lambda: not any(each.name == "resilient-http discovery" for each in threading.enumerate()))
    with pytest.raises(NoEndpoint, match=r"cannot be reached \(ConnectError\)"):
        watch(etcd, first_wait=1.0).call()


# What is no etcd


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (answer(200, "<html>"), "garbage: the answer is no JSON"),
        (answer(200, "[]"), "garbage: the answer is not that of etcd"),
        (answer(200, "{}"), "garbage: the answer is not that of etcd"),
        (answer(200, '{"header": {"revision": "x"}}'), "garbage: the answer is not that of etcd"),
        (answer(200, '{"header": {"revision": "1"}, "kvs": [7]}'), "garbage: the answer is not that of etcd"),
        (answer(404), "it answered 404"),
        (answer(302, headers={"Location": "http://127.0.0.1:1/"}), "it answered 302"),
        (raw(b"garbage\r\n\r\n"), "it cannot be reached (RemoteProtocolError)"),
        (hang(), "it did not answer in time"),
    ],
    ids=["html", "list", "empty", "revision", "pairs", "404", "redirect", "no http", "hangs"],
)
def test_garbage_is_a_failure(behaviour, why, watch):
    with FaultServer(behaviour) as server:
        watcher = watch(server.url, first_wait=1.0)
        with pytest.raises(NoEndpoint) as caught:
            watcher.call()
        assert why in str(caught.value)


@pytest.mark.parametrize(
    "line",
    ["", "<html>", "[]", "7", '{"result": {"events": 7}}', '{"error": {"code": 7}}', '{"result": {"events": [{}]}}'],
)
def test_a_watch_that_says_garbage_is_begun_anew_and_not_at_full_speed(line, watch, fault_server):
    node = fault_server()
    pair = {"key": "YQ==", "value": _encoded(node.url)}
    read = json.dumps({"header": {"revision": "7"}, "kvs": [pair]})
    server = fault_server(lambda request: answer(200, read if request.target == "/v3/kv/range" else f"{line}\n"))
    watcher = watch(server.url)
    assert watcher.call().status_code == 200
    time.sleep(2.0)
    assert watcher.call().status_code == 200
    assert len(server.requests) <= 12


def _encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_events_of_one_change_are_one_answer(etcd, watch, fault_server):
    server = fault_server()
    etcd.put(PREFIX + "a", server.url)
    watcher = watch(etcd)
    watcher.call()
    time.sleep(0.3)
    puts = [
        {"request_put": {"key": _encoded(f"{PREFIX}{i}"), "value": _encoded(f"http://127.0.0.1:{i}")}}
        for i in (1, 2, 3)
    ]
    etcd.ask("/kv/txn", {"success": puts})
    watcher.sees(server.url, *(f"http://127.0.0.1:{i}" for i in (1, 2, 3)))
    changes = [event for event in watcher.told if isinstance(event, EndpointsChanged)]
    assert [len(event.added) for event in changes] == [1, 3]
