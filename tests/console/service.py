"""A FastAPI service with the live page, in debug mode: for a real uvicorn, and a browser on the same machine."""

import os
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI

from resilient_http import AsyncClient
from resilient_http_fastapi import ResilientHttpMiddleware, dashboard, get_client

app = FastAPI(debug=True)
app.add_middleware(ResilientHttpMiddleware)
dashboard(app)


@app.get("/call/{upstream}")
async def call(upstream: str, client: Annotated[AsyncClient, Depends(get_client)]) -> dict[str, object]:
    """Calls an upstream."""
    try:
        answer = await client.get(f"http://{upstream}/orders?card=4111-secret")
    except httpx.HTTPError as exc:
        return {"error": type(exc).__name__, "pid": os.getpid()}
    return {"status": answer.status_code, "pid": os.getpid()}
