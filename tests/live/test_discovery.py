"""Discovery: the calls beside it, whatever the source; over real sockets."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from resilient_http import Discovered, NoEndpoint, Resilience, deadline
from resilient_http.events import DiscoveryFailed, DiscoveryHeld, DiscoveryRestored, EndpointsChanged
from tests.live.servers import answer, gated
from tests.live.sharing_process import within
from tests.live.sources import Steps, Stream

SECRET = "hunter2"


def settings(source, *, endpoints=(), retry=None, **own):
    discovery = {"source": source, "confirm_after": 0.5, "interval": 0.05, "max_backoff": 0.2}
    payments = {"discovery": {**discovery, **own}, "endpoints": list(endpoints), "retry": retry}
    return {"upstreams": {"payments": payments}}


def status(resilience):
    return resilience.status()["upstreams"]["payments"]["discovery"]


def nodes(resilience):
    return [each["url"] for each in resilience.status()["upstreams"]["payments"]["endpoints"]]


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "resilient-http discovery"]


@pytest.fixture
def mocked():
    """A Resilience whose calls go nowhere, and a client of it; closed in the end."""
    made = []

    def make(source, listeners=(), **own):
        resilience = Resilience(settings(source, **own), listeners=listeners)
        client = resilience.client(transport=httpx.MockTransport(lambda request: httpx.Response(200)))
        made.append(resilience)
        return resilience, client

    yield make
    for resilience in made:
        resilience.close()


# The first answer


def test_a_first_call_waits_for_the_first_answer(caller, fault_server):
    server, source = fault_server(), Steps(open_gate=False)
    source.says = [server.url]
    threading.Timer(0.3, source.gate.set).start()

    async def body(client):
        return await client.get("http://payments/")

    began = time.monotonic()
    response = caller.run(caller.resilience(settings(source)), body)

    assert response.status_code == 200
    assert time.monotonic() - began >= 0.3
    assert "discovery: waited 0." in str(response.extensions["resilient_http"])


def test_a_first_call_waits_no_longer_than_its_deadline_and_says_why(caller):
    source = Steps(ConnectionError(SECRET))

    async def body(client):
        began = time.monotonic()
        with deadline(0.4), pytest.raises(caller.errors.NoEndpoint) as caught:
            await client.get("http://payments/")
        return time.monotonic() - began, caught.value

    took, error = caller.run(caller.resilience(settings(source)), body)

    assert 0.2 < took < 2.0  # `first_wait` is 3 s
    assert str(error).startswith(
        "payments has no endpoint: tests.live.sources.Steps was asked for them (ConnectionError); "
    )
    assert "or give upstreams.payments.endpoints to begin with" in str(error)
    assert error.journal is not None
    assert error.journal.attempts == ()
    assert SECRET not in str(error)


def test_a_source_that_hangs_holds_up_no_call_for_longer_than_first_wait(mocked):
    source = Steps(open_gate=False)
    resilience, client = mocked(source, first_wait=1.0)
    began = time.monotonic()
    with pytest.raises(NoEndpoint, match=r"no answer yet\); it is being asked"):
        client.get("http://payments/")
    assert 0.9 < time.monotonic() - began < 3.0
    began = time.monotonic()
    with pytest.raises(NoEndpoint):
        client.get("http://payments/")
    assert time.monotonic() - began < 0.8
    source.says = ["http://n1"]
    source.gate.set()
    within(3.0, lambda: nodes(resilience))
    assert client.get("http://payments/").status_code == 200


def test_two_hundred_first_calls_at_once_wait_for_one_answer(fault_server):
    server, source = fault_server(), Steps(open_gate=False)
    source.says = [server.url]

    async def one(client, statuses):
        statuses.append((await client.get("http://payments/")).status_code)

    async def body():
        statuses = []
        async with (
            Resilience(settings(source)) as resilience,
            resilience.async_client() as client,
            anyio.create_task_group() as group,
        ):
            for _ in range(200):
                group.start_soon(one, client, statuses)
            await anyio.sleep(1.2)  # longer than a call may wait for a permit: none of them holds one
            source.gate.set()
        return statuses

    assert anyio.run(body) == [200] * 200
    assert source.asked >= 1


def test_threads_that_make_the_first_calls_at_once_begin_one_discovery(mocked):
    source = Steps(open_gate=False)
    source.says = ["http://n1"]
    _, client = mocked(source)
    with ThreadPoolExecutor(40) as pool:
        calls = [pool.submit(client.get, "http://payments/") for _ in range(40)]
        within(3.0, lambda: source.asked)
        assert len(threads()) == 1
        source.gate.set()
        assert [call.result().status_code for call in calls] == [200] * 40


def test_endpoints_beside_it_are_the_nodes_until_the_first_answer(caller, fault_server):
    first, found = fault_server(), fault_server()
    source = Steps([found.url], open_gate=False)
    resilience = caller.resilience(settings(source, endpoints=[first.url]))

    async def body(client):
        await client.get("http://payments/")
        source.gate.set()
        within(3.0, lambda: nodes(resilience) == [found.url])
        await client.get("http://payments/")

    caller.run(resilience, body)

    assert len(first.requests) == len(found.requests) == 1


def test_it_works_where_everything_else_is_switched_off(fault_server):
    server = fault_server()
    with Resilience({"enabled": False, **settings(Steps([server.url]))}) as resilience, resilience.client() as client:
        assert client.get("http://payments/").status_code == 200


@pytest.mark.parametrize(("found", "goes"), [("https", True), ("http", False)])
def test_who_asks_for_tls_is_not_sent_elsewhere_while_nothing_is_known(found, goes, mocked):
    _, client = mocked(Steps([f"{found}://n1"]))
    if goes:
        assert client.get("https://payments/").status_code == 200
    else:
        for _ in range(2):  # the first call, and one that knows the nodes
            with pytest.raises(NoEndpoint, match="asks for TLS"):
                client.get("https://payments/")


# Nodes come and go


def test_calls_under_way_end_where_they_are_and_connections_of_who_left_are_closed(caller, fault_server):
    gate = threading.Event()
    old, new = fault_server(gated(gate)), fault_server()
    source = Steps([old.url])
    resilience = caller.resilience(settings(source, confirm_after=None))

    def change():
        old.wait_for_requests(1)
        source.says = [new.url]
        within(5.0, lambda: nodes(resilience) == [new.url])
        gate.set()

    changing = threading.Thread(target=change)
    changing.start()

    async def body(client):
        first = await client.get("http://payments/")
        changing.join()
        second = await client.get("http://payments/")
        old.wait_for_open_connections(0)
        assert new.open_connections == 1
        return first, second

    first, second = caller.run(resilience, body)

    assert (first.status_code, second.status_code) == (200, 200)
    assert len(old.requests) == len(new.requests) == 1


def test_an_idle_connection_of_who_left_is_closed_with_the_next_call(caller, fault_server):
    old, new = fault_server(), fault_server()
    source = Steps([old.url])
    resilience = caller.resilience(settings(source, confirm_after=None))

    async def body(client):
        await client.get("http://payments/")
        assert old.open_connections == 1
        source.says = [new.url]
        within(5.0, lambda: nodes(resilience) == [new.url])
        await client.get("http://payments/")
        old.wait_for_open_connections(0, timeout=3.0)  # less than it would be kept

    caller.run(resilience, body)


def test_what_stays_keeps_its_circuit_its_latency_and_its_connection(fault_server):
    server = fault_server([answer(), answer(), *[answer(503)] * 5])
    source = Steps([server.url])
    with Resilience(settings(source)) as resilience, resilience.client() as client:
        for _ in range(7):
            client.get("http://payments/")
        circuit = resilience.circuits("payments")[server.url]
        assert circuit.mode == "open"
        source.says = [server.url, "http://127.0.0.1:1"]
        within(3.0, lambda: len(nodes(resilience)) == 2)
        assert resilience.circuits("payments")[server.url] is circuit
        source.says = [{"url": server.url, "weight": 5}, "http://127.0.0.1:1"]
        within(3.0, lambda: resilience.status()["upstreams"]["payments"]["endpoints"][1]["weight"] == 5.0)
        assert resilience.circuits("payments")[server.url] is circuit
        assert server.connections == 1


def test_no_call_fails_while_nodes_come_and_go(caller, fault_server):
    servers = [fault_server() for _ in range(4)]
    urls = [server.url for server in servers]
    source = Steps(urls[:2])
    resilience = caller.resilience(settings(source, retry={"max_attempts": 1}))

    async def body(client):
        statuses = []
        for i in range(60):
            source.says = [urls[i // 5 % 4], urls[(i // 5 + 1) % 4]]
            statuses.append((await client.get("http://payments/")).status_code)
            time.sleep(0.02)
        return statuses

    assert caller.run(resilience, body) == [200] * 60
    assert sum(bool(server.requests) for server in servers) >= 3


# What an answer does


def test_a_source_that_fails_says_nothing_or_garbage_keeps_the_last_good_set(mocked, caplog):
    told = []
    source = Steps(["http://n1", "http://n2"])
    resilience, client = mocked(source, [told.append])
    client.get("http://payments/")
    caplog.set_level(logging.INFO, "resilient_http.discovery")
    for says, why in [
        (OSError(SECRET), "OSError"),
        ([], "it names no endpoint"),
        ([f"http://me:{SECRET}@n1"], "garbage: nothing in it is an endpoint that can be used"),
        (None, "garbage: no list of endpoints"),
    ]:
        source.says = says
        within(3.0, lambda why=why: status(resilience)["failing"] == why)
        assert nodes(resilience) == ["http://n1", "http://n2"]
        assert client.get("http://payments/").status_code == 200
    assert status(resilience)["age"] > 0.0
    source.says = ["http://n1", "http://n2"]
    within(3.0, lambda: status(resilience)["failing"] is None)
    within(3.0, lambda: status(resilience)["age"] < 0.5)

    kinds = [type(event) for event in told]
    assert (kinds.count(DiscoveryFailed), kinds.count(DiscoveryRestored)) == (1, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert SECRET not in caplog.text + repr(told) + json.dumps(resilience.status())


def test_a_value_that_is_no_endpoint_is_left_out_and_told_once(mocked, caplog):
    source = Steps(["http://n1", f"http://me:{SECRET}@n2"])
    resilience, client = mocked(source)
    client.get("http://payments/")
    asked = source.asked
    within(3.0, lambda: source.asked > asked + 3)
    assert nodes(resilience) == ["http://n1"]
    assert status(resilience)["left_out"] == 1
    assert [record.message for record in caplog.records] == [
        (
            "discovery of payments: 1 values of tests.live.sources.Steps cannot be its endpoints "
            "(http://n2: an endpoint carries no credentials; pass auth= to the client)"
        )
    ]


def test_an_answer_that_takes_too_many_away_waits_for_confirmation(mocked, caplog):
    told = []
    source = Steps([f"http://n{i}" for i in range(4)])
    resilience, client = mocked(source, [told.append], confirm_after=1.5)
    client.get("http://payments/")
    source.says = ["http://n0"]
    began = time.monotonic()
    within(3.0, lambda: status(resilience)["held"])
    assert status(resilience)["held"]["missing"] == ["http://n1", "http://n2", "http://n3"]
    assert len(nodes(resilience)) == 4
    within(5.0, lambda: nodes(resilience) == ["http://n0"])
    assert time.monotonic() - began >= 1.4
    assert status(resilience)["held"] is None
    assert [event for event in told if isinstance(event, DiscoveryHeld)] == [
        DiscoveryHeld("payments", ("http://n1", "http://n2", "http://n3"))
    ]
    assert isinstance([event for event in told if isinstance(event, EndpointsChanged)][-1], EndpointsChanged)


def test_a_stream_is_asked_anew_for_a_confirmation(mocked):
    stream = Stream(["http://n1", "http://n2", "http://n3"], ["http://n1"], ["http://n1"], ["http://n1"], ["http://n1"])
    resilience, client = mocked(stream)
    client.get("http://payments/")
    within(5.0, lambda: nodes(resilience) == ["http://n1"])
    assert stream.begun >= 2


def test_a_stream_that_breaks_off_is_begun_anew_and_has_not_failed_by_that(mocked):
    told = []
    stream = Stream(["http://n1"], OSError(SECRET), ["http://n1", "http://n2"], None, ["http://n2"])
    resilience, client = mocked(stream, [told.append])
    client.get("http://payments/")
    within(5.0, lambda: nodes(resilience) == ["http://n2"])
    assert stream.begun == 3
    assert not [event for event in told if isinstance(event, DiscoveryFailed)]


def test_a_stream_that_does_not_begin_has_failed(mocked):
    told = []
    stream = Stream(["http://n1"], OSError(SECRET), OSError(SECRET))
    resilience, client = mocked(stream, [told.append])
    client.get("http://payments/")
    within(5.0, lambda: status(resilience)["failing"] == "OSError")
    stream.queue.put(["http://n2"])
    within(5.0, lambda: status(resilience)["failing"] is None)
    assert [type(event) for event in told if "Discovery" in type(event).__name__][:2] == [
        DiscoveryFailed,
        DiscoveryRestored,
    ]


def test_those_that_are_ejected_now_count_as_gone(fault_server):
    servers = [fault_server(answer(503, headers={"Retry-After": "60"}) if i < 2 else None) for i in range(4)]
    urls = [server.url for server in servers]
    source = Steps(urls)
    with Resilience(settings(source, confirm_after=60.0)) as resilience, resilience.client() as client:

        def out():
            client.get("http://payments/")
            return sum(each["out"] for each in resilience.status()["upstreams"]["payments"]["endpoints"]) == 2

        within(5.0, out)
        source.says = urls[:3]  # one more would be three of four
        within(3.0, lambda: status(resilience)["held"])
        source.says = urls[1:]  # one of those that are out anyway
        within(3.0, lambda: sorted(nodes(resilience)) == sorted(urls[1:]))


def test_a_node_that_is_down_already_is_replaced_without_confirmation(refused_url, fault_server):
    server, source = fault_server(), Steps([refused_url])
    with Resilience(settings(source, confirm_after=60.0)) as resilience, resilience.client() as client:
        for _ in range(5):
            with pytest.raises(httpx.ConnectError):
                client.get("http://payments/")
        source.says = [server.url]
        within(3.0, lambda: nodes(resilience) == [server.url])
        assert client.get("http://payments/").status_code == 200


# The thread


def test_it_ends_with_close_and_begins_anew_with_the_next_call(mocked):
    source = Steps(["http://n1"])
    resilience, client = mocked(source)
    assert not threads()
    client.get("http://payments/")
    assert len(threads()) == 1
    assert status(resilience)["running"]
    resilience.close()
    within(3.0, lambda: not threads())
    assert source.closed
    assert not status(resilience)["running"]
    client.get("http://payments/")
    assert len(threads()) == 1


def test_a_resilience_that_nobody_holds_leaves_no_thread():
    resilience = Resilience(settings(Steps(["http://n1"])))
    client = resilience.client(transport=httpx.MockTransport(lambda request: httpx.Response(200)))
    client.get("http://payments/")
    assert threads()
    del resilience, client

    def ended():
        gc.collect()
        return not threads()

    within(3.0, ended)


def test_other_settings_end_it_for_good_and_what_is_listed_then_stays(mocked):
    source = Steps(["http://found"])
    resilience, client = mocked(source)
    client.get("http://payments/")
    old = resilience._control.dispatcher.registry.named["payments"]
    resilience.reload({"upstreams": {"payments": {"endpoints": ["http://listed"], "retry": None}}})
    assert resilience.status()["upstreams"]["payments"]["discovery"] is None
    old.discovery.begin()  # as a call that was under way may
    within(3.0, lambda: not threads())
    assert nodes(resilience) == ["http://listed"]
    assert client.get("http://payments/").status_code == 200


def test_another_source_takes_its_place_and_the_same_one_goes_on(mocked):
    first, second = Steps(["http://a"]), Steps(["http://b"])
    resilience, client = mocked(first)
    client.get("http://payments/")
    (thread,) = threads()
    resilience.reload(settings(first, retry={"max_attempts": 2}))
    client.get("http://payments/")
    assert threads() == [thread]
    resilience.reload(settings(second))
    assert nodes(resilience) == ["http://a"]  # until it answers; no call waits
    client.get("http://payments/")
    within(3.0, lambda: nodes(resilience) == ["http://b"])
    within(3.0, lambda: thread not in threads())
    assert first.closed


class PerProcess:
    """Says which process made it, in the port."""

    def __init__(self):
        self.port = os.getpid() % 60000 + 1

    def resolve(self):
        return Discovered([f"http://n1:{self.port}"], 0.05)


def test_a_forked_child_has_a_thread_and_a_source_of_its_own():
    with Resilience(settings(PerProcess)) as resilience:
        client = resilience.client(transport=httpx.MockTransport(lambda request: httpx.Response(200)))
        client.get("http://payments/")
        parents = nodes(resilience)
        child = os.fork()
        if child == 0:
            try:
                assert not nodes(resilience)  # nothing is known here yet
                assert client.get("http://payments/").status_code == 200
                assert nodes(resilience) != parents
                assert len(threads()) == 1
                resilience.close()
            except BaseException:  # noqa: BLE001 - the child must not go on with the tests
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert nodes(resilience) == parents
        assert status(resilience)["running"]


def test_a_child_that_is_forked_while_the_parent_waits_for_its_source_is_not_held_up(mocked):
    source = Steps(["http://n1"])
    resilience, client = mocked(source)
    client.get("http://payments/")
    source.gate.clear()
    asked = source.asked
    within(3.0, lambda: source.asked > asked)
    child = os.fork()
    if child == 0:
        source.gate.set()
        try:
            assert client.get("http://payments/").status_code == 200
            resilience.close()
        except BaseException:  # noqa: BLE001 - see above
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    source.gate.set()


def test_it_keeps_no_process_alive(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import time, httpx\n"
        "from resilient_http import Resilience\n"
        "class Slow:\n"
        "    def resolve(self):\n"
        "        time.sleep(60)\n"
        "resilience = Resilience({'upstreams': {'p': {'endpoints': ['http://n1'], 'discovery': {'source': Slow}}}})\n"
        "client = resilience.client(transport=httpx.MockTransport(lambda request: httpx.Response(200)))\n"
        "print(client.get('http://p/').status_code)\n"
    )
    began = time.monotonic()
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, str(script)])
    assert os.waitpid(pid, 0)[1] == 0
    assert time.monotonic() - began < 30.0


class Suppressed:
    """Notes whether instrumentations see it."""

    seen: bool | None = None

    def resolve(self):
        type(self).seen = is_instrumentation_enabled()
        return ["http://n1"]


def test_its_requests_are_in_no_trace(mocked):
    _, client = mocked(Suppressed)
    client.get("http://payments/")
    assert Suppressed.seen is False


class Broken:
    """Cannot even be made, the first time."""

    made = 0

    def __init__(self):
        type(self).made += 1
        if self.made == 1:
            raise RuntimeError(SECRET)

    def resolve(self):
        return ["http://n1"]


def test_a_source_that_cannot_be_made_is_tried_again(mocked):
    told = []
    _, client = mocked(Broken, [told.append])
    assert client.get("http://payments/").status_code == 200
    assert DiscoveryFailed("payments", "RuntimeError") in told


def test_a_listener_that_closes_everything_is_not_held_up(mocked):
    made = []
    source = Steps(["http://n1"])

    def listener(event):
        if isinstance(event, DiscoveryFailed):
            made[0].close()

    resilience, client = mocked(source, [listener])
    made.append(resilience)
    client.get("http://payments/")
    source.says = OSError()
    within(3.0, lambda: not threads())


def test_an_object_of_the_users_goes_on_when_a_number_changes():
    source = Steps(["http://a"], every=None)
    with (
        Resilience(settings(source, confirm_after=None, interval=600.0)) as resilience,
        resilience.client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client,
    ):
        client.get("http://payments/")
        (thread,) = threads()

        resilience.reload(settings(source, confirm_after=None))
        source.says = ["http://b"]
        within(3.0, lambda: nodes(resilience) == ["http://b"])  # without a call, and not in 600 s
        assert threads() == [thread]
        assert source.closed == 0

        resilience.reload(settings(Steps(["http://c"])))
        within(3.0, lambda: source.closed)
