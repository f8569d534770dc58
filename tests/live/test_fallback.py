"""Fallbacks over real sockets: what the user gets, and what is freed."""

from __future__ import annotations

import time

import httpx
import pytest

from resilient_http import Resilience, call_options, journal_of
from tests.live.servers import answer, break_off_body, hang, redirect, reset

ONCE = {"retry": None}
MARKER = "x-resilient-http-fallback"


def upstream(server, **settings):
    return upstream_at(server.url, **settings)


def upstream_at(url, **settings):
    return {"upstreams": {"payments": {"endpoints": [url], **ONCE, **settings}}}


@pytest.mark.parametrize("script", [answer(503, "down"), reset(), hang(), break_off_body()])
def test_a_fixed_answer_takes_the_place_of_a_failure(caller, fault_server, script):
    server = fault_server(script)
    settings = upstream(server, timeout={"total": 0.3}, fallback={"response": {"body": ["none"]}})

    async def body(client):
        return await client.get("http://payments/offers")

    response = caller.run(caller.resilience(settings), body)

    assert isinstance(response, caller.module.Response)
    assert (response.status_code, response.json(), response.headers[MARKER]) == (200, ["none"], "fixed")
    assert response.headers["content-type"] == "application/json"
    assert str(response.url) == "http://payments/offers"
    assert "fallback: answered (fixed) for" in str(journal_of(response))


def test_a_4xx_stays_one(caller, fault_server):
    server = fault_server(answer(404, "no such charge"))

    async def body(client):
        return await client.get("http://payments/")

    response = caller.run(caller.resilience(upstream(server, fallback={"response": {}})), body)

    assert (response.status_code, response.text) == (404, "no such charge")
    assert MARKER not in response.headers


def test_a_function_answers_with_a_response_of_its_own(caller, fault_server):
    server = fault_server(answer(500, '{"code": 7}'))
    prepared = caller.module.Response(299, json={"cached": True}, headers={"x-own": "1"})
    seen = []

    def fallback(call, failure):
        seen.append((call.request.url.path, failure.json()))
        return prepared

    async def body(client):
        return [await client.get("http://payments/a") for _ in range(2)]

    responses = caller.run(caller.resilience(upstream(server, fallback={"function": fallback})), body)

    assert seen == [("/a", {"code": 7})] * 2
    for response in responses:
        assert (response.status_code, response.json(), response.headers["x-own"]) == (299, {"cached": True}, "1")
        assert response.headers[MARKER] == "function"
    assert MARKER not in prepared.headers


def test_what_a_function_raises_reaches_the_user(caller, fault_server):
    server = fault_server(answer(500))

    def fallback(call, failure):
        raise LookupError("a typo")

    async def body(client):
        with pytest.raises(LookupError) as caught:
            await client.get("http://payments/")
        return caught.value

    assert journal_of(caller.run(caller.resilience(upstream(server, fallback={"function": fallback})), body))


def test_the_last_good_answer_is_given_while_its_origin_is_down(caller, fault_server):
    headers = {"Vary": "Accept-Language", "ETag": '"1"'}
    server = fault_server([answer(200, "prices", headers=headers), answer(503), reset()])

    async def body(client):
        german = {"accept-language": "de"}
        good = await client.get("http://payments/prices", headers=german)
        stale = [await client.get("http://payments/prices", headers=german) for _ in range(2)]
        return good, stale

    resilience = caller.resilience(upstream(server, fallback={"stale": {"max_age": 60}}))
    good, stale = caller.run(resilience, body)

    assert MARKER not in good.headers
    for response in stale:
        assert (response.status_code, response.text, response.headers["etag"]) == (200, "prices", '"1"')
        assert (response.headers[MARKER], response.headers["age"]) == ("stale", "0")
    assert resilience.status()["upstreams"]["payments"]["fallbacks"] == {"stale": 2}


def test_people_do_not_get_each_others_answers(caller, fault_server):
    server = fault_server([answer(200, "of ann"), answer(503)])

    async def body(client):
        await client.get("http://payments/me", auth=("ann", "x"))
        return [(await client.get("http://payments/me", **who)).status_code for who in ({}, {"auth": ("bob", "y")})]

    settings = upstream(server, fallback={"stale": {}})
    assert caller.run(caller.resilience(settings), body) == [503, 503]


def test_a_cookie_that_the_client_holds_makes_an_answer_private(caller, fault_server):
    server = fault_server([answer(200, "of ann"), answer(503)])

    async def body(client):
        await client.get("http://payments/me")
        return (await client.get("http://payments/me")).status_code

    settings = upstream(server, fallback={"stale": {}})
    assert caller.run(caller.resilience(settings), body, cookies={"session": "1"}) == 503


def test_a_streamed_failure_is_freed_and_the_answer_is_streamed(caller, fault_server):
    server = fault_server(answer(503, "x" * 500_000))

    async def body(client):
        return [await client.stream("GET", "http://payments/") for _ in range(4)]

    settings = upstream(server, pool={"max_connections": 1}, fallback={"response": {"body": "instead"}})
    resilience = caller.resilience(settings)
    answers = caller.run(resilience, body)

    assert [(response.status_code, text) for response, text in answers] == [(200, b"instead")] * 4
    status = resilience.status()["upstreams"]["payments"]
    assert (status["concurrency"]["in_flight"], status["endpoints"][0]["in_flight"]) == (0, 0)


def test_a_streamed_answer_is_not_kept(caller, fault_server):
    server = fault_server([answer(200, "good"), answer(503)])

    async def body(client):
        return [(await client.stream("GET", "http://payments/"))[0].status_code for _ in range(2)]

    assert caller.run(caller.resilience(upstream(server, fallback={"stale": {}})), body) == [200, 503]


class Hangs:
    """A store that does not answer."""

    def get(self, key):
        time.sleep(2.0)

    def set(self, key, value, ttl):
        time.sleep(2.0)

    delete = get


def test_a_store_that_hangs_holds_up_no_good_call_and_a_failed_one_shortly(caller, fault_server):
    server = fault_server([answer(200), answer(503)])
    settings = upstream(server, fallback={"stale": {"store": Hangs(), "wait": 0.1}})

    async def body(client):
        began = time.monotonic()
        good = await client.get("http://payments/")
        between = time.monotonic()
        failed = await client.get("http://payments/")
        return good.status_code, failed.status_code, between - began, time.monotonic() - between

    good, failed, first, second = caller.run(caller.resilience(settings), body)

    assert (good, failed) == (200, 503)
    assert first < 0.5
    assert 0.1 <= second < 0.6


class Outside:
    def __init__(self):
        self.kept = {}

    def get(self, key):
        return self.kept.get(key)

    def set(self, key, value, ttl):
        self.kept[key] = value

    def delete(self, key):
        self.kept.pop(key, None)


def test_a_store_outside_is_written_beside_the_call_and_read_when_it_failed(caller, fault_server):
    server = fault_server([answer(200, "good"), answer(503)])
    store = Outside()
    settings = upstream(server, fallback={"stale": {"store": store, "wait": 2.0}})

    async def body(client):
        await client.get("http://payments/")
        until = time.monotonic() + 5
        while not store.kept and time.monotonic() < until:
            time.sleep(0.001)
        return await client.get("http://payments/")

    assert caller.run(caller.resilience(settings), body).text == "good"


def test_a_call_may_bring_its_own(caller, fault_server):
    server = fault_server(answer(503))
    own = call_options(fallback={"response": {"body": "own"}})

    async def body(client):
        mine = await client.get("http://payments/", extensions=own)
        return mine.text, (await client.get("http://payments/")).status_code

    assert caller.run(caller.resilience(upstream(server)), body) == ("own", 503)


def test_a_fallback_inside_a_redirect_answers_that_hop(caller, fault_server):
    server = fault_server(elsewhere)

    async def body(client):
        return await client.get("http://payments/old", follow_redirects=True)

    response = caller.run(caller.resilience(upstream(server, fallback={"response": {"body": "x"}})), body)
    assert (response.text, str(response.url)) == ("x", "http://payments/new")


def elsewhere(request):
    return redirect("/new") if request.target == "/old" else answer(503)


def test_it_answers_at_the_deadline_of_a_call_with_code_of_the_users_around_it(caller, fault_server):
    server = fault_server([answer(200, "good"), hang()])

    def hook(request):
        """Sync clients call it, async ones await it."""

    async def async_hook(request):
        """As above."""

    hooks = {"request": [hook if caller.kind == "sync" else async_hook]}
    store = Outside()
    settings = upstream(server, timeout={"total": 0.3}, fallback={"stale": {"store": store, "wait": 2.0}})

    async def body(client):
        await client.get("http://payments/")
        until = time.monotonic() + 5
        while not store.kept and time.monotonic() < until:
            time.sleep(0.001)
        return [(await client.get("http://payments/")).text for _ in range(3)]

    assert caller.run(caller.resilience(settings), body, event_hooks=hooks) == ["good"] * 3


def test_the_answer_to_head_says_nothing_of_a_length():
    transport = httpx.MockTransport(lambda request: httpx.Response(503))
    settings = upstream_at("http://n1", fallback={"response": {"body": "sorry"}})
    with Resilience(settings).client(transport=transport) as client:
        response = client.head("http://payments/")
        assert (response.content, "content-length" in response.headers) == (b"", False)
        assert client.get("http://payments/").headers["content-length"] == "5"


# What is kept, and cannot be read


def test_what_is_not_encoded_as_it_says_does_not_answer():
    answers = iter([httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))])
    resilience = Resilience(upstream_at("http://n1", fallback={"stale": {}}))
    transport = httpx.MockTransport(lambda request: next(answers, httpx.Response(503)))
    with resilience.client(transport=transport) as client:
        with pytest.raises(httpx.DecodingError):
            client.get("http://payments/")
        assert client.get("http://payments/").status_code == 503
    assert resilience.status()["upstreams"]["payments"]["fallbacks"] == {"stale: none": 1, "unreadable": 1}


def test_headers_that_are_not_ascii_come_back():
    answers = iter([httpx.Response(200, headers={"x-name": "Zoë".encode()}, text="good")])
    transport = httpx.MockTransport(lambda request: next(answers, httpx.Response(503)))
    with Resilience(upstream_at("http://n1", fallback={"stale": {}})).client(transport=transport) as client:
        client.get("http://payments/")
        response = client.get("http://payments/")
    assert (response.text, response.headers["x-name"], response.headers[MARKER]) == ("good", "Zoë", "stale")


class Ends(Outside):
    """Its first write raises what is no Exception, as gevent's Timeout is none."""

    def set(self, key, value, ttl):
        first, self.begun = not hasattr(self, "begun"), True
        if first:
            raise GeneratorExit
        super().set(key, value, ttl)


def test_a_store_that_raises_what_is_no_exception_is_written_again():
    store = Ends()
    resilience = Resilience(upstream_at("http://n1", fallback={"stale": {"store": store}}))
    with resilience.client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        until = time.monotonic() + 5
        while not store.kept and time.monotonic() < until:
            client.get("http://payments/")
            time.sleep(0.001)
    assert store.kept
    assert resilience.status()["upstreams"]["payments"]["fallbacks"] == {"store failed": 1}
