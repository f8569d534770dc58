"""What the pricing service answers when the nodes have failed; alike for both clients."""

from __future__ import annotations

import httpx
from fastapi.responses import JSONResponse

from resilient_http import ResilienceError, journal_of

NOT_US = {"X-Dependency-Down": "1"}
"""Who trusts us neither repeats the request, as we have done that, nor holds the nodes' failures against us."""


def apology(exc: httpx.HTTPError) -> JSONResponse:
    if isinstance(exc, ResilienceError):
        raise exc  # too late, or not sent: the middleware answers that
    status = 504 if isinstance(exc, httpx.TimeoutException) else 502
    content = {"error": f"{type(exc).__name__}: {exc}"}
    if (journal := journal_of(exc)) is not None:
        content["pricing called"] = str(journal)
    return JSONResponse(content, status, NOT_US)
