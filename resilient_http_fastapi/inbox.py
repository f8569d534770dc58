"""Inbox: what the inbound caller sends, and word of its going away.

Laws
    1. One task at a time reads from the server, in order: whoever the application lets read, or the watcher.
    2. The watcher begins with the first outbound call. A request that makes none costs none.
    3. It reads ahead one piece of the body at most, so that a caller who uploads faster than the application reads is
       held back as ever. While such a piece waits to be read, the caller is not seen going away.
    4. What it read is handed on in order. A reader that is cancelled loses nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
from starlette.types import Message, Receive

from resilient_http import Cancellation

GONE = "http.disconnect"


class Inbox:
    """Stands between the server and the application, in the event loop of the request.

    Args:
        receive: The server's.

    Attributes:
        cancellation: Requested when the caller goes away.
    """

    __slots__ = ("_ahead", "_change", "_failure", "_gone", "_loop", "_read_from", "_reading", "_stop", "cancellation")

    def __init__(self, receive: Receive) -> None:
        self.cancellation = Cancellation(self._watch)
        self._read_from = receive
        self._loop = _running_loop()
        self._ahead: deque[Message] = deque()
        self._failure: BaseException | None = None
        self._reading = False
        self._gone = False
        self._change: anyio.Event | None = None
        self._stop: Callable[[], object] | None = None

    async def receive(self) -> Message:
        """The next message from the caller; what the application calls."""
        while not self._ahead:
            if self._failure is not None:
                raise self._failure
            if not self._reading:
                return await self._read()
            await self._until_changed()
        message = self._ahead.popleft()
        self._changed()
        return message

    def close(self) -> None:
        """The application has ended; so does the watcher."""
        if self._stop is not None:
            self._stop()
        self._stop = _nothing

    async def _read(self) -> Message:
        self._reading = True
        try:
            message = await self._read_from()
        finally:
            self._reading = False
            self._changed()
        if message["type"] == GONE:
            self._gone = True
            self.cancellation.request()
        return message

    async def _until_changed(self) -> None:
        """Wait until another task has read, or taken what was read ahead."""
        self._change = self._change or anyio.Event()
        await self._change.wait()

    def _changed(self) -> None:
        change, self._change = self._change, None
        if change is not None:
            change.set()

    def _watch(self) -> None:
        """Called by the first outbound call, in whatever thread it is made."""
        loop = self._loop
        soon = loop.call_soon_threadsafe if isinstance(loop, asyncio.AbstractEventLoop) else loop.run_sync_soon
        with suppress(RuntimeError):  # that loop has ended, and with it the request
            soon(self._begin)

    def _begin(self) -> None:
        if self._stop is None:
            self._stop = _spawn(self._loop, self._look_out)

    async def _look_out(self) -> None:
        try:
            while not self._gone:
                if self._reading or (self._ahead and self._ahead[-1].get("more_body", False)):
                    await self._until_changed()
                    continue
                message = await self._read()
                if message.get("body", b"") or not message.get("more_body", False):  # else it says nothing
                    self._ahead.append(message)
        except Exception as exc:  # noqa: BLE001 - the server's, whatever it is; the application gets it
            self._failure = exc
            self._changed()


def _nothing() -> None:
    """There is no watcher, and there will be none."""


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        # Only a server that runs trio has it imported.
        return sys.modules["trio"].lowlevel.current_trio_token()


def _spawn(loop: Any, work: Any) -> Callable[[], object]:
    """Run `work` beside the request. What is returned cancels it."""
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop.create_task(work()).cancel
    scope = anyio.CancelScope()

    async def cancellable() -> None:
        with scope:
            await work()

    sys.modules["trio"].lowlevel.spawn_system_task(cancellable)
    return scope.cancel
