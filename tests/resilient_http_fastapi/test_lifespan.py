"""The middleware follows the lifespan, and does without where none runs."""

from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from fastapi.testclient import TestClient

from resilient_http import Resilience, SettingsError
from tests.live.servers import answer
from tests.resilient_http_fastapi.service import make_app


def test_the_end_of_the_lifespan_closes_the_connections(payments):
    server, settings = payments(answer())
    with TestClient(make_app(settings)) as inbound:
        inbound.get("/async/charge")
        inbound.get("/sync/charge")
        assert server.open_connections == 2

    server.wait_for_open_connections(0)


def test_connections_are_kept_between_requests(payments):
    server, settings = payments(answer())
    with TestClient(make_app(settings)) as inbound:
        for _ in range(3):
            inbound.get("/async/charge")

    assert server.connections == 1


def test_each_lifespan_begins_anew(payments):
    _, settings = payments(answer())
    app = make_app(settings)
    with TestClient(app):
        first = app.state.resilient_http
    with TestClient(app):
        second = app.state.resilient_http

    assert isinstance(first, Resilience)
    assert first is not second


def test_start_up_and_shutdown_code_of_the_app_can_call_upstreams(payments):
    server, settings = payments(answer())

    @asynccontextmanager
    async def lifespan(app):
        async with app.state.resilient_http.async_client() as client:
            await client.get("http://payments/start")
            yield
            await client.get("http://payments/end")

    with TestClient(make_app(settings, lifespan=lifespan)):
        pass

    assert [request.target for request in server.requests] == ["/start", "/end"]
    server.wait_for_open_connections(0)


def test_a_start_up_that_fails_leaves_no_connection_open(payments):
    server, settings = payments(answer())

    @asynccontextmanager
    async def lifespan(app):
        await app.state.resilient_http.async_client().get("http://payments/start")
        raise RuntimeError("no database")
        yield

    with pytest.raises(RuntimeError, match="no database"), TestClient(make_app(settings, lifespan=lifespan)):
        pass

    server.wait_for_open_connections(0)


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"inbound": {"timeout": -1}}, "inbound.timeout"), ("no.such.settings", "ModuleNotFoundError")],
)
def test_bad_settings_fail_the_start_up(settings, why):
    messages = []

    async def start(app):
        async def receive():
            return {"type": "lifespan.startup"}

        async def send(message):
            messages.append(message)

        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)

    with pytest.raises((SettingsError, ModuleNotFoundError)):
        anyio.run(start, make_app(settings))

    assert [message["type"] for message in messages] == ["lifespan.startup.failed"]
    assert why in messages[0]["message"]


async def test_without_a_lifespan_the_first_request_makes_it(payments):
    server, settings = payments(answer(200, "paid"))
    app = make_app(settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as inbound:
        bodies = [(await inbound.get("/async/charge")).json()["body"] for _ in range(2)]

    assert bodies == ["paid", "paid"]
    assert server.connections == 1


def test_a_test_client_without_a_lifespan_leaves_no_connection_open(payments):
    server, settings = payments(answer())
    inbound = TestClient(make_app(settings))
    inbound.get("/async/charge")
    inbound.get("/async/charge")

    server.wait_for_open_connections(0)


def test_bad_settings_fail_a_test_client_at_once():
    with pytest.raises(SettingsError, match="did you mean upstreams"), TestClient(make_app({"upstream": 1})):
        pass
