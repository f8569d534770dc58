"""The calls that are made in a scope are recorded, each with its journal; elsewhere nothing is."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from resilient_http import Resilience, Scope, deadline, detached, record_calls
from resilient_http.telemetry import recording as module
from tests.live.servers import answer

QUICK = {"retry": {"backoff": {"base": 0.01, "throttled_base": 0.02, "jitter": "constant"}}}


@pytest.fixture
def payments(fault_server):
    server = fault_server([answer(503), answer(200, "paid")])
    with Resilience({"upstreams": {"payments": {"endpoints": [server.url]}}, "defaults": QUICK}) as resilience:
        yield resilience


def test_a_call_is_recorded_with_its_journal_and_its_end(payments):
    with payments.client() as client:
        client.get("http://payments/before")
        with record_calls() as recording, deadline(5.0):
            response = client.get("http://payments/charges?card=4711", headers={"Authorization": "Bearer sesame"})
        client.get("http://payments/after")

    (call,) = recording.calls
    assert call.journal is response.extensions["resilient_http"]
    assert (call.status, call.error) == (200, None)
    told = json.loads(json.dumps(call.as_dict()))
    assert (told["method"], told["url"]) == ("GET", "http://payments/charges?card=REDACTED")
    assert 0 < told["took"] < 5
    assert told["budget"] == 5.0
    assert 0 < told["left"] < 5
    assert "sesame" not in json.dumps(told)


def test_a_call_that_fails_is_recorded_too(payments, refused_url):
    with payments.client() as client, record_calls() as recording, pytest.raises(httpx.ConnectError):
        client.get(refused_url)

    (call,) = recording.calls
    assert (call.status, call.error, call.degraded) == (None, "ConnectError", "failed")


async def test_tasks_follow_and_a_guard_is_a_call(payments):
    @payments.guard("db")
    async def query():
        return 42

    async with payments.async_client() as client:
        with record_calls() as recording:
            if _is_asyncio():
                await asyncio.gather(client.get("http://payments/1"), client.get("http://payments/2"))
            else:
                await client.get("http://payments/1")
                await client.get("http://payments/2")
            await query()
    await payments.aclose()

    urls = [call.url for call in recording.calls]
    assert sorted(urls) == ["", "http://payments/1", "http://payments/2"]


def _is_asyncio():
    try:
        return asyncio.get_running_loop() is not None
    except RuntimeError:
        return False


def test_a_client_that_is_bound_to_a_scope_is_recorded_by_it_and_by_where_it_is_used(payments):
    arrival = payments.inbound.arrive(lambda name: None, "10.0.0.1")
    with record_calls() as outer:
        recording = module.Recording()
        arrival.record(recording)
        bound = payments.client(scope=arrival.scope)
        plain = payments.client(scope=Scope())
        with ThreadPoolExecutor(1) as pool:
            pool.submit(bound.get, "http://payments/in-thread").result()
            pool.submit(plain.get, "http://payments/nowhere").result()
        bound.get("http://payments/here")
        plain.get("http://payments/outer")
        with detached():
            bound.get("http://payments/detached")

    assert [call.url.rpartition("/")[2] for call in recording.calls] == ["in-thread", "here", "detached"]
    assert [call.url.rpartition("/")[2] for call in outer.calls] == ["outer"]


def test_a_recording_ends_and_keeps_no_more_than_so_many(payments, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    with payments.client() as client:
        with record_calls() as recording:
            scope = module.current_scope()
            for _ in range(3):
                client.get("http://payments/")
        bound = payments.client(scope=scope)
        bound.get("http://payments/late")

    assert (len(recording.calls), recording.dropped) == (2, 1)
