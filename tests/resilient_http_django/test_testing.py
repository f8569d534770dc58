"""The views' real policies over a script, as the tests of a project have them."""

from __future__ import annotations

import asyncio

import pytest
from django.test import AsyncClient, Client

from resilient_http.testing.plugin import inject_faults, scripted_upstream, virtual_clock
from resilient_http_django import get_resilience

__all__ = ["inject_faults", "scripted_upstream", "virtual_clock"]


@pytest.fixture(autouse=True)
def _payments(settings):
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://10.0.0.1:8080"]}}}


def test_a_view(virtual_clock, scripted_upstream, inject_faults):
    upstream = scripted_upstream(get_resilience())
    upstream.on("GET", "/charges/{id}").reply(503, times=2).then(200, text="paid")
    assert Client().get("/sync/charge").json()["body"] == "paid"
    assert len(upstream.requests) == 3
    inject_faults(get_resilience(), "payments", error={"status": 404, "body": "none"})
    assert Client().get("/sync/charge").json()["body"] == "none"


def test_an_async_view(virtual_clock, scripted_upstream):
    upstream = scripted_upstream(get_resilience())
    upstream.reply(503).then(200, text="paid")
    assert asyncio.run(AsyncClient().get("/async/charge")).json()["body"] == "paid"
    assert virtual_clock.elapsed > 0


def test_settings_that_change_within_a_test(virtual_clock, scripted_upstream, settings):
    upstream = scripted_upstream(everywhere=True)
    upstream.reply(503).then(200, text="paid")
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://10.0.0.2:8080"], "RETRY": None}}}
    assert Client().get("/sync/charge").json()["body"] == ""
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://10.0.0.3:8080"]}}}
    assert Client().get("/sync/charge").json()["body"] == "paid"
    assert [sent.host for sent in upstream.requests] == ["10.0.0.2:8080", "10.0.0.3:8080"]
