"""Listeners hear of what the app's calls meet, and can break nothing."""

import httpx
import pytest
from fastapi import FastAPI

from resilient_http_fastapi import ResilientHttpMiddleware
from tests.live.servers import answer
from tests.resilient_http_fastapi.service import router


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_listeners_of_the_middleware_hear_of_its_calls(payments, kind):
    _, settings = payments(answer(503), defaults={"retry": None})
    told, later = [], []

    def broken(event):
        raise LookupError("broken")

    app = FastAPI()
    app.add_middleware(ResilientHttpMiddleware, settings=settings, listeners=[broken, told.append])
    app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as inbound:
        response = await inbound.get(f"/{kind}/charge")
        app.state.resilient_http.add_listener(later.append)
        await inbound.get(f"/{kind}/charge")

    assert response.status_code == 200
    names = [type(event).__name__ for event in told]
    assert names == ["AttemptFinished", "CallFinished"] * 2
    assert later == told[2:]
