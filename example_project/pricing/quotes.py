"""The quote, with resilient_http. bare.py is the same with httpx alone."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from example_project.pricing.answers import apology
from resilient_http import AsyncClient
from resilient_http_fastapi import get_client

router = APIRouter()
ClientDep = Annotated[AsyncClient, Depends(get_client)]


@router.get("/quote/{order}", response_model=None)
async def quote(order: int, client: ClientDep) -> dict[str, Any] | JSONResponse:
    try:
        fee = (await client.get(f"http://payments/fees/{order}")).raise_for_status()
    except httpx.HTTPError as exc:
        return apology(exc)
    return {"price": "19.90", **fee.json(), "pricing called": str(fee.extensions["resilient_http"])}
