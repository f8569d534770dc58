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
