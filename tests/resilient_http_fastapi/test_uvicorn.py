"""Over a real uvicorn, with settings from a real environment."""

import json
import time

import httpx
import pytest

from tests.live.processes import served
from tests.live.servers import answer, hang

UVICORN = ["uvicorn", "--fd", "FD", "tests.resilient_http_fastapi.service:app"]


def environment(server):
    return {"RESILIENT_HTTP_UPSTREAMS__PAYMENTS__ENDPOINTS": json.dumps([server.url])}


def test_a_service_takes_its_upstreams_from_the_environment_and_closes_them_when_it_stops(fault_server):
    upstream = fault_server(answer(200, "paid"))
    with served(UVICORN, environment(upstream)) as service:
        for kind in ("async", "sync", "named"):
            assert httpx.get(f"{service.url}/{kind}/charge", timeout=30).json()["body"] == "paid"
        assert upstream.open_connections == 2
        _, output = service.stop()

    assert "Application shutdown complete" in output
    assert "Traceback" not in output
    upstream.wait_for_open_connections(0)


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_the_deadline_of_the_caller_bounds_the_outbound_call(fault_server, kind):
    upstream = fault_server(hang())
    with served(UVICORN, environment(upstream)) as service, httpx.Client(base_url=service.url, timeout=30) as caller:
        caller.get("/status")
        started = time.monotonic()
        response = caller.get(f"/{kind}/charge", headers={"X-Envoy-Expected-Rq-Timeout-Ms": "300"})

    assert time.monotonic() - started < 1.5
    assert response.json() == {"error": "DeadlineExceeded", "budget": pytest.approx(0.25)}


def test_bad_settings_keep_the_service_from_starting():
    with served(UVICORN, {"RESILIENT_HTTP_INBOUND__TIMEOUT": "long"}) as service:
        status, output = service.wait()

    assert status == 3
    assert "inbound.timeout" in output
    assert "(got 'long')" in output
