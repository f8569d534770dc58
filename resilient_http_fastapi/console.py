"""Console: the live page, mounted into an app; see docs/live-page.md.

    dashboard(app, dependencies=[Depends(staff_only)])

Who gets in: whoever the dependencies let in; and who sends the token of the settings (`console.token`): of such a one
they are not asked. Without a dependency it is not mounted, but in an app with `debug=True`, and there it answers who is
on the same machine, and no proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.params import Depends as Dependency
from fastapi.responses import RedirectResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope as ASGIScope

from resilient_http_fastapi.routes import state_of
from resilient_http_fastapi.state import CONSOLE, KEY, RequestState, header_of

FORWARDED = (
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "cf-connecting-ip", "via",
)  # fmt: skip
NAMES = ("localhost", "127.0.0.1", "::1")

Who = Callable[[Request], str]


def dashboard(
    app: FastAPI, *, prefix: str = "/resilience", dependencies: Sequence[Dependency] = (), by: Who | None = None
) -> None:
    """Mount the live page at `prefix`; processes look at their calls from their start on.

    Args:
        app: With ResilientHttpMiddleware.
        prefix: Where: "/resilience".
        dependencies: They let somebody in, or raise: `[Depends(staff_only)]`. At least one is needed, unless the app
            was made with `debug=True`: then whoever is on the same machine gets in, and nobody through a proxy.
        by: Says of a request who throws a switch, for the log and the events. None for what `request.user` says, or the
            address.

    Raises:
        ValueError: There is no dependency, and the app is not in debug mode.
    """
    if not dependencies and not app.debug:
        message = (
            "dashboard() without a guard would let everybody in, who could then refuse all calls: give it one, "
            "dependencies=[Depends(staff_only)]; or FastAPI(debug=True), for your own machine alone"
        )
        raise ValueError(message)
    setattr(app.state, CONSOLE, True)
    guards = [*dependencies] or [Depends(on_this_machine)]
    who = by or _who
    app.include_router(_router(_TokenRoute, [], lambda _: ""), prefix=prefix, include_in_schema=False)
    app.include_router(_router(APIRoute, [*guards, Depends(same_origin)], who), prefix=prefix, include_in_schema=False)


async def on_this_machine(request: Request) -> None:
    """Lets in who is on the same machine and asks for it by that name: not another site that a browser has open.

    Raises:
        HTTPException: 403.
    """
    peer = request.client.host if request.client is not None else ""
    forwarded = next((name for name in FORWARDED if name in request.headers), None)
    if not _is_loopback(peer):
        raise HTTPException(403, "without a guard, the live page answers who is on the same machine alone")
    if forwarded is not None:
        raise HTTPException(403, f"without a guard, the live page answers nobody through a proxy ({forwarded})")
    if _split(f"//{request.headers.get('host', '')}").hostname not in NAMES:
        raise HTTPException(403, "without a guard, the live page is at http://localhost or http://127.0.0.1 alone")


async def same_origin(request: Request) -> None:
    """Refuses what a page of another site has a browser send.

    Raises:
        HTTPException: 403.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    foreign = origin is not None and _split(origin).netloc.lower() != request.headers.get("host", "").lower()
    if request.method != "GET" and (foreign or site not in ("same-origin", "none")):
        raise HTTPException(403, "an action is taken from the live page itself alone, not from another site's")


class _TokenRoute(APIRoute):
    """Is there for who sends the token of the settings; for others the next one is."""

    def matches(self, scope: ASGIScope) -> tuple[Match, ASGIScope]:
        state = scope.get(KEY)
        if isinstance(state, RequestState):
            authorization = header_of(scope)("authorization")
            if authorization is not None and state.resilience.console.admits(authorization):
                return super().matches(scope)
        return Match.NONE, {}


def _router(kind: type[APIRoute], dependencies: list[Dependency], who: Who) -> APIRouter:
    router = APIRouter(route_class=kind, dependencies=dependencies)

    @router.get("")
    async def to_the_page(request: Request) -> Response:
        return RedirectResponse(f"{request.url.path}/")

    @router.get("/")
    async def page(request: Request) -> Response:
        return _response(_web(request).page())

    @router.get("/snapshot.json")
    async def snapshot(request: Request, process: str | None = None) -> Response:
        web = _web(request)
        return _response(await web.aside(web.snapshot, process))

    @router.get("/settings.json")
    async def settings(request: Request, upstream: str | None = None) -> Response:
        web = _web(request)
        return _response(await web.aside(web.settings, upstream))

    @router.get("/events")
    async def events(request: Request, process: str | None = None) -> Response:
        web = _web(request)
        return StreamingResponse(web.events(process), headers=dict(web.stream_headers))

    @router.post("/actions")
    async def actions(request: Request) -> Response:
        web, body = _web(request), await request.body()
        return _response(await web.aside(web.act, body, request.headers.get("content-type"), who(request)))

    return router


def _web(request: Request) -> Any:
    return state_of(request).resilience.console.web


def _who(request: Request) -> str:
    user: Any = request.scope.get("user")
    name = getattr(user, "display_name", "") or getattr(user, "username", "")
    return str(name) or f"somebody at {request.client.host if request.client is not None else 'a socket'}"


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # "http://[": nobody's
        return urlsplit("")


def _is_loopback(peer: str) -> bool:
    try:
        return ip_address(peer).is_loopback
    except ValueError:
        return False


def _response(reply: Any) -> Response:
    return Response(reply.body, status_code=reply.status, headers=reply.headers)
