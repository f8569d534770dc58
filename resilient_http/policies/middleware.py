"""Middleware: a layer of the user's, in either ring.

It is `async def (call, proceed)` or `async def (attempt, proceed)`, and gives a response: what `proceed` gave, or
another. With an async client it may await anything, and is cut when the deadline passes; with a sync one only `proceed`
and the port. What it raises is no failure of the upstream's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from resilient_http.call import Attempt, Call
from resilient_http.policies import AttemptProceed, CallProceed
from resilient_http.state.stored_response import has_credentials

GRACE = 0.02  # seconds: waits of the engine's end by themselves first, and are judged; this cuts what else is awaited

Middleware = Callable[[Any, Any], Coroutine[Any, Any, Any]]


class CallMiddlewarePolicy:
    """Around a call, repeats included.

    Args:
        middleware: The user's.
        total: Seconds from the call's start, or None: it is inside that deadline, whoever applies it first.
    """

    def __init__(self, middleware: Middleware, total: float | None) -> None:
        self._middleware = middleware
        self._total = total

    async def __call__(self, call: Call, proceed: CallProceed) -> Any:
        """What the middleware gives."""
        if self._total is not None:
            call.bound(call.started + self._total, self._total)
        step = _Step(call, proceed)
        return await step.through(self._middleware(call, step))

    def __str__(self) -> str:
        return f"middleware {name_of(self._middleware)}"


class AttemptMiddlewarePolicy:
    """Around each attempt: endpoint and headers are known, and nothing is sent yet.

    Args:
        middleware: The user's.
    """

    def __init__(self, middleware: Middleware) -> None:
        self._middleware = middleware

    async def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Any:
        """What the middleware gives."""

        async def onward(passed: Attempt) -> Any:
            names = [name.lower() for name, _ in passed.headers]
            if "host" in names or has_credentials(names):
                passed.call.signed = True
            return await proceed(passed)

        step = _Step(attempt.call, onward)
        return await step.through(self._middleware(attempt, step))

    def __str__(self) -> str:
        return f"middleware {name_of(self._middleware)}"


class _Step:
    """The `proceed` that middleware gets. Knows what it gave, so that a response which is not returned is freed."""

    __slots__ = ("_call", "_given", "_proceed")

    def __init__(self, call: Call, proceed: Callable[[Any], Any]) -> None:
        self._call = call
        self._proceed = proceed
        self._given: Any = None

    async def __call__(self, passed: Any) -> Any:
        """Go on to the next layer."""
        await self._free()
        self._given = given = await self._proceed(passed)
        return given

    async def through(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What the middleware gives, by the call's deadline where it can be cut."""
        call, port = self._call, self._call.port
        try:
            if call.expires == math.inf and port.is_async:
                answer = await work
            else:
                answer = await port.bounded(call.expires - port.now() + GRACE, work, call.exceeded)
        except BaseException:
            await self._free()
            raise
        if answer is None or answer is not self._given:
            await self._free()
            if not hasattr(answer, "status_code"):
                message = f"middleware gives a response, as proceed() did, not {type(answer).__name__}"
                raise TypeError(message)
        return answer

    async def _free(self) -> None:
        given, self._given = self._given, None
        if given is not None:
            await self._call.port.discard(given)


def name_of(middleware: Any) -> str:
    """How a person knows it: its dotted path, or that of its class."""
    while isinstance(middleware, partial):
        middleware = middleware.func
    named = middleware if hasattr(middleware, "__qualname__") else type(middleware)
    return f"{named.__module__}.{named.__qualname__}"
