"""The checkout, with resilient_http. bare.py is the same with httpx alone."""

from __future__ import annotations

import httpx
from django.http import HttpRequest, JsonResponse

from example_project.shop.answers import apology, receipt
from resilient_http_django import get_async_client, get_client, get_resilience


def checkout(request: HttpRequest, order: int) -> JsonResponse:
    try:
        quote = get_client(request).get(f"http://pricing/quote/{order}").raise_for_status()
    except httpx.HTTPError as exc:
        return apology(exc)
    return receipt(order, quote)


async def checkout_async(request: HttpRequest, order: int) -> JsonResponse:
    try:
        quote = (await get_async_client(request).get(f"http://pricing/quote/{order}")).raise_for_status()
    except httpx.HTTPError as exc:
        return apology(exc)
    return receipt(order, quote)


def status(request: HttpRequest) -> JsonResponse:
    return JsonResponse(get_resilience().status())
