"""A route that says how the upstreams are doing."""

import httpx
import pytest
from fastapi import FastAPI

from resilient_http import SettingsError
from resilient_http_fastapi import ResilientHttpMiddleware, health_route
from tests.live.servers import answer
from tests.resilient_http_fastapi.service import router

ALONE = {"retry": None, "circuit": {"streak": 2, "quiet_streak": 2}}


def service(settings):
    app = FastAPI()
    app.add_middleware(ResilientHttpMiddleware, settings=settings)
    app.include_router(router)
    app.add_api_route("/health", health_route())
    app.add_api_route("/ready", health_route(required=["payments"]))
    app.add_api_route("/details", health_route(details=True))
    app.add_api_route("/typo", health_route(required=["paymets"]))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


async def test_an_open_circuit_is_degraded_and_down_only_where_that_is_asked_for(payments):
    server, settings = payments(answer(503), defaults=ALONE)
    async with service(settings) as inbound:
        before = await inbound.get("/ready")
        for _ in range(2):
            await inbound.get("/async/charge")
        health, ready, details = [await inbound.get(path) for path in ("/health", "/ready", "/details")]

    assert (before.status_code, before.json()["status"]) == (200, "ok")
    why = ["1 of 1 circuits open"]
    assert health.status_code == 200
    assert health.headers["cache-control"] == "no-store"
    assert health.json() == {"status": "degraded", "upstreams": {"payments": {"status": "down", "why": why}}}
    assert ready.status_code == 503
    assert ready.json() == {"status": "down", "upstreams": {"payments": {"status": "down", "why": why}}}
    assert details.json()["upstreams"]["payments"]["endpoints"] == {server.url: "open"}


async def test_a_name_that_is_not_known_is_told_with_the_nearest(payments):
    _, settings = payments()
    async with service(settings) as inbound:
        with pytest.raises(SettingsError, match="no upstream 'paymets'; did you mean payments"):
            await inbound.get("/typo")
