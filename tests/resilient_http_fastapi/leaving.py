"""A service whose callers may go away: each endpoint notes in a file how its outbound call ended."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import StreamingResponse

from resilient_http import AsyncClient, Client, Resilience
from resilient_http_fastapi import (
    ResilientHttpMiddleware,
    get_client,
    get_resilience,
    get_sync_client,
    ignore_disconnect,
)

CHARGE = "http://payments/charges/42"

ClientDep = Annotated[AsyncClient, Depends(get_client)]
SyncClientDep = Annotated[Client, Depends(get_sync_client)]


@contextmanager
def noting(path: str) -> Iterator[list[str]]:
    """Note how the block ended, and after how many seconds; the caller may be gone, so it goes to a file."""
    started = time.monotonic()
    ended = ["?"]
    try:
        yield ended
    except BaseException as error:
        ended[0] = type(error).__name__
        raise
    finally:
        with Path(os.environ["SERVICE_NOTES"]).open("a") as notes:
            notes.write(f"{path} {ended[0]} {time.monotonic() - started:.3f}\n")


router = APIRouter()
stubborn = APIRouter(prefix="/stubborn", dependencies=[Depends(ignore_disconnect)])


@router.get("/async")
@stubborn.get("/async")
async def call(request: Request, client: ClientDep) -> str:
    with noting(request.url.path) as ended:
        ended[0] = (await client.get(CHARGE)).text
    return ended[0]


@router.get("/sync")
@stubborn.get("/sync")
def call_in_thread(request: Request, client: SyncClientDep) -> str:
    with noting(request.url.path) as ended:
        ended[0] = client.get(CHARGE).text
    return ended[0]


@router.get("/stream")
async def stream(client: ClientDep) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        yield "first "
        with noting("/stream") as ended:
            ended[0] = (await client.get(CHARGE)).text
        yield ended[0]

    return StreamingResponse(body())


@router.get("/pass-on")
def pass_on(client: SyncClientDep) -> StreamingResponse:
    """Streams what the upstream streams, from a thread."""

    def body() -> Iterator[bytes]:
        with client.stream("GET", CHARGE) as response:
            yield from response.iter_raw()

    return StreamingResponse(body())


@router.get("/in-flight")
async def in_flight(resilience: Annotated[Resilience, Depends(get_resilience)]) -> int:
    return resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"]


@router.post("/body")
async def take(payload: dict[str, Any], client: ClientDep) -> dict[str, Any]:
    return {"payload": payload, "ended": (await client.get(CHARGE)).text}


@router.post("/upload")
async def upload(request: Request, client: ClientDep) -> list[int]:
    """Calls before, between and after what it reads."""
    sizes = []
    await client.get(CHARGE)
    async for chunk in request.stream():
        sizes.append(len(chunk))
        if len(sizes) % 50 == 1:
            await client.get(CHARGE)
    await client.get(CHARGE)
    return [len(sizes), sum(sizes)]


@router.get("/polling")
async def poll(request: Request, client: ClientDep) -> None:
    with noting("/polling") as ended:
        await client.get(CHARGE)
        while not await request.is_disconnected():  # noqa: ASYNC110 - as a user would write it
            await anyio.sleep(0.01)
        ended[0] = "seen"


@router.get("/background")
async def background(client: ClientDep, tasks: BackgroundTasks) -> str:
    await client.get("http://payments/first")

    async def work() -> None:
        with noting("/background") as ended:
            ended[0] = (await client.get(CHARGE)).text

    tasks.add_task(work)
    return "later"


@router.get("/background-sync")
def background_in_thread(client: SyncClientDep, tasks: BackgroundTasks) -> str:
    client.get("http://payments/first")

    def work() -> None:
        with noting("/background-sync") as ended:
            ended[0] = client.get(CHARGE).text

    tasks.add_task(work)
    return "later"


async def passing_on(request: Request, call_next: Any) -> Any:
    """A middleware as most are written: it runs what is inside it in a task of its own."""
    return await call_next(request)


def make_app() -> FastAPI:
    """The service; SERVICE_WRAPPED puts such a middleware inside ours, and one around it."""
    app = FastAPI()
    wrapped = os.environ.get("SERVICE_WRAPPED") == "1"
    if wrapped:
        app.middleware("http")(passing_on)
    app.add_middleware(ResilientHttpMiddleware)
    if wrapped:
        app.middleware("http")(passing_on)
    app.include_router(router)
    app.include_router(stubborn)
    return app


app = make_app()
