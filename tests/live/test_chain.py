"""Three services in a row end together: shop calls pricing, which calls a node that does not answer."""

import json
import time

import httpx
import pytest

from tests.live.processes import served
from tests.live.servers import answer, hang

UVICORN = ["uvicorn", "--fd", "FD", "--log-level", "warning", "tests.live.chain:app"]
HEADER = "x-envoy-expected-rq-timeout-ms"


def link(url):
    """The environment of a service that passes on to `url`."""
    upstream = {"endpoints": [url], "deadline_header": HEADER}
    return {"RESILIENT_HTTP_UPSTREAMS": json.dumps({"next": upstream})}


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_with_300_ms_for_the_first_none_works_on_it_at_350(fault_server, kind):
    node = fault_server(answer())
    with (
        served(UVICORN, link(node.url)) as pricing,
        served(UVICORN, link(pricing.url)) as shop,
        httpx.Client(base_url=shop.url, timeout=30) as caller,
    ):
        for _ in range(3):
            assert caller.get(f"/{kind}").status_code == 200
        node.play(hang())
        before, idle = len(node.requests), node.open_connections
        started = time.monotonic()
        response = caller.get(f"/{kind}", headers={HEADER: "300"})
        answered = time.monotonic() - started
        # The connection that was cut is closed; who works on it sees that at once.
        node.wait_for_open_connections(idle - 1)
        ended = time.monotonic() - started
    (cut,) = node.requests[before:]

    assert response.status_code == 504
    assert 140 <= int(cut.header(HEADER)) <= 200
    assert answered < 0.35
    assert ended < 0.35


@pytest.mark.parametrize(("told", "requests"), [(False, 27), (True, 7)], ids=["untold", "told"])
def test_three_layers_of_three_attempts_do_not_become_27_requests(fault_server, told, requests):
    node = fault_server(answer(503))

    def layer(url):
        upstream = {
            "endpoints": [url],
            "attempt_header": "x-envoy-attempt-count" if told else None,
            "circuit": None,
            "retry": {"budget": None, "backoff": {"base": 0.001, "throttled_base": 0.001}},
        }
        inbound = {"trusted_peers": ["127.0.0.1"]}
        return {
            "RESILIENT_HTTP_UPSTREAMS": json.dumps({"next": upstream}),
            "RESILIENT_HTTP_INBOUND": json.dumps(inbound),
        }

    with (
        served(UVICORN, layer(node.url)) as third,
        served(UVICORN, layer(third.url)) as second,
        served(UVICORN, layer(second.url)) as first,
        httpx.Client(base_url=first.url, timeout=30) as caller,
    ):
        assert caller.get("/async").status_code == 503

    assert len(node.requests) == requests
