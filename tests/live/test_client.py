"""The clients are httpx clients, with everything that httpx users know."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import httpx2
import pytest

from resilient_http import AsyncClient, Client, ForeignAwait, Resilience, Saturated, SettingsError
from tests.live.servers import answer, delay, echo, gated

HTTP_ERRORS = (httpx.HTTPError, httpx2.HTTPError)


def upstream(*endpoints, **settings):
    return {"upstreams": {"payments": {"endpoints": list(endpoints), **settings}}}


def test_the_clients_are_real_httpx_clients(caller):
    with caller.resilience() as resilience:
        assert isinstance(resilience.client(), caller.module.Client)
        assert isinstance(resilience.client(), caller.errors.Client)
        assert isinstance(resilience.async_client(), caller.module.AsyncClient)
        assert isinstance(resilience.async_client(), caller.errors.AsyncClient)


def test_base_url_params_headers_and_json_work_as_in_httpx(caller, fault_server):
    server = fault_server(echo())

    async def body(client):
        return await client.post("charges", json={"a": 1}, params={"q": "1"}, headers={"X-Own": "yes"})

    response = caller.run(caller.resilience(upstream(server.url)), body, base_url="http://payments/v1/")

    received = response.json()
    assert received["target"] == "/v1/charges?q=1"
    assert ["X-Own", "yes"] in received["headers"]
    assert json.loads(server.requests[0].body) == {"a": 1}
    assert response.elapsed.total_seconds() > 0


def test_event_hooks_see_the_logical_request_and_the_response(caller, fault_server):
    server = fault_server(answer(200))
    seen = []

    def on_request(request):
        seen.append(str(request.url))

    def on_response(response):
        seen.append(response.status_code)

    async def async_on_request(request):
        on_request(request)

    async def async_on_response(response):
        on_response(response)

    async def body(client):
        await client.get("http://payments/")

    hooks = (
        {"request": [on_request], "response": [on_response]}
        if caller.kind == "sync"
        else {"request": [async_on_request], "response": [async_on_response]}
    )
    caller.run(caller.resilience(upstream(server.url)), body, event_hooks=hooks)

    assert seen == ["http://payments/", 200]


def test_an_auth_flow_is_one_call_with_one_journal(caller, fault_server):
    server = fault_server(
        lambda request: (
            answer(200, "in")
            if request.header("Authorization")
            else answer(401, headers={"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'})
        )
    )

    async def body(client):
        return await client.get("http://payments/", auth=caller.module.DigestAuth("user", "password"))

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert response.text == "in"
    assert [entry.status for entry in response.extensions["resilient_http"].attempts] == [401, 200]


def test_streaming_works_chunk_by_chunk(caller, fault_server):
    server = fault_server(answer(200, b"x" * 100_000))

    async def body(client):
        return await client.stream("GET", "http://payments/")

    response, content = caller.run(caller.resilience(upstream(server.url)), body)

    assert len(content) == 100_000
    assert response.extensions["resilient_http"].attempts[0].outcome == "success"


def test_a_user_transport_becomes_the_engine_and_is_closed_with_the_client():
    class Engine(httpx.BaseTransport):
        closed = False
        calls = 0

        def handle_request(self, request):
            self.calls += 1
            return httpx.Response(503 if self.calls == 1 else 200)

        def close(self):
            self.closed = True

    engine = Engine()
    with Resilience({"defaults": {"retry": {"backoff": {"throttled_base": 0.01}}}}) as resilience:
        with resilience.client(transport=engine) as client:
            assert client.get("https://api.example.com/").status_code == 200
        assert engine.calls == 2
        assert engine.closed


def test_mounts_go_through_the_policies_too(fault_server):
    calls = []

    def handler(request):
        calls.append(request.url.host)
        return httpx.Response(503 if len(calls) == 1 else 200)

    settings = {"defaults": {"retry": {"backoff": {"throttled_base": 0.01}}}}
    mounts = {"all://mocked.example": httpx.MockTransport(handler)}
    with Resilience(settings) as resilience, resilience.client(mounts=mounts) as client:
        assert client.get("http://mocked.example/").status_code == 200
    assert calls == ["mocked.example"] * 2


def test_transports_serve_clients_of_the_users_own(backend, fault_server):
    server = fault_server([answer(503), answer(200, "ok"), answer(503), answer(200, "ok")])
    settings = {"backend": backend, **upstream(server.url, retry={"backoff": {"throttled_base": 0.01}})}
    library = pytest.importorskip(backend)

    with Resilience(settings) as resilience:
        with library.Client(transport=resilience.transport()) as client:
            response = client.get("http://payments/")
            assert (response.status_code, response.text) == (200, "ok")
            assert len(response.extensions["resilient_http"].attempts) == 2

        async def main():
            async with resilience, library.AsyncClient(transport=resilience.async_transport()) as client:
                return (await client.get("http://payments/")).text

        assert anyio.run(main) == "ok"


@pytest.mark.parametrize(
    ("argument", "setting"),
    [
        ({"verify": False}, "tls.verify"),
        ({"cert": "c.pem"}, "tls.cert"),
        ({"http2": True}, "http2"),
        ({"http1": False}, "http2"),
        ({"limits": httpx.Limits()}, "pool"),
        ({"proxy": "http://proxy:3128"}, "proxy"),
    ],
)
def test_an_argument_that_would_be_lost_is_refused_with_the_setting_to_use(argument, setting):
    resilience = Resilience()
    for make in (resilience.client, resilience.async_client):
        with pytest.raises(SettingsError, match=f"use the setting {setting}"):
            make(**argument)


@pytest.mark.parametrize(("backend", "other"), [("httpx", "httpx2"), ("httpx2", "httpx")])
def test_a_transport_of_the_other_backend_is_refused(backend, other):
    module = pytest.importorskip(other)
    engine = module.MockTransport(lambda request: module.Response(200))
    resilience = Resilience({"backend": backend})

    for make in (resilience.client, resilience.async_client):
        with pytest.raises(SettingsError, match=f'^transport is a transport of {other}, but `backend` is "{backend}"$'):
            make(transport=engine)


def test_closing_a_client_closes_nothing_that_others_use(fault_server):
    server = fault_server(answer(200))
    with Resilience(upstream(server.url)) as resilience:
        with resilience.client() as first:
            first.get("http://payments/")
        with resilience.client() as second:
            second.get("http://payments/")
        assert server.connections == 1
        assert server.open_connections == 1
    server.wait_for_open_connections(0)


def test_a_client_that_is_closed_says_so():
    with Resilience() as resilience:
        client = resilience.client()
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.get("http://payments/")


def test_clients_do_not_share_cookies(fault_server):
    server = fault_server(answer(200, headers={"Set-Cookie": "a=1"}))
    with Resilience(upstream(server.url)) as resilience, resilience.client() as one, resilience.client() as other:
        one.get("http://payments/")
        other.get("http://payments/")
    assert [request.header("Cookie") for request in server.requests] == [None, None]


def test_a_full_queue_is_refused_and_names_the_limit(fault_server):
    gate = threading.Event()
    server = fault_server(gated(gate, answer(200)))
    settings = upstream(server.url, concurrency={"limit": 2, "queue": 1}, retry=None)
    with Resilience(settings) as resilience, resilience.client() as client, ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(client.get, "http://payments/") for _ in range(3)]
        server.wait_for_requests(2)
        while resilience.status()["upstreams"]["payments"]["concurrency"]["queued"] < 1:
            time.sleep(0.005)
        with pytest.raises(Saturated, match="all 2 permits are taken and its queue of 1 is full") as caught:
            client.get("http://payments/")
        gate.set()
        assert [future.result().status_code for future in futures] == [200] * 3

    assert isinstance(caught.value, httpx.PoolTimeout)
    assert server.connections == 2


def test_a_wait_for_a_permit_ends_after_timeout_pool(caller, fault_server):
    gate = threading.Event()
    server = fault_server(gated(gate, answer(200)))
    settings = upstream(server.url, concurrency={"limit": 1}, timeout={"pool": 0.1}, retry=None)
    resilience = caller.resilience(settings)

    async def body(client):
        held = await client.open_stream("http://payments/") if gate.is_set() else None
        started = time.monotonic()
        with pytest.raises(caller.errors.Saturated, match=r"none came back in 0.1 s"):
            await client.get("http://payments/")
        took = time.monotonic() - started
        await client.close_stream(held)
        return took, (await client.get("http://payments/")).status_code

    gate.set()
    took, status = caller.run(resilience, body)

    assert 0.1 <= took < 0.35
    assert status == 200


def test_a_permit_wakes_waiters_of_threads_and_loops_alike(fault_server):
    server = fault_server(delay(0.02, answer(200)))
    resilience = Resilience(upstream(server.url, concurrency={"limit": 2}, timeout={"pool": 5.0}))
    done = []

    def in_threads():
        with resilience.client() as client, ThreadPoolExecutor(10) as pool:
            done.extend(pool.map(lambda _: client.get("http://payments/").status_code, range(30)))

    async def in_loop():
        async with resilience.async_client() as client:

            async def one():
                done.append((await client.get("http://payments/")).status_code)

            async with anyio.create_task_group() as tasks:
                for _ in range(30):
                    tasks.start_soon(one)
        thread.join()
        await resilience.aclose()

    thread = threading.Thread(target=in_threads)
    thread.start()
    anyio.run(in_loop)

    assert done == [200] * 60
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0


def test_a_foreign_await_in_a_sync_client_is_a_named_error():
    async def foreign(call, proceed):
        await anyio.sleep(0.01)
        return await proceed(call)

    resilience = Resilience({"upstreams": {"payments": {"endpoints": ["http://127.0.0.1:1"]}}})
    payments = resilience.dispatcher.registry.named["payments"]
    proceed = payments.pipeline.run
    payments.pipeline = dataclasses.replace(payments.pipeline, run=lambda call: foreign(call, proceed))

    with resilience.client() as client, pytest.raises((ForeignAwait, RuntimeError)):
        client.get("http://payments/")


def test_switched_off_it_is_plain_httpx_with_the_same_api(fault_server):
    server = fault_server(answer(503))
    with Resilience({"enabled": False, **upstream(server.url)}) as resilience, resilience.client() as client:
        assert [client.get("http://payments/").status_code for _ in range(20)] == [503] * 20
    assert len(server.requests) == 20


def test_status_is_json_and_names_what_calls_go_by(fault_server):
    server = fault_server(answer(200))
    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        client.get("http://payments/")
        status = json.loads(json.dumps(resilience.status()))

    payments = status["upstreams"]["payments"]
    assert payments["endpoints"][0]["url"] == server.url
    assert payments["endpoints"][0]["circuit"] == {"state": "closed", "cause": "", "retry_in": 0.0, "observed": None}
    assert status["shared"] is None
    assert payments["concurrency"] == {
        "limit": 100, "in_flight": 0, "queued": 0, "queue": 100, "usual": None, "decisions": {},
    }  # fmt: skip
    assert (payments["rate_limit"], payments["pauses"]) == (None, {"routes": 0, "decisions": {}})
    assert payments["retry_budget"]["tokens"] >= 3
    assert status["connections"] == {"sync": 1}


def test_public_clients_have_types_that_users_can_name():
    assert issubclass(Client, httpx.Client)
    assert issubclass(AsyncClient, httpx.AsyncClient)


def test_a_mock_in_a_client_of_the_users_own_holds_no_permit():
    settings = {"defaults": {"concurrency": {"limit": 2, "queue": 0}}}
    mock = httpx.MockTransport(lambda _: httpx.Response(200, json={}))
    with Resilience(settings) as resilience, httpx.Client(transport=resilience.transport(mock)) as client:
        assert [client.get("http://api.example/").status_code for _ in range(5)] == [200] * 5


def test_an_operator_switches_it_off_from_the_environment(fault_server, monkeypatch):
    monkeypatch.setenv("RESILIENT_HTTP_ENABLED", "false")
    server = fault_server(answer(503))
    with Resilience(upstream(server.url)) as resilience, resilience.client() as client:
        assert client.get("http://payments/").status_code == 503
        assert resilience.status()["enabled"] is False
    assert len(server.requests) == 1


def test_switched_off_the_users_timeout_is_httpx_own(fault_server):
    server = fault_server(delay(5.0, answer(200)))
    with Resilience({"enabled": False, **upstream(server.url)}) as resilience:
        with resilience.client(timeout=0.2) as client, pytest.raises(httpx.ReadTimeout):
            client.get("http://payments/")
        assert resilience.client().timeout == httpx.Client().timeout


def test_a_header_that_is_refused_is_not_quoted_in_the_journal(fault_server):
    server = fault_server(answer(200))
    client = Resilience(upstream(server.url)).client()
    with client, pytest.raises(httpx.LocalProtocolError) as caught:
        client.get("http://payments/", headers={"Authorization": "Bearer TOPSECRET\n"})
    assert "TOPSECRET" not in str(caught.value.journal) + json.dumps(caught.value.journal.as_dict())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_waits_when_all_is_closed_is_woken_and_keeps_its_descriptor_until_then(backend, fault_server, tls, scheme):
    server = fault_server(
        gated(gate := threading.Event()), tls=tls.server_context("localhost") if scheme == "https" else None
    )
    settings = upstream(f"{scheme}://localhost:{server.port}", tls={"verify": str(tls.ca_file)}, retry=None)
    resilience = Resilience({"backend": backend, **settings})
    outcome = []

    def call():
        try:
            outcome.append(resilience.client().get("http://payments/"))
        except HTTP_ERRORS as exc:
            outcome.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    server.wait_for_requests(1)
    started = time.monotonic()
    resilience.close()
    thread.join()
    gate.set()

    assert time.monotonic() - started < 1.0  # of the three seconds that it might have read
    assert type(outcome[0]).__name__ == "ReadError"
    server.wait_for_open_connections(0)
