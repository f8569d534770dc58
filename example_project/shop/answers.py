"""What the shop answers; alike for both clients."""

from __future__ import annotations

import httpx
from django.http import JsonResponse


def receipt(order: int, quote: httpx.Response) -> JsonResponse:
    journal = quote.extensions.get("resilient_http")
    called = {} if journal is None else {"shop called": str(journal)}
    return JsonResponse({"order": order, **quote.json(), **called})


def apology(exc: httpx.HTTPError) -> JsonResponse:
    status = 504 if isinstance(exc, httpx.TimeoutException) else 502
    content = {"error": f"{type(exc).__name__}: {exc}"}
    answer = exc.response if isinstance(exc, httpx.HTTPStatusError) else None
    journal = getattr(exc, "journal", None) if answer is None else answer.extensions.get("resilient_http")
    if journal is not None:
        content["shop called"] = str(journal)
    if answer is not None:
        content["pricing answered"] = answer.text
    return JsonResponse(content, status=status)
