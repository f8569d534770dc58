"""Injected faults over real sockets: users see the exceptions, times and repeats of real ones."""

from __future__ import annotations

import logging
import os
import threading
import time

import pytest

from resilient_http import Cancellation, Cancelled, DeadlineExceeded, Resilience, Scope, enter_scope, journal_of
from resilient_http.events import FaultInjected
from resilient_http.settings.chaos_header import chaos_header
from resilient_http.settings.models import Settings
from tests.live.behaviours import answer, delay

KEY = "not-a-secret-of-anybody"
BODY = b"x" * 4000


def settings(url, chaos, **own):
    root = {"chaos": {"allowed": ["payments"], "key": KEY}}
    return {**root, "upstreams": {"payments": {"endpoints": [url], "chaos": {"lasts": 60, **chaos}, **own}}}


def test_an_error_is_answered_and_the_server_is_not_asked(caller, fault_server):
    server = fault_server(answer(200))
    error = {"status": 503, "headers": {"x-why": "chaos"}, "body": "no"}
    resilience = caller.resilience(settings(server.url, {"error": error}, retry=None))

    async def body(client):
        plain = await client.get("http://payments/")
        streamed, content = await client.stream("GET", "http://payments/")
        return plain, streamed, content

    plain, streamed, content = caller.run(resilience, body)
    assert (plain.status_code, plain.headers["x-why"], plain.text) == (503, "chaos", "no")
    assert (streamed.status_code, content) == (503, b"no")
    assert server.requests == []
    assert "chaos: 503 injected" in str(journal_of(plain))
    assert resilience.status()["upstreams"]["payments"]["chaos"]["injected"] == {"error": 2}
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0


def test_an_abort_before_sending_is_a_connect_error_and_any_request_is_repeated(caller, fault_server):
    server = fault_server(answer(200))
    resilience = caller.resilience(settings(server.url, {"abort": "before"}))

    async def body(client):
        with pytest.raises(caller.module.ConnectError) as caught:
            await client.post("http://payments/", content=b"1")
        return caught.value

    error = caller.run(resilience, body)
    assert [(each.sent, each.decision) for each in journal_of(error).attempts] == [
        (False, "retry"), (False, "retry"), (False, "raise"),
    ]  # fmt: skip
    assert server.requests == []


@pytest.mark.parametrize("streamed", [False, True])
def test_an_abort_after_sending_reached_the_server_and_a_post_is_not_repeated(caller, fault_server, streamed):
    server = fault_server(answer(200, BODY))
    resilience = caller.resilience(settings(server.url, {"abort": "after", "methods": ["POST"]}))

    async def body(client):
        with pytest.raises(caller.module.ReadError) as caught:
            await (client.stream if streamed else client.request)("POST", "http://payments/", content=b"1")
        assert (await client.get("http://payments/")).status_code == 200
        return caught.value

    error = caller.run(resilience, body)
    (entry,) = journal_of(error).attempts
    assert (entry.sent, entry.outcome, entry.decision) == (True, "unanswered", "raise")
    assert [request.method for request in server.requests] == ["POST", "GET"]
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0


def test_latency_counts_against_the_deadline(caller, fault_server):
    server = fault_server(answer(200))
    own = {"timeout": {"total": 0.4, "attempt": 0.3}, "retry": {"backoff": {"base": 0.001}}}
    resilience = caller.resilience(settings(server.url, {"latency": 5.0}, **own))

    async def body(client):
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await client.get("http://payments/")
        return time.monotonic() - started

    assert 0.35 < caller.run(resilience, body) < 0.7
    assert server.requests == []


def test_a_body_drips_whether_it_is_read_at_once_or_streamed(caller, fault_server):
    server = fault_server(answer(200, BODY))
    resilience = caller.resilience(settings(server.url, {"drip": 10_000.0}))

    async def body(client):
        took = []
        for work in (client.get("http://payments/"), client.stream("GET", "http://payments/")):
            started = time.monotonic()
            got = await work
            assert (got[1] if isinstance(got, tuple) else got.content) == BODY
            took.append(time.monotonic() - started)
        return took

    assert all(0.35 < took < 0.8 for took in caller.run(resilience, body))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_body_that_drips_too_long_ends_with_the_deadline(caller, fault_server, streamed):
    server = fault_server(answer(200, BODY))
    own = {"timeout": {"total": 0.4}, "retry": None}
    resilience = caller.resilience(settings(server.url, {"drip": 1000.0}, **own))

    async def body(client):
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await (client.stream if streamed else client.request)("GET", "http://payments/")
        return time.monotonic() - started

    assert 0.35 < caller.run(resilience, body) < 0.7
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0


def test_a_hedge_cuts_the_attempt_that_is_late_on_purpose(caller, fault_server):
    server = fault_server(answer(200))
    chaos = {"latency": {"max": 3.0, "share": 0.5}, "seed": 7}  # the first of a call is, and its hedge is not
    own = {"hedge": {"delay": 0.1}, "timeout": {"total": 5.0, "attempt": 4.0, "read": 4.0}}
    resilience = caller.resilience(settings(server.url, chaos, **own))

    async def body(client):
        started = time.monotonic()
        response = await client.get("http://payments/")
        return response, time.monotonic() - started

    response, took = caller.run(resilience, body)
    assert [entry.decision for entry in journal_of(response).attempts] == ["lost", "return"]
    assert 0.1 <= took < 1.0


def test_a_signed_header_of_the_inbound_request_chooses(caller, fault_server):
    server = fault_server(answer(200))
    chaos = {"by_header": True, "lasts": None}
    resilience = caller.resilience(settings(server.url, chaos, retry=None))

    def scope(value):
        return resilience.inbound.arrive({"x-chaos": value}.get, "192.0.2.1").scope

    async def body(client):
        statuses = []
        for value in (
            chaos_header(KEY, "payments", error=418),
            chaos_header(KEY, "*", error=418),
            chaos_header(KEY, "offers", error=418),
            chaos_header("somebody else's key", "payments", error=418),
            "nonsense",
            None,
        ):
            with enter_scope(scope(value)):
                statuses.append((await client.get("http://payments/")).status_code)
        return statuses

    assert caller.run(resilience, body) == [418, 418, 200, 200, 200, 200]
    assert resilience.inbound.status() == {"ignored": {"x-chaos": 2}}
    assert not any("x-chaos" in str(request.headers).lower() for request in server.requests)


def test_it_is_told_and_folded(fault_server, caplog):
    server, told = fault_server(answer(200)), []
    caplog.set_level(logging.WARNING, "resilient_http.chaos")
    with (
        Resilience(settings(server.url, {"error": 503}, retry=None), listeners=[told.append]) as resilience,
        resilience.client() as client,
    ):
        for _ in range(5):
            client.get("http://payments/")
    injected = [event for event in told if isinstance(event, FaultInjected)]
    assert [(event.upstream, event.endpoint, event.fault) for event in injected] == [
        ("payments", server.url, "503 injected")
    ] * 5
    lines = [record.getMessage() for record in caplog.records if record.name == "resilient_http.chaos"]
    assert lines == [f"payments: 503 injected on purpose at {server.url}, by settings"]


def test_a_reload_of_something_else_does_not_make_it_last_longer(fault_server):
    server = fault_server(answer(200))
    own = settings(server.url, {"error": 503, "lasts": 60}, retry=None)
    with Resilience(own) as resilience:
        before = resilience.dispatcher.registry.named["payments"].chaos[None]
        own["upstreams"]["payments"]["timeout"] = {"total": 5}
        resilience.reload(own)
        assert resilience.dispatcher.registry.named["payments"].chaos[None] is before
        own["upstreams"]["payments"]["chaos"]["lasts"] = 120
        resilience.reload(own)
        assert resilience.dispatcher.registry.named["payments"].chaos[None].ends > before.ends + 50
        del own["upstreams"]["payments"]["chaos"]
        resilience.reload(own)
        with resilience.client() as client:
            assert client.get("http://payments/").status_code == 200
        assert resilience.status()["upstreams"]["payments"]["chaos"] is None


def test_a_worker_that_is_forked_later_does_not_begin_it_anew(fault_server):
    server = fault_server(answer(200))
    with Resilience(settings(server.url, {"error": 503, "lasts": 0.4}, retry=None)) as resilience:
        with resilience.client() as client:
            assert client.get("http://payments/").status_code == 503
        before = resilience.settings
        assert before == Settings(**settings(server.url, {"error": 503, "lasts": 0.4}, retry=None))
        time.sleep(0.5)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with resilience.client() as client:
                    status = 0 if client.get("http://payments/").status_code == 200 else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_caller_that_goes_away_is_not_waited_for(fault_server):
    server = fault_server(delay(0.0))
    with Resilience(settings(server.url, {"latency": 3.0}, retry=None)) as resilience:
        cancellation = Cancellation()
        threading.Timer(0.2, cancellation.request).start()
        started = time.monotonic()
        with enter_scope(Scope(cancellation=cancellation)), resilience.client() as client, pytest.raises(Cancelled):
            client.get("http://payments/")
        assert time.monotonic() - started < 1.0
