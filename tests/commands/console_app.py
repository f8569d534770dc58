"""A service with a live page, for the commands that ask one: it calls "payments", whose node the environment names."""

import os
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException

from resilient_http import AsyncClient, Resilience
from resilient_http_fastapi import ResilientHttpMiddleware, dashboard, get_client, get_resilience


def nobody() -> None:
    raise HTTPException(401, "this page is for the token alone")


app = FastAPI()
app.add_middleware(
    ResilientHttpMiddleware,
    settings={
        "upstreams": {"payments": {"endpoints": [os.environ["NODE"]]}},
        "console": {"token": os.environ["TOKEN"]},
    },
)
dashboard(app, dependencies=[Depends(nobody)])


@app.get("/call")
async def call(client: Annotated[AsyncClient, Depends(get_client)]) -> int:
    try:
        return (await client.get("http://payments/")).status_code
    except httpx.HTTPError:
        return 0


@app.get("/switches")
def switches(resilience: Annotated[Resilience, Depends(get_resilience)]) -> list[str]:
    return [each["what"] for each in resilience.status()["upstreams"]["payments"]["switches"]]
