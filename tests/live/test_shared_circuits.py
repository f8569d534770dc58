"""Circuits that several processes share through a real Redis."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time

import httpx
import pytest

from resilient_http import CircuitOpen, Resilience
from tests.live.servers import answer
from tests.live.sharing_process import KINDS, processes, within

SECRET = "hunter2"


@pytest.fixture(name="start")
def _start():
    with processes() as start:
        yield start


@pytest.fixture
def redis(redis_server):
    return redis_server(SECRET)


class Node:
    """An endpoint that answers 503 until it is well; /good is always well."""

    def __init__(self, fault_server) -> None:
        self.well = False
        self.server = fault_server(lambda request: answer(200 if self.well or request.target == "/good" else 503))

    @property
    def probes(self) -> int:
        return sum(request.target == "/probe" for request in self.server.requests)


@pytest.fixture
def node(fault_server):
    return Node(fault_server)


def sharing(node, url, *, circuit=None, **shared):
    return {
        "shared": {"redis": url, "expires": 1.0, **shared},
        "upstreams": {
            "payments": {
                "endpoints": [node.server.url],
                "retry": None,
                "circuit": {"open_for": 1.0, "jitter": 0.0, "shared": {"veto": 0.2}, **(circuit or {})},
            }
        },
    }


def connected(process):
    return process.status()["shared"]["connected"]


def ready(*all_of_them):
    """Each has called once, and is in touch."""
    for process in all_of_them:
        process.call("/good")
    for process in all_of_them:
        within(5.0, lambda process=process: connected(process))


def rested():
    """The successes of getting ready are too old to say anything."""
    time.sleep(0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_when_two_have_opened_the_others_open_within_a_second(kind, start, node, redis):
    settings = sharing(node, redis.url, circuit={"open_for": 30.0})
    a, b, c, d = (start(kind, settings) for _ in range(4))
    ready(a, b, c, d)
    rested()

    a.call("/bad", 5)
    time.sleep(0.6)
    assert [each.state for each in (a, b, c, d)] == ["open", "closed", "closed", "closed"]

    b.call("/bad", 5)
    took = within(1.0, lambda: c.state == d.state == "open")

    assert took < 1.0
    assert c.circuit["cause"] == "other processes"
    assert c.call("/good") == ["CircuitOpen"]


def test_a_process_that_sees_success_does_not_open(start, node, redis):
    settings = sharing(node, redis.url, circuit={"open_for": 30.0})
    a, b, c = (start("sync", settings) for _ in range(3))
    ready(a, b, c)
    a.call("/bad", 5)
    b.call("/bad", 5)

    ended = time.monotonic() + 1.0
    while time.monotonic() < ended:
        assert c.call("/good") == ["200"]
    time.sleep(0.5)  # what it saw since it heard of the others still holds

    assert c.state == "closed"
    assert c.status()["shared"]["circuits"] == {f"payments {node.server.url}": {"open": 2, "of": 3, "probes": False}}


@pytest.mark.parametrize("kind", ["asyncio"])
def test_one_of_them_probes_and_when_it_closes_all_do(kind, start, node, redis):
    settings = sharing(node, redis.url, circuit={"open_for": 1.5, "successes": 3}, expires=2.0, timeout=1.0)
    everybody = [start(kind, settings) for _ in range(3)]
    ready(*everybody)
    rested()
    for process in everybody[:2]:
        process.call("/bad", 5)
    within(1.0, lambda: all(process.state == "open" for process in everybody))

    node.well = True
    probed = []
    ended = time.monotonic() + 8.0
    while len(probed) < 3:
        assert time.monotonic() < ended, [process.circuit for process in everybody]
        probed += [process for process in everybody if len(probed) < 3 and process.call("/probe") == ["200"]]

    assert len(set(map(id, probed))) == 1
    assert node.probes == 3
    within(1.0, lambda: all(process.state == "closed" for process in everybody))
    time.sleep(2.2)
    assert [process.state for process in everybody] == ["closed"] * 3  # and they stay closed


def test_while_it_stays_down_all_together_probe_once_per_rest(start, node, redis):
    settings = sharing(node, redis.url, circuit={"open_for": 0.3, "max_open_for": 1.2, "successes": 1})
    everybody = [start("sync", settings) for _ in range(3)]
    ready(*everybody)
    rested()
    for process in everybody[:2]:
        process.call("/bad", 5)
    within(1.0, lambda: all(process.state != "closed" for process in everybody))

    ended = time.monotonic() + 2.5
    while time.monotonic() < ended:
        for process in everybody:
            process.call("/probe")

    # Rests of 0.3, 0.6, 1.2 s of all of them together; alone each of the three would have probed two or three times.
    assert 2 <= node.probes <= 4


def test_every_key_expires(start, node, redis):
    settings = sharing(node, redis.url, circuit={"open_for": 0.5, "max_open_for": 0.5})
    a, b = start("sync", settings), start("sync", settings)
    ready(a, b)
    rested()
    seen = set()
    with redis.client() as client:
        a.call("/bad", 5)
        b.call("/bad", 5)
        ended = time.monotonic() + 1.2
        while time.monotonic() < ended:
            a.call("/probe")
            for key in client.scan_iter():
                left = client.pttl(key)
                assert left != -1, f"{key} never expires"
                assert left <= 4000
                seen.add(key.removeprefix("resilient-http:circuits:").partition(":")[0])
        assert seen == {"processes", "says", "baton"}
        a.kill()
        b.kill()
        within(6.0, lambda: not client.keys())


def test_when_the_prober_is_killed_another_probes(start, node, redis):
    settings = sharing(node, redis.url, circuit={"open_for": 0.5, "successes": 1000})
    everybody = [start("sync", settings) for _ in range(3)]
    ready(*everybody)
    rested()
    for process in everybody[:2]:
        process.call("/bad", 5)
    within(1.0, lambda: all(process.state == "open" for process in everybody))
    node.well = True

    def prober():
        return next((process for process in everybody if "200" in process.call("/probe")), None)

    within(3.0, prober)
    first = prober()
    os.kill(first.pid, signal.SIGKILL)
    everybody.remove(first)

    assert within(4.0, prober) < 3.0


def test_an_idle_prober_gives_way_to_a_process_with_calls(start, node, redis):
    settings = sharing(node, redis.url, circuit={"open_for": 0.5, "successes": 1})
    a, b = start("sync", settings), start("sync", settings)
    ready(a, b)
    rested()
    a.call("/bad", 5)
    time.sleep(0.4)
    b.call("/bad", 5)
    name = f"payments {node.server.url}"
    within(3.0, lambda: a.status()["shared"]["circuits"][name]["probes"])
    node.well = True

    within(5.0, lambda: b.call("/probe") == ["200"])
    within(1.0, lambda: a.state == "closed")


@pytest.mark.parametrize("kind", ["sync"])
def test_with_redis_away_each_goes_on_by_itself_and_says_so_until_it_is_back(kind, start, node, redis):
    settings = sharing(node, redis.url, circuit={"open_for": 0.3, "successes": 1}, max_backoff=0.5)
    a, b = start(kind, settings), start(kind, settings)
    ready(a, b)
    rested()
    redis.kill()
    within(3.0, lambda: not connected(a) and not connected(b))

    a.call("/bad", 5)
    assert a.state == "open"
    time.sleep(0.4)
    node.well = True
    assert a.call("/probe") == ["200"]
    assert a.state == "closed"
    assert b.state == "closed"
    assert a.status()["shared"]["why_not"] == "ConnectionError"
    node.well = False

    redis.start()
    within(3.0, lambda: connected(a) and connected(b))
    told = a.events()
    assert sum("is away" in each for each in told) == 1  # although it was tried again and again
    assert [each.partition("(")[0] for each in told if "Sharing" in each] == ["SharingLost", "SharingRestored"]
    assert SECRET not in str(told) + str(a.status())

    a.call("/bad", 5)
    b.call("/bad", 5)
    c = start(kind, settings)
    c.status()  # it has started
    within(3.0, lambda: c.call("/bad") == ["CircuitOpen"])


def test_a_redis_that_hangs_holds_up_no_call_and_no_probe(start, node, redis):
    settings = sharing(node, redis.url, circuit={"open_for": 0.5, "successes": 1})
    a, b = start("sync", settings), start("sync", settings)
    ready(a, b)
    rested()
    a.call("/bad", 5)
    b.call("/bad", 5)
    redis.freeze()

    slowest = 0.0
    node.well = True
    ended = time.monotonic() + 4.0
    while b.state != "closed":
        assert time.monotonic() < ended
        began = time.monotonic()
        b.call("/probe")
        slowest = max(slowest, time.monotonic() - began)

    assert slowest < 0.2


def test_a_redis_that_hangs_for_a_moment_is_not_away(start, node, redis):
    process = start("sync", sharing(node, redis.url, expires=2.0))
    ready(process)
    redis.freeze()
    time.sleep(0.8)
    redis.thaw()
    time.sleep(1.0)

    assert connected(process)
    assert process.events() == []


def test_a_wrong_password_is_told_without_it(start, node, redis):
    wrong = redis.url.replace(SECRET, "sesame")
    process = start("sync", sharing(node, wrong))
    process.call("/good")
    within(3.0, lambda: process.status()["shared"]["why_not"] == "AuthenticationError")

    told = str(process.events()) + str(process.status())
    assert f"redis at 127.0.0.1:{redis.port} is away (AuthenticationError)" in told
    assert "sesame" not in told


def test_what_is_switched_by_hand_stays_in_its_process(node, redis):
    name = f"payments {node.server.url}"
    settings = sharing(node, redis.url, circuit={"shared": {"quorum": 1, "veto": 0.1}})
    with Resilience(settings) as one, Resilience(settings) as other, one.client() as client, other.client() as others:
        client.get("http://payments/good")
        others.get("http://payments/good")
        within(3.0, lambda: one.status()["shared"]["connected"] and other.status()["shared"]["connected"])
        (circuit,) = one.circuits("payments").values()
        circuit.force_open()
        time.sleep(0.8)
        assert other.status()["shared"]["circuits"][name]["open"] == 0
        assert others.get("http://payments/good").status_code == 200


def test_the_thread_begins_with_a_call_ends_with_close_and_begins_again(node, redis):
    def running():
        return [thread for thread in threading.enumerate() if thread.name == "resilient-http sharing"]

    resilience = Resilience(sharing(node, redis.url))
    assert running() == []
    with resilience.client() as client:
        client.get("http://payments/good")
        assert len(running()) == 1
        assert running()[0].daemon
        within(3.0, lambda: resilience.status()["shared"]["connected"])
        resilience.close()
        within(3.0, lambda: not running())
        with redis.client() as looking:
            assert looking.keys() == []
        client.get("http://payments/good")
        assert len(running()) == 1
    del client
    resilience.close()
    within(3.0, lambda: not running())


def test_a_resilience_that_nobody_holds_leaves_no_thread(node, redis):
    resilience = Resilience(sharing(node, redis.url))
    with resilience.client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        client.get("http://payments/")
    before = [thread for thread in threading.enumerate() if thread.name == "resilient-http sharing"]
    del resilience, client

    def ended():
        gc.collect()
        return not any(thread.is_alive() for thread in before)

    within(3.0, ended)


def test_a_forked_child_shares_as_a_process_of_its_own(node, redis):
    with Resilience(sharing(node, redis.url)) as resilience, resilience.client() as client:
        client.get("http://payments/good")
        within(3.0, lambda: resilience.status()["shared"]["connected"])
        child = os.fork()
        if child == 0:
            try:
                client.get("http://payments/good")
                within(3.0, lambda: resilience.status()["shared"]["connected"])
                time.sleep(0.3)
            except BaseException:  # noqa: BLE001 - the child must not go on with the tests
                os._exit(1)
            os._exit(0)
        with redis.client() as looking:
            within(4.0, lambda: looking.scard("resilient-http:circuits:processes") == 2)
        assert os.waitpid(child, 0)[1] == 0
        assert resilience.status()["shared"]["connected"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_guarded_is_shared_too_and_not_with_an_upstream_of_its_name(kind, start, node, redis):
    circuit = {"open_for": 1.0, "jitter": 0.0, "successes": 1, "shared": {"quorum": 1, "veto": 0.1}}
    shared = {"redis": redis.url, "expires": 1.0}
    a, b = (start(kind, {"shared": shared, "guards": {"inventory-db": {"circuit": circuit}}}) for _ in range(2))
    upstream = {"endpoints": [node.server.url], "circuit": circuit}
    with Resilience({"shared": shared, "upstreams": {"inventory-db": upstream}}) as other, other.client() as client:
        client.get("http://inventory-db/good")
        assert a.query("12") == b.query("12") == ["12"]
        within(5.0, lambda: all(each["shared"]["connected"] for each in (a.status(), b.status(), other.status())))
        time.sleep(0.2)

        a.query("fail", 5)
        within(1.0, lambda: b.guard["state"] == "open")
        assert b.guard["cause"] == "other processes"
        assert b.query("12") == ["CircuitOpen"]
        assert b.status()["shared"]["circuits"]["inventory-db guard://inventory-db"]["open"] == 1
        assert other.status()["shared"]["circuits"][f"inventory-db {node.server.url}"]["open"] == 0
        assert client.get("http://inventory-db/good").status_code == 200

        within(4.0, lambda: "12" in a.query("12") + b.query("12"))
        within(1.0, lambda: a.guard["state"] == b.guard["state"] == "closed")


STRAYS = {
    "no text": lambda client, key: client.set(key, b"\xff\xfe"),
    "no baton": lambda client, key: client.set(key, "garbage"),
    "no expiry": lambda client, key: client.set(key, "probes somebody 1 0.000"),
    "no number": lambda client, key: client.set(key, "failed somebody 1 nan", px=60_000),
    "no string": lambda client, key: client.hset(key, "a", "b"),
}


@pytest.mark.parametrize("stray", STRAYS)
def test_a_stray_value_where_the_baton_is_keeps_no_circuit_open(stray, node, redis):
    settings = sharing(node, redis.url, circuit={"open_for": 0.3, "successes": 1})
    with Resilience(settings) as resilience, resilience.client() as client, redis.client() as looking:
        client.get("http://payments/good")
        within(3.0, lambda: resilience.status()["shared"]["connected"])
        baton = f"resilient-http:circuits:baton:payments {node.server.url}"
        STRAYS[stray](looking, baton)
        for _ in range(5):
            client.get("http://payments/bad")
        (circuit,) = resilience.circuits("payments").values()
        assert circuit.current_state == "open"
        node.well = True

        def closed():
            with contextlib.suppress(CircuitOpen):
                client.get("http://payments/probe")
            return circuit.current_state == "closed"

        within(3.0, closed)
        assert resilience.status()["shared"]["connected"]
        within(3.0, lambda: looking.pttl(baton) != -1)


def test_strays_in_the_other_keys_cut_nobody_off(node, redis):
    with Resilience(sharing(node, redis.url)) as resilience, resilience.client() as client, redis.client() as looking:
        looking.set("resilient-http:circuits:processes", "garbage")
        client.get("http://payments/good")
        within(3.0, lambda: resilience.status()["shared"]["connected"])
        for number, text in enumerate([b"\xff\xfe", b"[" * 50_000, b'{"a": 1e999}', b"7"]):
            looking.set(f"resilient-http:circuits:says:{number}", text)
            looking.sadd("resilient-http:circuits:processes", number)
        time.sleep(1.5)
        assert resilience.status()["shared"]["connected"]
