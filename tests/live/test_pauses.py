"""A node that asks to be left alone is, over real sockets: by a 503 with Retry-After, or by a header of its own."""

from __future__ import annotations

import pytest

from tests.live.behaviours import answer

ASKS = {
    "503": ({}, answer(503, headers={"Retry-After": "30"})),
    "header": ({"pauses": {"header": "X-Leave-Me-Alone"}}, answer(200, headers={"X-Leave-Me-Alone": "30"})),
}


@pytest.mark.parametrize("how", ASKS)
def test_a_node_that_asks_for_it_is_left_alone_while_the_other_serves(caller, fault_server, how):
    own, asks = ASKS[how]
    tired, fresh = fault_server(asks), fault_server(answer(200))
    nodes = {"endpoints": [tired.url, fresh.url], "balance": "weighted", **own}
    resilience = caller.resilience({"upstreams": {"payments": nodes}})

    async def body(client):
        return [(await client.get("http://payments/")).status_code for _ in range(12)]

    assert caller.run(resilience, body) == [200] * 12
    assert len(tired.requests) == 1
    (one, other) = resilience.status()["upstreams"]["payments"]["endpoints"]
    assert (one["out"], other["out"]) == (True, False)
    assert 0 < one["reasons"]["paused"] <= 30
