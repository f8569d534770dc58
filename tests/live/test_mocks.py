"""The mocks that users of httpx have in their tests keep working, and the policies above them too.

respx patches httpcore's connections and pools (or, when told so, httpx's clients); pytest-httpx patches httpx's
transports. Both reach our own engines: those are httpx's own transports, and go over httpcore's connections where those
are patched.
"""

from __future__ import annotations

import importlib

import httpx
import pytest
import respx

from resilient_http import Resilience

URL = "http://payments/charges/42"
SETTINGS = {"upstreams": {"payments": {"endpoints": ["http://10.0.0.1:8080"], "retry": {"backoff": {"base": 0.001}}}}}


@pytest.fixture
def resilience():
    with Resilience(SETTINGS) as resilience:
        yield resilience


@respx.mock
def test_respx_sees_the_logical_url_and_each_attempt(resilience):
    route = respx.get(URL).mock(side_effect=[httpx.Response(502), httpx.ConnectError, httpx.Response(200, text="ok")])
    with resilience.client() as client:
        response = client.get(URL)
    assert (response.status_code, response.text, route.call_count) == (200, "ok", 3)
    statuses = [attempt.status for attempt in response.extensions["resilient_http"].attempts]
    assert statuses == [502, None, 200]


@respx.mock
async def test_respx_sees_async_calls(resilience):
    route = respx.get(URL).mock(side_effect=[httpx.Response(502), httpx.Response(200, text="ok")])
    async with resilience.async_client() as client:
        response = await client.get(URL)
    assert (response.status_code, response.text, route.call_count) == (200, "ok", 2)
    await resilience.aclose()


@respx.mock(using="httpx")
def test_respx_may_answer_in_place_of_the_client(respx_mock, resilience):
    respx_mock.get(URL).respond(502)
    with resilience.client() as client:
        # Above our transport: the user has replaced what makes attempts, so none are made.
        assert client.get(URL).status_code == 502
    assert respx_mock.calls.call_count == 1


def test_patched_transport_answers_each_attempt(backend, monkeypatch):
    library = importlib.import_module(backend)
    seen = []

    def handle_request(transport, request):
        seen.append(str(request.url))
        return library.Response(502 if len(seen) == 1 else 200, text="ok")

    monkeypatch.setattr(library.HTTPTransport, "handle_request", handle_request)
    with Resilience({**SETTINGS, "backend": backend}) as resilience, resilience.client() as client:
        response = client.get(URL)
    assert (response.status_code, response.text, seen) == (200, "ok", [URL, URL])


async def test_patched_async_transport_answers_each_attempt(backend, monkeypatch):
    library = importlib.import_module(backend)
    seen = []

    async def handle_async_request(transport, request):
        seen.append(str(request.url))
        return library.Response(502 if len(seen) == 1 else 200, text="ok")

    monkeypatch.setattr(library.AsyncHTTPTransport, "handle_async_request", handle_async_request)
    async with Resilience({**SETTINGS, "backend": backend}) as resilience, resilience.async_client() as client:
        response = await client.get(URL)
    assert (response.status_code, response.text, seen) == (200, "ok", [URL, URL])
