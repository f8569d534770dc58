"""A sync client in an async endpoint is told with where, or refused; in a plain one it is right."""

import logging

import httpx
import pytest
from fastapi import FastAPI

from resilient_http import MisplacedCall
from resilient_http_fastapi import ResilientHttpMiddleware
from tests.live.servers import answer
from tests.resilient_http_fastapi.service import SyncClientDep, router


async def blocking(client: SyncClientDep) -> dict[str, str]:
    try:
        return {"body": client.get("http://payments/").text}
    except MisplacedCall as error:
        return {"error": str(error)}


def service(settings):
    app = FastAPI()
    app.add_middleware(ResilientHttpMiddleware, settings=settings)
    app.include_router(router)
    app.add_api_route("/blocking", blocking)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


async def test_it_is_told_once_with_file_and_line(payments, caplog):
    _, settings = payments(answer(200, "paid"))
    with caplog.at_level(logging.WARNING, logger="resilient_http.misplaced"):
        async with service(settings) as inbound:
            answers = [(await inbound.get("/blocking")).json() for _ in range(2)]

    assert answers == [{"body": "paid"}] * 2
    (record,) = [record for record in caplog.records if record.name == "resilient_http.misplaced"]
    assert record.getMessage().startswith(f"GET http://payments with a sync client, at {__file__}:")
    assert record.where.startswith(f"{__file__}:")


@pytest.mark.parametrize("path", ["/sync/charge", "/async/charge"])
async def test_it_may_be_refused_and_other_endpoints_are_as_they_should_be(payments, path):
    server, settings = payments(answer(200, "paid"), misplaced={"in_event_loop": "refuse"})
    async with service(settings) as inbound:
        refused = (await inbound.get("/blocking")).json()
        assert server.requests == []
        right = (await inbound.get(path)).json()

    assert f"at {__file__}:" in refused["error"]
    assert right["body"] == "paid"
