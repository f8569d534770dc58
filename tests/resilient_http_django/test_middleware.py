"""The inbound request's deadline and trace bound its outbound calls: sync and async views, WSGI and ASGI."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory

from resilient_http import DeadlineExceeded, SettingsError, chaos_header
from resilient_http_django import get_client, get_resilience
from resilient_http_django.middleware import ResilientHttpMiddleware
from tests.live.servers import answer, echo, gated, hang

EXPECTED = "X-Envoy-Expected-Rq-Timeout-Ms"
VIEWS = ["sync", "async"]


def parent(digit):
    return f"00-{digit * 32}-{digit * 16}-01"


@pytest.fixture(params=["wsgi", "asgi"])
def get(request):
    """Makes an inbound request through Django's WSGI or ASGI handler."""
    if request.param == "wsgi":
        return lambda path, **headers: Client().get(path, headers=headers)

    def get_asgi(path, **headers):
        return asyncio.run(AsyncClient().get(path, headers=headers))

    return get_asgi


@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_calls_an_upstream_by_its_name(payments, get, kind):
    payments(answer(200, "paid"))

    assert get(f"/{kind}/charge").json()["body"] == "paid"


@pytest.mark.parametrize("kind", VIEWS)
def test_the_configured_timeout_bounds_outbound_calls(payments, get, kind):
    payments(hang(), INBOUND={"TIMEOUT": 0.3})
    started = time.monotonic()

    response = get(f"/{kind}/charge")

    assert time.monotonic() - started < 1.5
    assert response.json() == {"error": "DeadlineExceeded", "budget": pytest.approx(0.25)}


@pytest.mark.parametrize("kind", VIEWS)
def test_a_deadline_header_shortens_it(payments, get, kind):
    payments(hang())
    started = time.monotonic()

    response = get(f"/{kind}/charge", **{EXPECTED: "300"})

    assert time.monotonic() - started < 1.5
    assert response.json() == {"error": "DeadlineExceeded", "budget": pytest.approx(0.25)}


@pytest.mark.parametrize("value", ["60000", "-1", "soon"])
def test_a_header_that_is_longer_or_malformed_changes_nothing(payments, get, value):
    payments(answer(), INBOUND={"TIMEOUT": 2.0})

    assert get("/sync/charge", **{EXPECTED: value}).json()["budget"] == 1.95


@pytest.mark.parametrize("kind", VIEWS)
def test_the_inbound_trace_reaches_the_upstream(payments, get, kind):
    server = payments(answer())
    get(f"/{kind}/charge", traceparent=parent("a"), tracestate="vendor=1", baggage="user=7")

    (received,) = server.requests
    assert received.header("traceparent") == parent("a")
    assert received.header("tracestate") == "vendor=1"
    assert received.header("baggage") is None


@pytest.mark.parametrize("kind", VIEWS)
def test_a_signed_header_has_a_fault_injected_into_the_calls_of_its_request_alone(payments, get, kind):
    key = "not-a-secret-of-anybody"
    payments(answer(200, "paid"), CHAOS={"ALLOWED": ["payments"], "KEY": key}, own={"CHAOS": {"BY_HEADER": True}})

    chosen = get(f"/{kind}/charge", **{"X-Chaos": chaos_header(key, "payments", error={"status": 418, "body": "tea"})})

    assert chosen.json()["body"] == "tea"
    assert get(f"/{kind}/charge", **{"X-Chaos": "forged"}).json()["body"] == "paid"
    assert get(f"/{kind}/charge").json()["body"] == "paid"


def test_a_streaming_body_keeps_the_deadline_after_the_middleware_has_returned(payments):
    payments(answer())
    response = Client().get("/sync/stream", headers={EXPECTED: "1000"})

    assert b"".join(response.streaming_content) == b"first 0.95"


async def test_an_async_streaming_body_keeps_the_deadline_after_the_middleware_has_returned(payments):
    payments(answer())
    response = await AsyncClient().get("/async/stream", headers={EXPECTED: "1000"})

    assert b"".join([chunk async for chunk in response.streaming_content]) == b"first 0.95"
    await get_resilience().aclose()


def test_a_streaming_body_ends_at_the_deadline(payments):
    payments(hang())
    response = Client().get("/sync/stream", headers={EXPECTED: "300"})
    started = time.monotonic()

    with pytest.raises(DeadlineExceeded):
        b"".join(response.streaming_content)
    assert time.monotonic() - started < 1.5


class Accounts:
    """An upstream that gives each caller a cookie, and lets nobody go on before all have theirs."""

    def __init__(self, callers):
        self._waiting = callers
        self._all_here = Event()

    def __call__(self, request):
        if not request.target.startswith("/login/"):
            return echo()
        self._waiting -= 1
        if self._waiting == 0:
            self._all_here.set()
        who = request.target.removeprefix("/login/")
        return gated(self._all_here, answer(headers={"Set-Cookie": f"who={who}; Path=/"}))


def assert_apart(who, response):
    """Whether the calls of `who` carried its own cookie, trace and deadline, and nobody else's."""
    headers = {name.lower(): value for name, value in response["received"]["headers"]}
    assert headers["cookie"] == f"who={who}"
    assert headers["traceparent"] == parent(who)
    assert response["budget"] == pytest.approx(int(who) - 0.05)


CALLERS = "3456"


def headers_of(who):
    return {"traceparent": parent(who), EXPECTED: f"{who}000"}


@pytest.mark.parametrize("kind", VIEWS)
def test_requests_in_threads_never_see_each_others_scope_or_cookies(payments, kind):
    payments(Accounts(len(CALLERS)))

    def visit(who):
        return Client().get(f"/{kind}/two-steps?who={who}", headers=headers_of(who)).json()

    with ThreadPoolExecutor(len(CALLERS)) as pool:
        for who, response in zip(CALLERS, pool.map(visit, CALLERS), strict=True):
            assert_apart(who, response)


async def test_requests_in_tasks_never_see_each_others_scope_or_cookies(payments):
    payments(Accounts(len(CALLERS)))

    async def visit(who):
        return await AsyncClient().get(f"/async/two-steps?who={who}", headers=headers_of(who))

    for who, response in zip(CALLERS, await asyncio.gather(*map(visit, CALLERS)), strict=True):
        assert_apart(who, response.json())
    await get_resilience().aclose()


def test_an_async_view_under_wsgi_leaves_no_connection_open(payments):
    server = payments(answer())
    for _ in range(2):
        Client().get("/async/charge")

    server.wait_for_open_connections(0)


def test_the_scope_ends_with_the_request(payments):
    server = payments(answer())
    ResilientHttpMiddleware(HttpResponse)(RequestFactory().get("/", headers=headers_of("3")))

    get_client().get("http://payments/")

    assert server.requests[0].header("traceparent") is None


def test_calls_without_the_request_at_hand_are_bounded_too(payments):
    payments(answer())

    def view(request):
        return HttpResponse(get_client().get("http://payments/").extensions["resilient_http"].budget)

    response = ResilientHttpMiddleware(view)(RequestFactory().get("/", headers=headers_of("3")))

    assert response.content == b"2.95"


def test_it_is_async_when_what_it_wraps_is():
    async def view(request):
        return HttpResponse()

    assert iscoroutinefunction(ResilientHttpMiddleware(view))
    assert not iscoroutinefunction(ResilientHttpMiddleware(HttpResponse))


def test_a_server_does_not_start_on_bad_settings(settings):
    settings.RESILIENT_HTTP = {"INBOUND": {"TIMEOUT": "long"}}

    with pytest.raises(SettingsError, match=r'RESILIENT_HTTP\["INBOUND"\]\["TIMEOUT"\]'):
        Client().get("/sync/charge")
