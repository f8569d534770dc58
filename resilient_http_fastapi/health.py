"""Health: a route that says how the upstreams are doing.

app.add_api_route("/health", health_route(required=["payments"]))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated

from fastapi import Depends
from fastapi.responses import JSONResponse

from resilient_http import Resilience
from resilient_http_fastapi.dependencies import get_resilience


def health_route(
    *, required: Iterable[str] = (), details: bool = False
) -> Callable[[Resilience], Awaitable[JSONResponse]]:
    """An endpoint for `app.add_api_route("/health", ...)`: "ok", "degraded" or "down", for each upstream and in all.

    It asks nobody: it looks at what calls have met with. It answers 200, also when the service is degraded, and 503
    when an upstream that is required is down.

    Args:
        required: Names of upstreams without which the service is down. By default there is none, so that an open
            circuit does not take the service out of its load balancer.
        details: Whether the addresses of endpoints are told. Not for a route that anybody can reach.

    Raises:
        SettingsError: (at the first request) `required` names what is not in the settings.
    """
    needed = required if isinstance(required, str) else tuple(required)

    async def health(resilience: Annotated[Resilience, Depends(get_resilience)]) -> JSONResponse:
        report = resilience.health(required=needed)
        return JSONResponse(report.as_dict(details=details), report.status_code, {"cache-control": "no-store"})

    return health
