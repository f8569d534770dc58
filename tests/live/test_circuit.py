"""Circuits over real sockets and real threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import pybreaker
import pytest

from resilient_http import CircuitOpen, Resilience
from tests.live.callers import Caller
from tests.live.servers import answer, delay, drip_body, gated, hang

ALONE = {"retry": None}


def upstream(*endpoints, **settings):
    return {"upstreams": {"payments": {"endpoints": list(endpoints), **ALONE, **settings}}}


def the_circuit(resilience):
    (circuit,) = resilience.circuits("payments").values()
    return circuit


def test_eight_threads_pass_one_circuit_side_by_side(fault_server):
    server = fault_server(delay(0.2, answer(200)))
    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        client.get("http://payments/")
        started = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            statuses = [response.status_code for response in pool.map(client.get, ["http://payments/"] * 8)]
        took = time.monotonic() - started

    assert statuses == [200] * 8
    assert took < 0.4


def test_of_twenty_callers_at_half_open_one_reaches_the_endpoint(fault_server):
    gate = threading.Event()
    server = fault_server(gated(gate, answer(200)))
    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        the_circuit(resilience).half_open()

        def call(_):
            try:
                return client.get("http://payments/").status_code
            except CircuitOpen as refused:
                return refused

        with ThreadPoolExecutor(20) as pool:
            futures = [pool.submit(call, number) for number in range(20)]
            server.wait_for_requests(1)
            while sum(future.done() for future in futures) < 19:
                time.sleep(0.01)
            assert len(server.requests) == 1
            gate.set()
        results = [future.result() for future in futures]

    assert results.count(200) == 1
    assert all(isinstance(result, CircuitOpen) for result in results if result != 200)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_of_twenty_tasks_at_half_open_one_reaches_the_endpoint(loop, backend, fault_server):
    caller = Caller(loop, backend)
    gate = threading.Event()
    server = fault_server(gated(gate, answer(200)))
    resilience = caller.resilience(upstream(server.url))
    results = []

    async def body(client):
        the_circuit(resilience).half_open()

        async def call():
            try:
                results.append((await client.get("http://payments/")).status_code)
            except CircuitOpen:
                results.append("refused")
                if results.count("refused") == 19:
                    gate.set()

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(call)

    caller.run(resilience, body)

    assert results.count(200) == 1
    assert results.count("refused") == 19
    assert len(server.requests) == 1


def test_a_dead_upstream_is_refused_at_once_and_the_error_says_until_when(caller, refused_url):
    async def body(client):
        for _ in range(5):
            with pytest.raises(caller.module.ConnectError):
                await client.get("http://payments/")
        with pytest.raises(caller.errors.CircuitOpen) as caught:
            await client.get("http://payments/")
        return caught.value

    error = caller.run(caller.resilience(upstream(refused_url)), body)

    assert isinstance(error, pybreaker.CircuitBreakerError)
    assert isinstance(error, caller.module.TransportError)
    assert 3.5 < error.retry_in <= 6.0
    assert error.upstream == "payments"
    assert f"circuit of payments at {refused_url} is open; next probe in" in str(error)
    assert error.journal.attempts[0].outcome == "refused"


def test_a_probe_closes_the_circuit_again(caller, fault_server):
    server = fault_server(answer(503))
    resilience = caller.resilience(upstream(server.url, circuit={"open_for": 0.1}))

    async def body(client):
        for _ in range(5):
            await client.get("http://payments/")
        assert the_circuit(resilience).mode == "open"
        server.play(answer(200))
        time.sleep(0.15)
        assert (await client.get("http://payments/")).status_code == 200
        assert the_circuit(resilience).mode == "half-open"
        assert (await client.get("http://payments/")).status_code == 200

    caller.run(resilience, body)

    assert the_circuit(resilience).mode == "closed"


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (answer(200), "success"),
        (answer(404), "success"),
        (answer(501), "success"),
        (answer(408), "neutral"),
        (answer(429), "neutral"),
        (answer(500), "error"),
        (answer(502), "failure"),
        (answer(503), "failure"),
        (answer(504), "failure"),
        (answer(599), "failure"),
    ],
)
def test_what_an_answer_counts_as(fault_server, behaviour, outcome):
    server = fault_server(behaviour)
    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        journal = client.get("http://payments/").extensions["resilient_http"]

    assert journal.attempts[0].outcome == outcome


def test_an_attempt_timeout_counts_as_a_failure_without_an_answer(caller, fault_server):
    server = fault_server(hang())

    async def body(client):
        outcomes = set()
        for _ in range(5):  # one that fires late, because the machine stalled, is neutral
            with pytest.raises(caller.module.ReadTimeout) as caught:
                await client.get("http://payments/")
            outcomes.add(caught.value.journal.attempts[0].outcome)
        return outcomes

    settings = upstream(server.url, timeout={"attempt": 0.1}, circuit=None)
    assert "unanswered" in caller.run(caller.resilience(settings), body)


def test_a_client_with_a_tiny_timeout_cannot_open_the_circuit(caller, fault_server):
    server = fault_server(hang())
    resilience = caller.resilience(upstream(server.url))

    async def body(client):
        for _ in range(12):
            with pytest.raises(caller.module.TimeoutException) as caught:  # on a busy machine, of its connect
                await client.get("http://payments/", timeout=0.02)
        return caught.value.journal.attempts[0].outcome

    assert caller.run(resilience, body) == "neutral"
    assert the_circuit(resilience).mode == "closed"


def test_a_stream_that_the_user_closes_early_is_neutral(caller, fault_server):
    server = fault_server(drip_body(0.01))
    resilience = caller.resilience(upstream(server.url))

    async def body(client):
        response = await client.open_stream("http://payments/")
        assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 1
        await client.close_stream(response)
        return response.extensions["resilient_http"].attempts[0].outcome

    assert caller.run(resilience, body) == "neutral"
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0


def test_a_pybreaker_listener_of_the_users_hears_the_circuit(refused_url):
    class Recorder(pybreaker.CircuitBreakerListener):
        def __init__(self):
            self.heard = []

        def state_change(self, cb, old_state, new_state):
            self.heard.append((old_state.name, new_state.name))

        def failure(self, cb, exc):
            self.heard.append(type(exc).__name__)

        def success(self, cb):
            self.heard.append("success")

    recorder = Recorder()
    with Resilience(upstream(refused_url), circuit_listeners=[recorder]) as resilience, resilience.client() as client:
        for _ in range(5):
            with pytest.raises(Exception, match="refused"):
                client.get("http://payments/")

    assert recorder.heard.count("ConnectError") == 5
    assert ("closed", "open") in recorder.heard


def test_a_circuit_is_switched_by_hand(fault_server):
    server = fault_server(answer(200))
    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        circuit = the_circuit(resilience)
        circuit.force_open()
        with pytest.raises(CircuitOpen, match="held open by hand"):
            client.get("http://payments/")
        circuit.close()
        assert client.get("http://payments/").status_code == 200
        circuit.disable()
        server.play(answer(503))
        assert {client.get("http://payments/").status_code for _ in range(30)} == {503}
        assert resilience.status()["upstreams"]["payments"]["endpoints"][0]["circuit"]["state"] == "disabled"


@pytest.mark.parametrize(("streamed", "opens"), [(False, True), (True, False)])
def test_a_slow_body_is_a_slow_call_unless_the_user_streams_it(caller, fault_server, streamed, opens):
    server = fault_server(drip_body(0.05, chunks=4))
    rule = {"slow_call": {"duration": 0.1}, "min_calls": 3, "window": 3}
    resilience = caller.resilience(upstream(server.url, circuit=rule))

    async def body(client):
        for _ in range(3):
            if streamed:
                await client.stream("GET", "http://payments/")
            else:
                await client.get("http://payments/")

    caller.run(resilience, body)

    assert (the_circuit(resilience).mode == "open") == opens


def test_slow_headers_are_a_slow_call_for_a_stream_too(caller, fault_server):
    server = fault_server(delay(0.15, answer(200, b"body")))
    rule = {"slow_call": {"duration": 0.1}, "min_calls": 3, "window": 3}
    resilience = caller.resilience(upstream(server.url, circuit=rule))

    async def body(client):
        for _ in range(3):
            await client.stream("GET", "http://payments/")

    caller.run(resilience, body)

    assert the_circuit(resilience).cause == "slow calls"


def test_an_observing_circuit_is_never_in_the_way(caller, refused_url):
    told = []
    resilience = caller.resilience(upstream(refused_url, circuit={"observe": True}), listeners=[told.append])

    async def body(client):
        for _ in range(8):
            with pytest.raises(caller.module.ConnectError):
                await client.get("http://payments/")

    caller.run(resilience, body)

    assert [type(event).__name__ for event in told].count("Observed") == 3
    assert the_circuit(resilience).observed == 3
