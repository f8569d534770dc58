"""Outbox: what the inbound caller is told, and the answer to an exception of ours that nobody has caught."""

from __future__ import annotations

import logging
import sys
from http import HTTPStatus

from starlette.types import Message, Send
from starlette.types import Scope as ASGIScope

from resilient_http import Arrival, answer_to
from resilient_http_fastapi.state import header_of

logger = logging.getLogger("resilient_http.fastapi")


class Outbox:
    """Stands between the application and the server, for one request.

    Args:
        send: The server's.
        arrival: The request; it is answered when its response has ended.
    """

    __slots__ = ("_arrival", "_failure", "_held", "_send", "_started")

    def __init__(self, send: Send, arrival: Arrival) -> None:
        self._send = send
        self._arrival = arrival
        self._started = False
        self._failure: BaseException | None = None
        self._held: list[Message] = []

    async def send(self, message: Message) -> None:
        """Send a message of the response; what the application calls."""
        if self._is_of_a_failure(message):
            self._held.append(message)
            return
        await self.release()
        await self._pass_on(message)

    def _is_of_a_failure(self, message: Message) -> bool:
        """Whether it belongs to a 500 that is made of an exception of ours.

        A mounted app makes one, and raises the exception all the same: then ours is the better answer. One that handles
        the exception itself does not raise it.
        """
        if message["type"] == "http.response.start" and message["status"] == HTTPStatus.INTERNAL_SERVER_ERROR:
            error = sys.exception()
            self._failure = error if error is not None and answer_to(error) is not None else None
        return self._failure is not None and not self._started and not message.get("more_body", False)

    async def release(self) -> None:
        """Send what was held back."""
        self._failure = None
        held, self._held = self._held, []
        for message in held:
            await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._started = True
        if kind != "http.response.body" or message.get("more_body", False):
            await self._send(message)
            return
        # With its last piece the server begins to say that the caller has gone, which would cancel background tasks.
        if self._arrival.scope.cancellation is not None:
            self._arrival.scope.cancellation.lift()
        await self._send(message)
        self._arrival.answered()

    async def answer(self, scope: ASGIScope, error: Exception) -> bool:
        """Answer an exception of ours that has left the application. False when it is not ours to answer."""
        answer = answer_to(error, accept=header_of(scope)("accept"), details=getattr(scope.get("app"), "debug", False))
        if answer is None or (self._started and not self._is_gone):
            return False
        self._held.clear()
        answer.log(logger, scope["method"], scope["path"])
        if not self._started:
            headers = [(name.encode(), value.encode()) for name, value in answer.headers]
            await self._pass_on({"type": "http.response.start", "status": answer.status, "headers": headers})
            await self._pass_on({"type": "http.response.body", "body": answer.body})
        return True

    @property
    def _is_gone(self) -> bool:
        """Whether nobody is there who could be told that the response is not complete."""
        cancellation = self._arrival.scope.cancellation
        return cancellation is not None and cancellation.requested


def has_handler(scope: ASGIScope) -> bool:
    """Whether the application answers by itself whatever has not been caught."""
    handlers = getattr(scope.get("app"), "exception_handlers", {})
    return Exception in handlers or 500 in handlers
