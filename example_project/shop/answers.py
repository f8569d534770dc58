"""What the shop answers; alike for both clients."""

from __future__ import annotations

import httpx
from django.http import JsonResponse

from resilient_http import ResilienceError, journal_of


def receipt(order: int, quote: httpx.Response) -> JsonResponse:
    journal = journal_of(quote)
    called = {} if journal is None else {"shop called": str(journal)}
    return JsonResponse({"order": order, **quote.json(), **called})


def apology(exc: httpx.HTTPError) -> JsonResponse:
    if isinstance(exc, ResilienceError):
        raise exc  # too late, or not sent: the middleware answers that
    status = 504 if isinstance(exc, httpx.TimeoutException) else 502
    content = {"error": f"{type(exc).__name__}: {exc}"}
    if (journal := journal_of(exc)) is not None:
        content["shop called"] = str(journal)
    if isinstance(exc, httpx.HTTPStatusError):
        content["pricing answered"] = exc.response.text
    return JsonResponse(content, status=status)
