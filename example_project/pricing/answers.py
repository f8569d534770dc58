"""What the pricing service answers when the payments upstream does not; alike for both clients."""

from __future__ import annotations

import httpx
from fastapi.responses import JSONResponse


def apology(exc: httpx.HTTPError) -> JSONResponse:
    status = 504 if isinstance(exc, httpx.TimeoutException) else 502
    content = {"error": f"{type(exc).__name__}: {exc}"}
    answer = exc.response if isinstance(exc, httpx.HTTPStatusError) else None
    journal = getattr(exc, "journal", None) if answer is None else answer.extensions.get("resilient_http")
    if journal is not None:
        content["pricing called"] = str(journal)
    return JSONResponse(content, status_code=status)
