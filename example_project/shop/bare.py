"""The checkout, with httpx alone: clients of the module's own, and a timeout."""

from __future__ import annotations

import httpx
from django.conf import settings
from django.http import HttpRequest, JsonResponse

from example_project.shop.answers import apology, receipt

client = httpx.Client(base_url=settings.PRICING, timeout=settings.PATIENCE)
async_client = httpx.AsyncClient(base_url=settings.PRICING, timeout=settings.PATIENCE)


def checkout(request: HttpRequest, order: int) -> JsonResponse:
    try:
        quote = client.get(f"/quote/{order}").raise_for_status()
    except httpx.HTTPError as exc:
        return apology(exc)
    return receipt(order, quote)


async def checkout_async(request: HttpRequest, order: int) -> JsonResponse:
    try:
        quote = (await async_client.get(f"/quote/{order}")).raise_for_status()
    except httpx.HTTPError as exc:
        return apology(exc)
    return receipt(order, quote)


def status(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})
