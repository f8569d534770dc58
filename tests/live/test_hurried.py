"""Callers with little time cannot open a circuit for everybody, also where their deadline is passed on."""

from __future__ import annotations

from resilient_http import deadline
from tests.live.servers import answer, delay

HEADER = "x-envoy-expected-rq-timeout-ms"


def obedient(request):
    """A service that needs 100 ms, and answers 504 in time to whoever has less."""
    left = float(request.header(HEADER)) / 1000
    return delay(0.1, answer(200)) if left > 0.1 else delay(left * 0.5, answer(504))


def test_ten_callers_with_60_ms_leave_the_circuit_closed_for_one_with_ten_seconds(caller, fault_server):
    server = fault_server(obedient)
    resilience = caller.resilience(
        {"upstreams": {"payments": {"endpoints": [server.url], "deadline_header": HEADER, "retry": None}}}
    )

    async def body(client):
        hurried = []
        for _ in range(10):
            with deadline(0.06):
                hurried.append((await client.get("http://payments/")).status_code)
        return hurried, (await client.get("http://payments/")).status_code

    assert caller.run(resilience, body) == ([504] * 10, 200)
