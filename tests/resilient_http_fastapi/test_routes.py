"""What a route says about its own requests: timeout() at the app, a router, a route or an endpoint."""

import time
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient

from resilient_http import AsyncClient, Client
from resilient_http_fastapi import ResilientHttpMiddleware, get_client, get_sync_client, timeout
from tests.live.servers import answer, hang
from tests.resilient_http_fastapi.service import CHARGE, told

EXPECTED = "X-Envoy-Expected-Rq-Timeout-Ms"
TRUSTING = {"trusted_peers": ["127.0.0.1"]}
UNLIMITED = {"timeout": {"total": None}}
ran: list[str] = []


async def call(client: Annotated[AsyncClient, Depends(get_client)]) -> dict[str, Any]:
    ran.append("async")
    return told(await client.get(CHARGE))


def call_in_thread(client: Annotated[Client, Depends(get_sync_client)]) -> dict[str, Any]:
    ran.append("sync")
    return told(client.get(CHARGE))


async def call_with_two(
    first: Annotated[None, Depends(timeout(4.0))], client: Annotated[AsyncClient, Depends(get_client)]
) -> dict[str, Any]:
    return told(await client.get(CHARGE))


async def call_with_late_timeout(
    client: Annotated[AsyncClient, Depends(get_client)], own: Annotated[None, Depends(timeout(30.0))]
) -> dict[str, Any]:
    ran.append("late")
    return told(await client.get(CHARGE))


async def idle() -> str:
    ran.append("idle")
    return "idle"


def make_app(settings, *, own=None):
    """An app with `timeout(own)` for all, and routes with others."""
    app = FastAPI(dependencies=[Depends(timeout(own))] if own else [])
    app.add_middleware(ResilientHttpMiddleware, settings=settings)
    app.get("/plain")(call)
    app.get("/idle")(idle)
    app.get("/quick", dependencies=[Depends(timeout(0.3))])(call)
    app.get("/quick-sync", dependencies=[Depends(timeout(0.3))])(call_in_thread)
    app.get("/slow", dependencies=[Depends(timeout(30.0))])(call)
    app.get("/unlimited", dependencies=[Depends(timeout(None))])(call)
    app.get("/parameter", dependencies=[Depends(timeout(3.0))])(call_with_two)
    app.get("/late")(call_with_late_timeout)
    router = APIRouter(prefix="/router", dependencies=[Depends(timeout(2.0))])
    router.get("/plain")(call)
    router.get("/slow", dependencies=[Depends(timeout(30.0))])(call)
    router.get("/idle")(idle)
    app.include_router(router)
    app.include_router(router, prefix="/own", dependencies=[Depends(timeout(20.0))])
    inside = FastAPI()
    inside.get("/idle")(idle)
    inside.get("/slow", dependencies=[Depends(timeout(30.0))])(call)
    app.mount("/mounted", inside)
    ran.clear()
    return app


async def get(app, path, **headers):
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as inbound:
        return await inbound.get(path, headers=headers)


def queued(seconds):
    return {"X-Request-Start": f"t={time.time() - seconds:.3f}"}


@pytest.mark.parametrize("path", ["/quick", "/quick-sync"])
async def test_a_routes_own_timeout_shortens_the_budget(payments, path):
    _, settings = payments(hang())
    started = time.monotonic()

    response = await get(make_app(settings), path)

    assert response.status_code == 504
    assert 0.2 < time.monotonic() - started < 0.6


@pytest.mark.parametrize(
    ("own", "path", "budget"),
    [
        (None, "/slow", 29.95),
        (None, "/unlimited", None),
        (None, "/parameter", 3.95),
        (None, "/router/plain", 1.95),
        (None, "/router/slow", 29.95),
        (5.0, "/plain", 4.95),
        (5.0, "/slow", 29.95),
        (5.0, "/router/plain", 1.95),
        (5.0, "/parameter", 3.95),
    ],
)
async def test_the_most_specific_one_wins(payments, own, path, budget):
    _, settings = payments(answer(), inbound={"timeout": 1.0}, defaults=UNLIMITED)

    response = await get(make_app(settings, own=own), path)

    assert response.json()["budget"] == (budget and pytest.approx(budget))


async def test_a_header_shortens_it_all_the_same(payments):
    _, settings = payments(answer())

    response = await get(make_app(settings), "/slow", **{EXPECTED: "1000"})

    assert response.json()["budget"] == pytest.approx(0.95)


@pytest.mark.parametrize("path", ["/plain", "/quick", "/quick-sync", "/slow", "/router/plain"])
async def test_a_request_that_has_nothing_left_is_answered_without_running_its_endpoint(payments, path):
    server, settings = payments(answer(), inbound={"timeout": 5.0, **TRUSTING})

    response = await get(make_app(settings), path, **queued(40.0))

    assert response.status_code == 504
    assert ran == []
    assert server.requests == []


@pytest.mark.parametrize("path", ["/idle", "/router/idle", "/mounted/idle"])
async def test_one_that_makes_no_call_is_refused_as_well_whatever_other_routes_allow(payments, path):
    _, settings = payments(answer(), inbound={"timeout": 5.0, **TRUSTING})

    assert (await get(make_app(settings), path, **queued(10.0))).status_code == 504
    assert ran == []


async def test_a_path_that_no_route_knows_is_not_found(payments):
    _, settings = payments(answer(), inbound={"timeout": 5.0, **TRUSTING})

    assert (await get(make_app(settings), "/nowhere", **queued(10.0))).status_code == 404


@pytest.mark.parametrize("path", ["/slow", "/router/slow", "/own/router/slow", "/mounted/slow", "/late"])
async def test_a_route_that_allows_more_runs_though_the_default_is_used_up(payments, path):
    _, settings = payments(answer(), inbound={"timeout": 5.0, **TRUSTING}, defaults=UNLIMITED)

    response = await get(make_app(settings), path, **queued(10.0))

    assert response.json()["budget"] == pytest.approx(19.95, abs=0.05)


async def test_a_route_that_allows_more_than_its_app_runs_though_that_is_used_up(payments):
    _, settings = payments(answer(), inbound={"timeout": 60.0, **TRUSTING})
    app = make_app(settings, own=5.0)

    assert (await get(app, "/slow", **queued(10.0))).status_code == 200
    assert (await get(app, "/idle", **queued(10.0))).status_code == 504
    assert ran == ["async"]


def test_the_same_seconds_give_the_same_dependency():
    assert timeout(2.0) is timeout(2.0)
    assert timeout(2.0) is not timeout(3.0)
    assert repr(timeout(2.0)) == "timeout(2.0)"


@pytest.mark.parametrize("seconds", [0, -1, True, "2", [], float("nan"), float("inf")])
def test_a_timeout_that_makes_no_sense_is_refused_where_it_stands(seconds):
    with pytest.raises(ValueError, match=r"deadline takes finite seconds|timeout\(0\)"):
        timeout(seconds)


async def test_a_test_can_put_another_in_its_place(payments):
    _, settings = payments(answer())
    app = make_app(settings)
    app.dependency_overrides[timeout(30.0)] = timeout(7.0)

    assert (await get(app, "/slow")).json()["budget"] == pytest.approx(6.95)


def test_a_websocket_under_the_same_app_is_left_alone(payments):
    _, settings = payments(answer())
    app = make_app(settings, own=0.5)

    @app.websocket("/websocket")
    async def talk(websocket: WebSocket, client: Annotated[AsyncClient, Depends(get_client)]) -> None:
        await websocket.accept()
        await websocket.send_json(told(await client.get(CHARGE)))

    with TestClient(app) as inbound, inbound.websocket_connect("/websocket") as websocket:
        assert websocket.receive_json()["budget"] == 10.0


async def test_without_the_middleware_the_error_says_what_to_add():
    app = FastAPI()
    app.get("/", dependencies=[Depends(timeout(2.0))])(idle)

    with pytest.raises(RuntimeError, match=r"app.add_middleware\(ResilientHttpMiddleware\)"):
        await get(app, "/")
