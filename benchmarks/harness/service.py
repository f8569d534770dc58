"""Service: an ASGI service that makes one call with a contender for each request of its users.

It answers 200 when the call was answered so, and 502 when it was not, or raised. The contender, its kind and the target
are in the environment (SERVICE, as JSON).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harness.contenders import IN_TASKS, IN_THREADS, Target

THREADS = 200
WHAT = json.loads(os.environ["SERVICE"])


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    target = Target(**WHAT["target"])
    if WHAT["kind"] == "tasks":
        async with IN_TASKS[WHAT["contender"]].open(target) as call:
            yield {"call": call}
        return
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    with IN_THREADS[WHAT["contender"]].open(target) as call:
        yield {"call": functools.partial(to_thread.run_sync, call)}


async def handle(request: Request) -> Response:
    try:
        status = await request.state.call()
    except Exception:  # noqa: BLE001 - whatever it raises, its user sees a 502
        status = 502
    return Response(status_code=200 if status == 200 else 502)


app = Starlette(routes=[Route("/", handle)], lifespan=lifespan)
