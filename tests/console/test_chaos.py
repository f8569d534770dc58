"""Faults that are injected on purpose stand on the page, beside what they cause, for as long as they last."""

from __future__ import annotations

import json
import time

import httpx

from resilient_http import Resilience
from resilient_http.console.recent import Recent
from resilient_http.console.rows import rows_of
from resilient_http.console.together import together
from resilient_http.settings.console import ConsoleSettings
from resilient_http.telemetry.labels import Labels

UP = httpx.MockTransport(lambda request: httpx.Response(200))


def rows(chaos, *, calls=0, ahead=0.0, **own):
    settings = {
        "chaos": {"allowed": ["payments"], "key": "k" * 16},
        "upstreams": {"payments": {"endpoints": ["http://n1"], "retry": None, "chaos": chaos, **own}},
    }
    with Resilience(settings) as resilience, resilience.client(transport=UP) as client:
        for _ in range(calls):
            client.get("http://payments/")
        recent = Recent(ConsoleSettings(), Labels())
        return rows_of(resilience._control, recent, time.monotonic() + ahead)


def test_it_is_a_reason_to_look_while_it_lasts():
    found = rows({"error": 404, "latency": 0.001, "lasts": 60}, calls=2)
    json.dumps(found)
    assert found["payments"]["chaos"]["injected"] == {"error": 2, "latency": 2}
    why = together([found], time.time())["payments"]["trouble"]["why"]
    assert why in ([f"faults on purpose (error, latency) for {left} s more"] for left in (59, 60))


def test_when_it_is_over_it_is_none():
    found = rows({"error": 404, "lasts": 60}, ahead=61.0)
    assert together([found], time.time())["payments"]["trouble"]["why"] == []


def test_that_of_a_route_counts_and_a_header_alone_is_no_trouble():
    found = rows({"by_header": True}, routes={"GET /a": {"chaos": {"drip": 100, "lasts": 60}}})
    assert found["payments"]["chaos"]["kinds"] == ["drip"]
    quiet = rows({"by_header": True})
    assert quiet["payments"]["chaos"]["by_header"]
    assert together([quiet], time.time())["payments"]["trouble"]["why"] == []


def test_processes_are_added_up():
    one, other = (rows({"error": 404, "lasts": lasts}, calls=2) for lasts in (60, 120))
    both = together([one, other], time.time())["payments"]["chaos"]
    assert both["injected"] == {"error": 4}
    assert both["ends_in"] > 100
    assert together([rows(None), one], time.time())["payments"]["chaos"]["injected"] == {"error": 2}
