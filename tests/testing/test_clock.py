"""The virtual clock: what the policies wait for passes at once, and in order."""

from __future__ import annotations

import time

import anyio
import httpx
import pytest

from resilient_http import CircuitOpen, Resilience, Saturated, deadline, journal_of, remaining
from resilient_http.testing import ScriptedUpstream, VirtualClock, injected_faults, scripted, virtual_time

URL = "http://payments/"
N1 = "http://10.0.0.1:8080"
ANY_BACKOFF = {"retry": {"budget": None, "backoff": {"base": 4.0, "cap": 4.0}, "max_wait": 5.0}}


def payments(**own):
    return Resilience({"upstreams": {"payments": {"endpoints": [N1], "timeout": {"total": 60}, **own}}})


@pytest.fixture(autouse=True)
def _nothing_waits():
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 2.0


def test_backoff_passes_at_once_and_is_the_same_each_time(scripted_upstream):
    took = []
    for _ in range(2):
        with virtual_time() as clock, payments(**ANY_BACKOFF) as resilience:
            scripted_upstream(resilience).reply(500, times=2).then(200)
            with resilience.client() as client:
                assert client.get(URL).status_code == 200
            took.append(clock.elapsed)
    assert took[0] == pytest.approx(took[1])
    assert took[0] > 0.5


def test_retry_after_passes_at_once(virtual_clock, scripted_upstream):
    with payments() as resilience:
        scripted_upstream(resilience).reply(429, headers={"retry-after": "4"}).then(200)
        with resilience.client() as client:
            assert client.get(URL).status_code == 200
    assert 4.0 <= virtual_clock.elapsed < 5.0


def test_a_circuit_opens_and_lets_a_probe_through_when_its_time_has_come(virtual_clock, scripted_upstream):
    with payments(retry=None) as resilience:
        scripted_upstream(resilience).reply(503, times=5).then(200)
        with resilience.client() as client:
            for _ in range(5):
                client.get(URL)
            with pytest.raises(CircuitOpen) as caught:
                client.get(URL)
            status = resilience.status()["upstreams"]["payments"]["endpoints"][0]
            assert status["circuit"]["retry_in"] == pytest.approx(caught.value.retry_in)
            virtual_clock.advance(caught.value.retry_in)
            assert client.get(URL).status_code == 200


async def test_a_hedge_is_sent_by_the_clock_and_wins(virtual_clock, scripted_upstream):
    async with payments(hedge={"delay": 0.2}) as resilience:
        upstream = scripted_upstream(resilience)
        upstream.delay(2.0).reply(200, text="slow").delay(0.1).reply(200, text="quick")
        async with resilience.async_client() as client:
            response = await client.get(URL)
    assert (response.text, virtual_clock.elapsed) == ("quick", pytest.approx(0.3))
    assert [entry.decision for entry in journal_of(response).attempts] == ["lost", "return"]
    assert [sent.at - virtual_clock.started for sent in upstream.requests] == pytest.approx([0.0, 0.2])


def test_a_hedge_of_a_sync_client_is_sent_by_the_clock_and_wins(virtual_clock, scripted_upstream):
    for _ in range(20):  # threads take turns in many ways
        at = virtual_clock.elapsed
        with payments(hedge={"delay": 0.2}) as resilience:
            upstream = scripted_upstream(resilience)
            upstream.delay(2.0).reply(200, text="slow").delay(0.1).reply(200, text="quick")
            with resilience.client() as client:
                response = client.get(URL)
        assert (response.text, virtual_clock.elapsed - at) == ("quick", pytest.approx(0.3))
        assert [entry.decision for entry in journal_of(response).attempts] == ["lost", "return"]
        assert [sent.at - virtual_clock.started - at for sent in upstream.requests] == pytest.approx([0.0, 0.2])


def test_a_hedge_of_a_sync_client_may_lose_and_a_quick_call_has_none(virtual_clock, scripted_upstream):
    with payments(hedge={"delay": 0.2}) as resilience, resilience.client() as client:
        upstream = scripted_upstream(resilience)
        upstream.delay(0.3).reply(200, text="first").delay(9.0).reply(200, text="hedge").then(200, text="quick")
        assert client.get(URL).text == "first"
        assert virtual_clock.elapsed == pytest.approx(0.3)
        response = client.get(URL)
        assert (response.text, len(journal_of(response).attempts)) == ("quick", 1)
        assert virtual_clock.elapsed == pytest.approx(0.3)


def test_a_circuit_that_is_opened_by_hand_has_the_time_of_the_clock(virtual_clock, scripted_upstream):
    with payments(retry=None) as resilience, resilience.client() as client:
        scripted_upstream(resilience).reply(200)
        virtual_clock.advance(100.0)
        resilience.circuits("payments")[N1].open()
        with pytest.raises(CircuitOpen) as caught:
            client.get(URL)
        assert 0 < caught.value.retry_in < 10.0
        virtual_clock.advance(caught.value.retry_in)
        assert client.get(URL).status_code == 200


async def test_tasks_wait_beside_each_other_and_in_order(virtual_clock, scripted_upstream):
    order = []
    async with payments() as resilience:
        upstream = scripted_upstream(resilience)
        for number in (3, 1, 2):
            upstream.on("GET", f"/{number}").delay(float(number) / 2).reply(200)

        async with resilience.async_client() as client, anyio.create_task_group() as tasks:

            async def ask(number):
                await client.get(f"{URL}{number}")
                order.append((number, round(virtual_clock.elapsed, 3)))

            for number in (3, 1, 2):
                tasks.start_soon(ask, number)
    assert order == [(1, 0.5), (2, 1.0), (3, 1.5)]


async def test_a_queue_is_left_when_its_time_is_up(virtual_clock, scripted_upstream):
    async with payments(concurrency={"limit": 1}, timeout={"total": 60, "pool": 1.0}, retry=None) as resilience:
        upstream = scripted_upstream(resilience)
        upstream.delay(2.0).reply(200)
        async with resilience.async_client() as client, anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, URL)
            while not upstream.requests:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(Saturated):
                await client.get(URL)
            assert virtual_clock.elapsed == pytest.approx(1.0)
    assert virtual_clock.elapsed == pytest.approx(2.0)


def test_deadlines_of_the_users_are_virtual_too(virtual_clock):
    virtual_clock.advance(100.0)
    with deadline(2.0):
        virtual_clock.advance(1.5)
        assert remaining() == pytest.approx(0.5)


def test_a_resilience_of_before_goes_by_it_and_afterwards_by_real_time(scripted_upstream):
    with payments(**ANY_BACKOFF) as resilience, resilience.client() as client:
        port = resilience.sync_port
        with virtual_time() as clock, scripted(ScriptedUpstream(), resilience) as upstream:
            upstream.reply(500).then(200)
            assert client.get(URL).status_code == 200
            assert clock.elapsed > 0
        assert resilience.sync_port is port
        assert port.now() == pytest.approx(time.monotonic(), abs=0.1)


def test_pythons_own_time_is_left_alone(virtual_clock):
    before = time.monotonic()
    virtual_clock.advance(1000.0)
    assert time.monotonic() - before < 100.0


def test_a_clock_never_goes_back():
    clock = VirtualClock()
    clock.sleep(-1.0)
    assert clock.elapsed == 0.0
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite seconds"):
            clock.advance(wrong)


async def test_a_task_that_is_cancelled_while_it_sleeps_holds_up_nobody(virtual_clock):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(virtual_clock.sleep_in_task, 1.0)
        with anyio.move_on_after(0):
            await virtual_clock.sleep_in_task(0.1)
    assert virtual_clock.elapsed == pytest.approx(1.0)


def test_faults_are_injected_for_a_block(virtual_clock, scripted_upstream, inject_faults):
    with payments(routes={"GET /slow": {}}) as resilience, resilience.client() as client:
        upstream = scripted_upstream(resilience)
        upstream.reply(200, times=None)
        before = resilience.settings
        with injected_faults(resilience, "payments", abort="before"), pytest.raises(httpx.ConnectError):
            client.get(URL)
        assert resilience.settings == before
        assert client.get(URL).status_code == 200
        inject_faults(resilience, "payments", "GET /slow", latency=2.0)
        at = virtual_clock.elapsed
        assert client.get(f"{URL}slow").status_code == 200
        assert virtual_clock.elapsed - at == pytest.approx(2.0)
        assert client.get(URL).status_code == 200
        assert virtual_clock.elapsed - at == pytest.approx(2.0)
