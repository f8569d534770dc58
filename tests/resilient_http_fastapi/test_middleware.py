"""The inbound request's deadline and trace bound its outbound calls, and nobody else's."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import anyio
import httpx
import pytest
from fastapi.testclient import TestClient

from resilient_http import chaos_header
from tests.live.servers import answer, echo, gated, hang
from tests.resilient_http_fastapi.service import make_app

EXPECTED = "X-Envoy-Expected-Rq-Timeout-Ms"
ENDPOINTS = ["async", "sync"]


def parent(digit):
    return f"00-{digit * 32}-{digit * 16}-01"


async def get(app, path, **headers):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as inbound:
        return await inbound.get(path, headers=headers)


@pytest.mark.parametrize("kind", [*ENDPOINTS, "named"])
async def test_the_configured_timeout_bounds_outbound_calls(payments, kind):
    _, settings = payments(hang(), inbound={"timeout": 0.3})
    started = time.monotonic()

    response = await get(make_app(settings), f"/{kind}/charge")

    assert time.monotonic() - started < 1.5
    assert response.json() == {"error": "DeadlineExceeded", "budget": pytest.approx(0.25)}


@pytest.mark.parametrize("kind", ENDPOINTS)
async def test_a_deadline_header_shortens_it(payments, kind):
    _, settings = payments(hang())
    started = time.monotonic()

    response = await get(make_app(settings), f"/{kind}/charge", **{EXPECTED: "300"})

    assert time.monotonic() - started < 1.5
    assert response.json() == {"error": "DeadlineExceeded", "budget": pytest.approx(0.25)}


async def test_the_scope_follows_a_plain_endpoint_into_its_thread(payments):
    server, settings = payments(answer(200, "paid"))

    response = await get(make_app(settings), "/in-scope/charge", **{EXPECTED: "1000", "traceparent": parent("a")})

    assert response.json()["budget"] == 0.95
    assert server.requests[0].header("traceparent") == parent("a")


@pytest.mark.parametrize("kind", [*ENDPOINTS, "named", "in-scope"])
async def test_a_signed_header_has_a_fault_injected_into_the_calls_of_its_request_alone(payments, kind):
    key = "not-a-secret-of-anybody"
    _, settings = payments(answer(200, "paid"), chaos={"allowed": ["payments"], "key": key})
    settings["upstreams"]["payments"] |= {"chaos": {"by_header": True}}
    app = make_app(settings)

    chosen = await get(
        app, f"/{kind}/charge", **{"X-Chaos": chaos_header(key, "payments", error={"status": 418, "body": "tea"})}
    )

    assert chosen.json()["body"] == "tea"
    assert (await get(app, f"/{kind}/charge", **{"X-Chaos": "forged"})).json()["body"] == "paid"
    assert (await get(app, f"/{kind}/charge")).json()["body"] == "paid"


@pytest.mark.parametrize("value", ["60000", "-1", "soon"])
async def test_a_header_that_is_longer_or_malformed_changes_nothing(payments, value):
    _, settings = payments(answer(), inbound={"timeout": 2.0})

    assert (await get(make_app(settings), "/async/charge", **{EXPECTED: value})).json()["budget"] == 1.95


@pytest.mark.parametrize("kind", ENDPOINTS)
async def test_the_inbound_trace_reaches_the_upstream(payments, kind):
    server, settings = payments(answer())
    await get(make_app(settings), f"/{kind}/charge", traceparent=parent("a"), tracestate="vendor=1", baggage="user=7")

    (received,) = server.requests
    assert received.header("traceparent") == parent("a")
    assert received.header("tracestate") == "vendor=1"
    assert received.header("baggage") is None


async def test_a_trace_header_that_came_in_parts_is_put_together(payments):
    server, settings = payments(answer())
    headers = [("traceparent", parent("a")), ("tracestate", "vendor=1"), ("tracestate", "other=2")]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(settings)), base_url="http://x") as inbound:
        await inbound.get("/async/charge", headers=headers)

    assert server.requests[0].header("tracestate") == "vendor=1,other=2"


@pytest.mark.parametrize("kind", ENDPOINTS)
async def test_a_streaming_body_keeps_the_deadline(payments, kind):
    _, settings = payments(answer())

    response = await get(make_app(settings), f"/{kind}/stream", **{EXPECTED: "1000"})

    assert response.text == "first 0.95"


@pytest.mark.parametrize("kind", ENDPOINTS)
async def test_a_streaming_body_ends_at_the_deadline(payments, kind):
    _, settings = payments(hang())
    started = time.monotonic()

    response = await get(make_app(settings), f"/{kind}/stream", **{EXPECTED: "300"})

    assert time.monotonic() - started < 1.5
    assert response.text == "first DeadlineExceeded"


@pytest.mark.parametrize("with_another_middleware", [False, True])
async def test_background_work_is_not_cut_with_the_request(payments, with_another_middleware):
    server, settings = payments(answer())
    app = make_app(settings)
    if with_another_middleware:
        # It runs what is inside it in a task of its own.
        @app.middleware("http")
        async def another(request, call_next):
            return await call_next(request)

    await get(app, "/background", **{EXPECTED: "300", "traceparent": parent("a")})

    assert [told["budget"] for told in app.state.in_background] == [10.0]
    assert server.requests[0].header("traceparent") == parent("a")


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


@pytest.mark.parametrize("kind", ENDPOINTS)
async def test_requests_in_tasks_never_see_each_others_scope_or_cookies(payments, kind):
    _, settings = payments(Accounts(len(CALLERS)))
    app = make_app(settings)
    responses = {}

    async def visit(who):
        responses[who] = await get(app, f"/{kind}/two-steps?who={who}", **headers_of(who))

    async with anyio.create_task_group() as group:
        for who in CALLERS:
            group.start_soon(visit, who)

    for who, response in responses.items():
        assert_apart(who, response.json())


@pytest.mark.parametrize("kind", ENDPOINTS)
def test_requests_in_threads_never_see_each_others_scope_or_cookies(payments, kind):
    _, settings = payments(Accounts(len(CALLERS)))
    app = make_app(settings)

    def visit(who):
        # Without the lifespan: each thread's request runs in an event loop of its own.
        return TestClient(app).get(f"/{kind}/two-steps?who={who}", headers=headers_of(who)).json()

    with ThreadPoolExecutor(len(CALLERS)) as pool:
        for who, response in zip(CALLERS, pool.map(visit, CALLERS), strict=True):
            assert_apart(who, response)


def test_a_websocket_has_the_trace_of_its_request_and_no_deadline(payments):
    server, settings = payments(answer(), inbound={"timeout": 1.0})
    with (
        TestClient(make_app(settings)) as inbound,
        inbound.websocket_connect("/websocket", headers={"traceparent": parent("a")}) as websocket,
    ):
        websocket.send_text("charge")

        assert websocket.receive_json()["budget"] == 10.0
    assert server.requests[0].header("traceparent") == parent("a")


async def test_two_apps_in_one_process_do_not_mix(payments):
    slow, quick = payments(answer(200, "slow"), inbound={"timeout": 8.0}), payments(answer(200, "quick"))
    apps = [make_app(settings) for _, settings in (slow, quick)]

    told = [(await get(app, "/async/charge")).json() for app in apps]

    assert [(each["body"], each["budget"]) for each in told] == [("slow", 7.95), ("quick", 9.95)]


async def test_a_mounted_app_with_settings_of_its_own_goes_by_these(payments):
    outer, inner = payments(answer(200, "outer"))[1], payments(answer(200, "inner"))[1]
    app = make_app(outer)
    app.mount("/inner", make_app(inner))

    assert (await get(app, "/async/charge")).json()["body"] == "outer"
    assert (await get(app, "/inner/async/charge")).json()["body"] == "inner"
