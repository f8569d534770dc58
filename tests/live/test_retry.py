"""Retries over real sockets: what is repeated, what never is, and what the user gets in the end."""

from __future__ import annotations

import io
import time
import uuid
from email.utils import formatdate

import pytest

from resilient_http import call_options
from tests.live.callers import Caller
from tests.live.servers import answer, break_off_body, close_before_answer, redirect, reset

QUICK = {"retry": {"backoff": {"base": 0.01, "throttled_base": 0.01}}}


def upstream(*endpoints, **settings):
    return {"upstreams": {"payments": {"endpoints": list(endpoints), **QUICK, **settings}}}


def journal_of(result):
    return result.extensions["resilient_http"]


def test_a_503_is_repeated_and_the_journal_tells(caller, fault_server):
    server = fault_server([answer(503), answer(200, "ok")])

    async def body(client):
        return await client.get("http://payments/charges/42")

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert (response.status_code, response.text) == (200, "ok")
    first, second = journal_of(response).attempts
    assert (first.status, first.decision, first.endpoint, first.sent) == (503, "retry", server.url, True)
    assert (second.status, second.decision) == (200, "return")
    assert "503" in str(journal_of(response))
    assert "retry: status 503" in str(journal_of(response))


def test_the_last_real_response_is_returned_when_attempts_are_used_up(caller, fault_server):
    server = fault_server(answer(503, "down"))

    async def body(client):
        return await client.get("http://payments/")

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert (response.status_code, response.text) == (503, "down")
    assert len(server.requests) == 3
    assert "3 of 3 attempts made" in journal_of(response).attempts[-1].why


def test_the_last_real_exception_is_raised_with_the_journal(caller, refused_url):
    pass_through = caller.module.ConnectError

    async def body(client):
        with pytest.raises(pass_through) as caught:
            await client.get("http://payments/")
        return caught.value

    error = caller.run(caller.resilience(upstream(refused_url)), body)

    assert type(error) is pass_through
    assert [entry.sent for entry in error.journal.attempts] == [False, False, False]


def test_retry_after_in_seconds_is_waited_for(caller, fault_server):
    server = fault_server([answer(429, headers={"Retry-After": "1"}), answer(200)])

    async def body(client):
        return await client.get("http://payments/")

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert response.status_code == 200
    assert 1.0 <= server.requests[1].received_at - server.requests[0].received_at < 1.5


def test_retry_after_as_a_date_is_waited_for(caller, fault_server):
    server = fault_server([in_two_seconds(), answer(200)])

    async def body(client):
        return await client.get("http://payments/")

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert response.status_code == 200
    assert 0.5 <= server.requests[1].received_at - server.requests[0].received_at < 3.0


def in_two_seconds():
    return answer(503, headers={"Retry-After": formatdate(time.time() + 2, usegmt=True)})


def test_a_retry_after_beyond_max_wait_returns_the_real_response_at_once(caller, fault_server):
    server = fault_server(answer(503, "later", headers={"Retry-After": "30"}))

    async def body(client):
        started = time.monotonic()
        return await client.get("http://payments/"), time.monotonic() - started

    response, took = caller.run(caller.resilience(upstream(server.url)), body)

    assert (response.status_code, response.text, len(server.requests)) == (503, "later", 1)
    assert took < 1.0
    assert "max_wait" in journal_of(response).attempts[0].why


def test_a_post_that_was_received_is_not_repeated(caller, fault_server):
    server = fault_server(reset())

    async def body(client):
        with pytest.raises(caller.module.TransportError) as caught:
            await client.post("http://payments/charges", content=b"x")
        return caught.value

    error = caller.run(caller.resilience(upstream(server.url)), body)

    assert len(server.requests) == 1
    assert error.journal.attempts[0].sent
    assert "POST may have been acted on" in error.journal.attempts[0].why


def test_a_post_that_provably_was_not_sent_goes_to_another_node(caller, fault_server, refused_url):
    server = fault_server(answer(201))
    settings = upstream(refused_url, {"url": server.url, "backup": True})

    async def body(client):
        return [await client.post("http://payments/charges", content=b"x") for _ in range(3)]

    responses = caller.run(caller.resilience(settings), body)

    assert {response.status_code for response in responses} == {201}
    assert [request.body for request in server.requests] == [b"x"] * 3


def test_a_post_with_an_idempotency_key_is_repeated(caller, fault_server):
    server = fault_server([answer(503), answer(201)])

    async def body(client):
        return await client.post("http://payments/charges", content=b"x", headers={"Idempotency-Key": "k1"})

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert response.status_code == 201
    assert [(request.body, request.header("Idempotency-Key")) for request in server.requests] == [(b"x", "k1")] * 2


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: iter([b"a", b"b"]), id="iterator"),
        pytest.param(lambda: io.BytesIO(b"ab"), id="file"),
    ],
)
def test_a_body_that_cannot_be_sent_again_is_not_repeated_and_never_sent_empty(fault_server, content):
    caller = Caller("sync", "httpx")
    server = fault_server([answer(503), answer(200)])

    async def body(client):
        return await client.request("PUT", "http://payments/", content=content())

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert response.status_code == 503
    assert [request.body for request in server.requests] == [b"ab"]
    assert "body cannot be sent again" in journal_of(response).attempts[0].why


def test_an_async_generator_body_is_not_repeated(backend, fault_server):
    caller = Caller("asyncio", backend)
    server = fault_server([answer(503), answer(200)])

    async def chunks():
        yield b"ab"

    async def body(client):
        return await client.request("PUT", "http://payments/", content=chunks())

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert (response.status_code, len(server.requests)) == (503, 1)


def test_multipart_with_a_seekable_file_is_repeated_whole(caller, fault_server):
    server = fault_server([answer(503), answer(200)])

    async def body(client):
        return await client.request("PUT", "http://payments/", files={"f": ("n.txt", io.BytesIO(b"content"))})

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert response.status_code == 200
    first, second = (request.body for request in server.requests)
    assert first == second
    assert b"content" in second


def test_a_body_that_breaks_off_is_part_of_the_attempt(caller, fault_server):
    server = fault_server([break_off_body(), answer(200, "whole")])

    async def body(client):
        return await client.get("http://payments/")

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert response.text == "whole"
    assert journal_of(response).attempts[0].fault.value == "broken off"


def test_a_streamed_body_that_breaks_off_is_the_users_to_see(caller, fault_server):
    server = fault_server(break_off_body())

    async def body(client):
        with pytest.raises(caller.module.RemoteProtocolError) as caught:
            await client.stream("GET", "http://payments/")
        return caught.value

    error = caller.run(caller.resilience(upstream(server.url)), body)

    assert len(server.requests) == 1
    assert error.journal.attempts[0].fault.value == "broken off"


def test_discarded_responses_cost_no_connection(caller, fault_server):
    server = fault_server([answer(503, "x" * 5000), answer(200)] * 10)

    async def body(client):
        for _ in range(10):
            response, _ = await client.stream("GET", "http://payments/")
            assert response.status_code == 200

    caller.run(caller.resilience(upstream(server.url, retry={**QUICK["retry"], "budget": None})), body)

    assert len(server.requests) == 20
    assert server.connections == 1


def test_a_streamed_response_that_was_set_aside_is_returned_when_the_repeat_is_refused(caller, fault_server):
    server = fault_server(answer(503, "real"))
    settings = upstream(server.url, circuit={"quiet_streak": 1})

    async def body(client):
        return await client.stream("GET", "http://payments/")

    response, content = caller.run(caller.resilience(settings), body)

    assert (response.status_code, content) == (503, b"real")
    assert len(server.requests) == 1
    assert "refused" in journal_of(response).attempts[-1].why


def test_a_kept_connection_that_the_server_drops_costs_a_get_nothing(caller, fault_server):
    server = fault_server([answer(200, "ok"), close_before_answer(), answer(200, "ok")])

    async def body(client):
        return [(await client.get("http://payments/")).text for _ in range(2)]

    assert caller.run(caller.resilience(upstream(server.url)), body) == ["ok"] * 2
    assert [request.connection for request in server.requests] == [1, 1, 2]


def test_the_budget_stops_repeats_while_everything_fails(caller, fault_server):
    server = fault_server(answer(500))
    settings = upstream(server.url, circuit=None)

    async def body(client):
        return [await client.get("http://payments/") for _ in range(50)]

    responses = caller.run(caller.resilience(settings), body)

    assert len(server.requests) <= 50 + 3 + 10 + 3
    assert "retry budget is used up" in journal_of(responses[-1]).attempts[-1].why


def test_without_retry_settings_nothing_is_repeated(caller, fault_server):
    server = fault_server(answer(503))

    async def body(client):
        return await client.get("http://payments/")

    response = caller.run(
        caller.resilience({"upstreams": {"payments": {"endpoints": [server.url], "retry": None}}}), body
    )

    assert (response.status_code, len(server.requests)) == (503, 1)


def test_a_post_with_a_key_of_its_own_is_repeated_with_the_same_key(caller, fault_server):
    server = fault_server([close_before_answer(), answer(503), answer(201), answer(201)])
    settings = {
        "endpoints": [server.url],
        "idempotency_key": "auto",
        "retry": {"backoff": {"base": 0.01, "throttled_base": 0.01}},
    }

    async def body(client):
        request = {"json": {"amount": 7}}
        return [await client.post("http://payments/charges", **request) for _ in range(2)]

    responses = caller.run(caller.resilience({"upstreams": {"payments": settings}}), body)
    first, second, third, other = (request.header("Idempotency-Key") for request in server.requests)

    assert [response.status_code for response in responses] == [201, 201]
    assert uuid.UUID(first).version == 4
    assert first == second == third != other
    assert {request.body for request in server.requests} == {b'{"amount":7}'}


def test_a_key_is_given_to_no_method_that_needs_none_and_replaces_none(caller, fault_server):
    server = fault_server(answer())

    async def body(client):
        await client.get("http://payments/", extensions=call_options(idempotency_key="auto"))
        await client.post("http://payments/", headers={"Idempotency-Key": "mine"})
        await client.post("http://payments/", extensions=call_options(idempotency_key=None))

    settings = {"endpoints": [server.url], "idempotency_key": "auto"}
    caller.run(caller.resilience({"upstreams": {"payments": settings}}), body)

    assert [request.header("Idempotency-Key") for request in server.requests] == [None, "mine", None]


def test_a_function_of_the_users_decides_by_the_body(caller, fault_server):
    busy, done = answer(200, '{"state": "busy"}'), answer(200, '{"state": "done"}')
    server, seen = fault_server([busy, busy, done]), []

    def is_busy(outcome):
        seen.append(outcome.request.url.path)
        return outcome.json()["state"] == "busy"

    async def body(client):
        return await client.get("http://payments/state")

    settings = {"endpoints": [server.url], "retry": {"classify": is_busy, "backoff": {"base": 0.01}}}
    response = caller.run(caller.resilience({"upstreams": {"payments": settings}}), body)

    assert response.json() == {"state": "done"}
    assert response.elapsed.total_seconds() > 0
    assert len(server.requests) == 3
    assert seen == ["/state"] * 3


def test_of_a_streamed_answer_it_sees_no_body(caller, fault_server):
    server = fault_server(answer(200, "whole"))

    def classify(outcome):
        with pytest.raises(caller.module.ResponseNotRead):
            outcome.content  # noqa: B018 - the property is what raises

    async def body(client):
        return await client.stream("GET", "http://payments/")

    settings = {"endpoints": [server.url], "retry": {"classify": classify}}
    _, content = caller.run(caller.resilience({"upstreams": {"payments": settings}}), body)

    assert content == b"whole"


def test_each_request_of_a_call_has_a_key_of_its_own_and_keeps_it(caller, fault_server):
    def respond(request):
        return redirect("/again", status=307) if request.target == "/charge" else answer()

    server = fault_server(respond)

    class Login(caller.module.Auth):
        def auth_flow(self, request):
            yield caller.module.Request("POST", "http://payments/token", content=b"who")
            yield request
            yield request  # as a digest challenge has it sent once more

    async def body(client):
        return await client.post("http://payments/charge", content=b"7", auth=Login(), follow_redirects=True)

    settings = {"endpoints": [server.url], "idempotency_key": "auto"}
    caller.run(caller.resilience({"upstreams": {"payments": settings}}), body)
    keys = {}
    for request in server.requests:
        keys.setdefault(request.target, set()).add(request.header("Idempotency-Key"))

    assert set(keys) == {"/token", "/charge", "/again"}
    assert all(len(own) == 1 for own in keys.values())
    assert keys["/token"] != keys["/charge"] == keys["/again"]


def test_an_exception_that_lets_nothing_be_set_passes_as_it_is(caller):
    class Closed(Exception):
        def __setattr__(self, name, value):
            if name == "journal":
                raise TypeError("closed")

    def refuse(outcome):
        raise Closed

    settings = {"endpoints": ["http://n1"], "retry": {"classify": refuse}}
    transport = caller.module.MockTransport(lambda _: caller.module.Response(200))

    async def body(client):
        with pytest.raises(Closed):
            await client.get("http://payments/")

    caller.run(caller.resilience({"upstreams": {"payments": settings}}), body, transport=transport)
