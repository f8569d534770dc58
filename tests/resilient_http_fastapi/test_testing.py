"""The app's real policies over a script, as the tests of an app have them."""

from __future__ import annotations

import httpx
import pytest
from fastapi.testclient import TestClient

from resilient_http.testing.plugin import inject_faults, scripted_upstream, virtual_clock
from tests.resilient_http_fastapi.service import make_app

__all__ = ["inject_faults", "scripted_upstream", "virtual_clock"]

SETTINGS = {"upstreams": {"payments": {"endpoints": ["http://10.0.0.1:8080"]}}}
KINDS = ["async", "sync", "named"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_app_with_a_lifespan(kind, virtual_clock, scripted_upstream, inject_faults):
    app = make_app(SETTINGS)
    with TestClient(app) as inbound:
        upstream = scripted_upstream(app.state.resilient_http)
        upstream.on("GET", "/charges/{id}").reply(503, times=2).then(200, text="paid")
        assert inbound.get(f"/{kind}/charge").json()["body"] == "paid"
        assert len(upstream.requests) == 3
        inject_faults(app.state.resilient_http, "payments", error={"status": 404, "body": "none"})
        assert inbound.get(f"/{kind}/charge").json()["body"] == "none"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_app_without_one_whose_resilience_is_made_with_its_first_request(
    kind, virtual_clock, scripted_upstream
):
    upstream = scripted_upstream(everywhere=True)
    upstream.reply(503).then(200, text="paid")
    app = make_app(SETTINGS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as inbound:
        assert (await inbound.get(f"/{kind}/charge")).json()["body"] == "paid"
    assert len(upstream.requests) == 2
