"""Code that runs inside a call may make calls of its own; each stays itself."""

from __future__ import annotations

import httpx
import pytest

from resilient_http import Resilience
from tests.live.callers import Caller
from tests.live.servers import answer

QUICK = {"retry": {"backoff": {"base": 0.01, "throttled_base": 0.01}}}


def test_a_listeners_request_does_not_take_the_place_of_the_callers(fault_server):
    server = fault_server([answer(503), answer(200, "put")])
    metrics = fault_server(answer(200, "metrics"))
    settings = {"upstreams": {"payments": {"endpoints": [server.url], **QUICK}}}

    def listener(event):
        if type(event).__name__ == "RetryScheduled":
            with httpx.Client(transport=resilience.transport()) as inner:
                assert inner.get(f"{metrics.url}/metrics").text == "metrics"

    resilience = Resilience(settings, listeners=[listener])
    with resilience, resilience.client() as client:
        response = client.put("http://payments/42", content=b"data")

    assert response.text == "put"
    assert [(request.method, request.target, request.body) for request in server.requests] == [
        ("PUT", "/42", b"data")
    ] * 2
    assert [request.target for request in metrics.requests] == ["/metrics"]


def test_a_token_that_an_auth_flow_fetches_goes_where_it_is_sent(fault_server):
    tokens = fault_server(answer(200, "t"))
    seen = []

    def handler(request):
        seen.append(request.headers["authorization"])
        return httpx.Response(200)

    class TokenAuth(httpx.Auth):
        def auth_flow(self, request):
            with httpx.Client(transport=resilience.transport()) as inner:
                token = inner.get(f"{tokens.url}/token").text
            request.headers["Authorization"] = f"Bearer {token}"
            yield request

    resilience = Resilience()
    with resilience, resilience.client(transport=httpx.MockTransport(handler), auth=TokenAuth()) as client:
        client.get("http://api.example/")

    assert seen == ["Bearer t"]
    assert len(tokens.requests) == 1


def test_our_own_transport_inside_our_client_is_refused():
    resilience = Resilience()
    with pytest.raises(ValueError, match="pass the policies twice"):
        resilience.client(transport=resilience.transport())


def test_a_real_transport_of_the_users_reaches_the_endpoint(caller, fault_server):
    server = fault_server(answer(200, "ok"))
    kind = "HTTPTransport" if caller.kind == "sync" else "AsyncHTTPTransport"
    engine = getattr(caller.module, kind)()

    async def body(client):
        return await client.get("http://payments/charges")

    resilience = caller.resilience({"upstreams": {"payments": {"endpoints": [server.url]}}})
    response = caller.run(resilience, body, transport=engine)

    assert response.text == "ok"
    assert str(response.url) == "http://payments/charges"
    assert server.requests[0].header("Host") == server.url.removeprefix("http://")


def test_a_reader_over_one_iterator_is_not_sent_empty(fault_server):
    server = fault_server([answer(503), answer(200)])
    caller = Caller("sync", "httpx")

    class Progress:
        def __init__(self, chunks):
            self._chunks = iter(chunks)

        def __iter__(self):
            yield from self._chunks

    async def body(client):
        return await client.request("PUT", "http://payments/", content=Progress([b"important"]))

    settings = {"upstreams": {"payments": {"endpoints": [server.url], **QUICK}}}
    assert caller.run(caller.resilience(settings), body).status_code == 503
    assert [request.body for request in server.requests] == [b"important"]
