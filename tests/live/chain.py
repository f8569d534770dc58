"""A link of a chain of services: it passes each request on to the upstream "next", and waits for it."""

from typing import Annotated

from fastapi import Depends, FastAPI, Response

from resilient_http import AsyncClient, Client
from resilient_http_fastapi import ResilientHttpMiddleware, get_client, get_sync_client

app = FastAPI()
app.add_middleware(ResilientHttpMiddleware)


@app.get("/async")
async def pass_on(client: Annotated[AsyncClient, Depends(get_client)]) -> Response:
    return Response(status_code=(await client.get("http://next/async")).status_code)


@app.get("/sync")
def pass_on_in_thread(client: Annotated[Client, Depends(get_sync_client)]) -> Response:
    return Response(status_code=client.get("http://next/sync").status_code)
