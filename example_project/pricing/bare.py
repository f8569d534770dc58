"""The quote, with httpx alone: nodes in turn, and a timeout."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from example_project.pricing.answers import apology
from example_project.pricing.settings import NODES, PATIENCE

router = APIRouter()
client = httpx.AsyncClient(timeout=PATIENCE)
nodes = itertools.cycle(NODES)


@router.get("/quote/{order}", response_model=None)
async def quote(order: int) -> dict[str, Any] | JSONResponse:
    try:
        fee = (await client.get(f"{next(nodes)}/fees/{order}")).raise_for_status()
    except httpx.HTTPError as exc:
        return apology(exc)
    return {"price": "19.90", **fee.json()}
