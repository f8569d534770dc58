"""What a caller is told when an endpoint does not catch that its upstream was too late, or not called."""

import logging
from typing import Annotated

import anyio
import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse, StreamingResponse

from resilient_http import AsyncClient, Client, DeadlineExceeded, deadline
from resilient_http_fastapi import ResilientHttpMiddleware, get_client, get_sync_client
from tests.live.servers import hang
from tests.resilient_http_fastapi.service import CHARGE

MARKER = "x-dependency-down"


async def call(client: Annotated[AsyncClient, Depends(get_client)]) -> None:
    await client.get(CHARGE)


def call_in_thread(client: Annotated[Client, Depends(get_sync_client)]) -> None:
    client.get(CHARGE)


async def call_twice(client: Annotated[AsyncClient, Depends(get_client)]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(client.get, CHARGE)
        group.start_soon(client.get, CHARGE)


async def stream(client: Annotated[AsyncClient, Depends(get_client)]) -> StreamingResponse:
    async def body():
        yield "first "
        await client.get(CHARGE)

    return StreamingResponse(body())


def make_app(settings, *, is_open=False, **options):
    app = FastAPI(**options)
    app.add_middleware(ResilientHttpMiddleware, settings=settings)
    app.get("/async")(call)
    app.get("/sync")(call_in_thread)
    app.get("/group")(call_twice)
    app.get("/stream")(stream)

    @app.middleware("http")
    async def opening(request, call_next):
        """Holds the circuits of payments open, once there is a Resilience."""
        if is_open and hasattr(app.state, "resilient_http"):
            for circuit in app.state.resilient_http.circuits("payments").values():
                circuit.force_open()
        return await call_next(request)

    return app


async def get(app, path, **headers):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as inbound:
        await inbound.get("/nowhere")
        return await inbound.get(path, headers=headers)


PATHS = ["/async", "/sync", "/group"]
SHORT = {"inbound": {"timeout": 0.3}}


@pytest.mark.parametrize("path", PATHS)
async def test_a_deadline_that_passed_is_a_504(payments, path):
    _, settings = payments(hang(), **SHORT)

    response = await get(make_app(settings), path)

    assert response.status_code == 504
    assert response.json() == {"error": "a service that this one depends on did not answer in time"}
    assert MARKER not in response.headers


@pytest.mark.parametrize("path", PATHS)
async def test_a_refusal_is_a_503_with_the_time_to_come_again_and_the_marker(payments, path):
    server, settings = payments(hang())

    response = await get(make_app(settings, is_open=True), path)

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers[MARKER] == "1"
    assert "payments" not in response.text
    assert not server.requests


async def test_a_person_gets_text(payments):
    _, settings = payments(hang())

    response = await get(make_app(settings, is_open=True), "/async", Accept="text/html,*/*;q=0.8")

    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "a service that this one depends on is not available\n"


async def test_details_are_for_debugging(payments):
    server, settings = payments(hang())

    assert server.url in (await get(make_app(settings, is_open=True, debug=True), "/async")).json()["detail"]


async def test_they_can_be_switched_off(payments):
    _, settings = payments(hang(), inbound={"timeout": 0.3, "answers": False})

    with pytest.raises(DeadlineExceeded):
        await get(make_app(settings), "/async")


async def sorry(request, error):
    return JSONResponse({"error": type(error).__name__}, status_code=418)


@pytest.mark.parametrize("handled", [DeadlineExceeded, httpx.TimeoutException])
async def test_a_handler_of_the_apps_comes_first(payments, handled):
    _, settings = payments(hang(), **SHORT)

    assert (await get(make_app(settings, exception_handlers={handled: sorry}), "/async")).status_code == 418


@pytest.mark.parametrize("handled", [Exception, 500])
async def test_a_handler_for_everything_comes_first(payments, handled):
    _, settings = payments(hang(), **SHORT)
    app = make_app(settings, exception_handlers={handled: sorry})

    response = await get_whatever_is_raised(app, "/async")

    assert (response.status_code, response.json()) == (418, {"error": "DeadlineExceeded"})


def in_a_thread():
    with deadline(0.1):
        yield


async def test_a_deadline_in_a_sync_dependency_warns_and_the_504_stays(payments):
    _, settings = payments(hang(), **SHORT)
    app = make_app(settings)
    app.get("/dependent", dependencies=[Depends(in_a_thread)])(call)

    with pytest.warns(RuntimeWarning, match="use `async def`"):
        response = await get(app, "/dependent")

    assert response.status_code == 504


def make_outer(settings, **options):
    """An app that has one inside it, whose routes fail."""
    app, inside = FastAPI(), FastAPI(**options)
    app.add_middleware(ResilientHttpMiddleware, settings=settings)
    app.mount("/inside", inside)
    inside.get("/async")(call)
    inside.get("/sync")(call_in_thread)
    return app


@pytest.mark.parametrize("path", ["/inside/async", "/inside/sync"])
async def test_a_mounted_app_is_answered_for_as_well(payments, path):
    _, settings = payments(hang(), **SHORT)

    response = await get(make_outer(settings), path)

    assert response.status_code == 504
    assert response.json() == {"error": "a service that this one depends on did not answer in time"}


@pytest.mark.parametrize("handled", [Exception, 500, DeadlineExceeded])
async def test_a_handler_of_a_mounted_app_comes_first(payments, handled):
    _, settings = payments(hang(), **SHORT)
    app = make_outer(settings, exception_handlers={handled: failed})

    response = await get_whatever_is_raised(app, "/inside/async")

    assert (response.status_code, response.json()) == (500, {"error": "DeadlineExceeded"})


async def failed(request, error):
    return JSONResponse({"error": type(error).__name__}, status_code=500)


async def test_a_mounted_apps_500_is_sent_when_answers_are_off(payments):
    _, settings = payments(hang(), inbound={"timeout": 0.3, "answers": False})

    response = await get_whatever_is_raised(make_outer(settings), "/inside/async")

    assert (response.status_code, response.text) == (500, "Internal Server Error")


async def get_whatever_is_raised(app, path):
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as inbound:
        return await inbound.get(path)


async def test_a_response_that_has_begun_is_broken_off(payments):
    _, settings = payments(hang(), **SHORT)

    with pytest.raises((DeadlineExceeded, ExceptionGroup)):
        await get(make_app(settings), "/stream")


async def test_the_log_says_in_one_line_which_upstream_it_was(payments, caplog):
    _, settings = payments(hang(), **SHORT)

    with caplog.at_level(logging.WARNING, "resilient_http.fastapi"):
        await get(make_app(settings), "/async")

    (record,) = [record for record in caplog.records if record.name == "resilient_http.fastapi"]
    assert "GET /async answered with 504: payments: the deadline of 0.25 s passed" in record.getMessage()
    assert record.exc_info is None


async def test_a_path_cannot_command_the_terminal_of_who_reads_the_log(payments, caplog):
    _, settings = payments(hang(), **SHORT)
    app = make_app(settings)
    app.get("/any/{path:path}")(call)

    await get(app, "/any/%1B[2J")

    (record,) = [record for record in caplog.records if record.name == "resilient_http.fastapi"]
    assert "GET /any/\\x1b[2J answered" in record.getMessage()
