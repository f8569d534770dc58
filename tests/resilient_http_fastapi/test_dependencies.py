"""get_client, get_sync_client, client_for: what an endpoint gets, and what a test puts in their place."""

from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI

from resilient_http import AsyncClient, Client, SettingsError
from resilient_http_fastapi import ResilientHttpMiddleware, client_for, get_client, get_sync_client
from tests.live.servers import answer
from tests.resilient_http_fastapi.service import make_app


async def get(app, path="/", **headers):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as inbound:
        return await inbound.get(path, headers=headers)


def app_with(endpoint, settings=None):
    app = FastAPI()
    app.add_middleware(ResilientHttpMiddleware, settings=settings or {})
    app.get("/")(endpoint)
    return app


@pytest.mark.parametrize("kind", ["async", "sync", "named"])
async def test_an_endpoint_calls_an_upstream_by_its_name(payments, kind):
    server, settings = payments(answer(200, "paid"))

    response = await get(make_app(settings), f"/{kind}/charge")

    assert response.json()["body"] == "paid"
    assert server.requests[0].target == "/charges/42"


async def test_one_request_has_one_client_wherever_it_is_asked_for():
    async def helper(client: Annotated[AsyncClient, Depends(get_client, use_cache=False)]) -> AsyncClient:
        return client

    async def endpoint(
        client: Annotated[AsyncClient, Depends(get_client)],
        again: Annotated[AsyncClient, Depends(helper)],
        sync_client: Annotated[Client, Depends(get_sync_client)],
    ) -> list[bool]:
        return [client is again, isinstance(client, httpx.AsyncClient), isinstance(sync_client, httpx.Client)]

    assert (await get(app_with(endpoint))).json() == [True, True, True]


async def test_each_request_has_a_client_of_its_own():
    clients = []

    async def endpoint(client: Annotated[AsyncClient, Depends(get_client)]) -> None:
        clients.append(client)

    app = app_with(endpoint)
    await get(app)
    await get(app)

    assert clients[0] is not clients[1]


def test_the_same_name_gives_the_same_dependency():
    assert client_for("payments") is client_for("payments")
    assert client_for("payments") is not client_for("shipping")


async def test_an_unknown_name_is_refused_with_the_nearest_that_is_known(payments):
    _, settings = payments()

    async def endpoint(client: Annotated[AsyncClient, Depends(client_for("paymnets"))]) -> None:
        pass

    with pytest.raises(SettingsError, match=r"'paymnets'.*did you mean payments\?"):
        await get(app_with(endpoint, settings))


async def test_without_the_middleware_the_error_says_what_to_add():
    async def endpoint(client: Annotated[AsyncClient, Depends(get_client)]) -> None:
        pass

    app = FastAPI()
    app.get("/")(endpoint)

    with pytest.raises(RuntimeError, match=r"app.add_middleware\(ResilientHttpMiddleware\)"):
        await get(app)


@pytest.mark.parametrize(
    ("kind", "dependency"), [("async", get_client), ("sync", get_sync_client), ("named", client_for("payments"))]
)
async def test_a_test_puts_a_client_of_its_own_in_place(payments, kind, dependency):
    server, settings = payments()
    app = make_app(settings)

    def answer_for_test(request):
        return httpx.Response(200, text="mocked", extensions={"resilient_http": Unbounded})

    made = httpx.Client if kind == "sync" else httpx.AsyncClient
    app.dependency_overrides[dependency] = lambda: made(
        transport=httpx.MockTransport(answer_for_test), base_url="http://payments"
    )

    assert (await get(app, f"/{kind}/charge")).json()["body"] == "mocked"
    assert server.requests == []


class Unbounded:
    budget = None


async def test_the_resilience_is_at_hand_for_a_status_page(payments):
    _, settings = payments()

    assert list((await get(make_app(settings), "/status")).json()["upstreams"]) == ["payments"]
