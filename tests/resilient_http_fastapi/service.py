"""A FastAPI service that calls the upstream "payments", and tells what came of it."""

import os
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse

from resilient_http import AsyncClient, Client, Resilience
from resilient_http_fastapi import ResilientHttpMiddleware, client_for, get_client, get_resilience, get_sync_client

CHARGE = "http://payments/charges/42"

ClientDep = Annotated[AsyncClient, Depends(get_client)]
SyncClientDep = Annotated[Client, Depends(get_sync_client)]
PaymentsDep = Annotated[AsyncClient, Depends(client_for("payments"))]
ResilienceDep = Annotated[Resilience, Depends(get_resilience)]

router = APIRouter()


@router.get("/async/charge")
async def charge(client: ClientDep) -> dict[str, Any]:
    return told(await client.get(CHARGE))


@router.get("/sync/charge")
def charge_in_thread(client: SyncClientDep) -> dict[str, Any]:
    return told(client.get(CHARGE))


@router.get("/in-scope/charge")
def charge_with_any_client(resilience: ResilienceDep) -> dict[str, Any]:
    return told(resilience.client().get(CHARGE))


@router.get("/named/charge")
async def charge_by_name(client: PaymentsDep) -> dict[str, Any]:
    return told(await client.get("/charges/42"))


@router.get("/async/two-steps")
async def two_steps(client: ClientDep, who: str) -> dict[str, Any]:
    await client.get(f"http://payments/login/{who}")
    response = await client.get(f"http://payments/account/{who}")
    return told(response) | {"received": response.json()}


@router.get("/sync/two-steps")
def two_steps_in_thread(client: SyncClientDep, who: str) -> dict[str, Any]:
    client.get(f"http://payments/login/{who}")
    response = client.get(f"http://payments/account/{who}")
    return told(response) | {"received": response.json()}


@router.get("/async/stream")
async def stream(client: ClientDep) -> StreamingResponse:
    async def body():
        yield "first "
        try:
            yield str(told(await client.get(CHARGE))["budget"])
        except httpx.TimeoutException as error:
            yield type(error).__name__

    return StreamingResponse(body())


@router.get("/sync/stream")
def stream_in_thread(client: SyncClientDep) -> StreamingResponse:
    def body():
        yield "first "
        try:
            yield str(told(client.get(CHARGE))["budget"])
        except httpx.TimeoutException as error:
            yield type(error).__name__

    return StreamingResponse(body())


@router.get("/background")
async def background(request: Request, client: ClientDep, tasks: BackgroundTasks) -> str:
    async def work() -> None:
        request.app.state.in_background.append(told(await client.get(CHARGE)))

    tasks.add_task(work)
    return "later"


@router.websocket("/websocket")
async def talk(websocket: WebSocket, client: ClientDep) -> None:
    await websocket.accept()
    async for _ in websocket.iter_text():
        await websocket.send_json(told(await client.get(CHARGE)))


@router.get("/status")
async def status(resilience: ResilienceDep) -> dict[str, Any]:
    return resilience.status()


def make_app(settings: Any = None, **options: Any) -> FastAPI:
    """The service with its own settings; None takes them from the environment."""
    app = FastAPI(exception_handlers={httpx.TimeoutException: say_so}, **options)
    app.add_middleware(ResilientHttpMiddleware, settings=settings)
    app.include_router(router)
    app.state.in_background = []
    return app


async def say_so(request: Request, error: httpx.TimeoutException) -> JSONResponse:
    return JSONResponse({"error": type(error).__name__, "budget": error.budget}, status_code=504)


def told(response: httpx.Response) -> dict[str, Any]:
    """The body, and the seconds that the deadline of the call granted."""
    return {"pid": os.getpid(), "body": response.text, "budget": response.extensions["resilient_http"].budget}


app = make_app()
