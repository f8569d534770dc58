"""Web: what the adapters answer for the console, without a framework: each gives a Reply.

    GET  .                  the page
    GET  snapshot.json      how everything stands           ?process=ID
    GET  settings.json      the settings in force           ?upstream=NAME
    GET  events             the same as it changes, as server-sent events
    POST actions            throw a kill switch, or lift some; JSON

Whoever asks has been let in by the adapter: by its framework's means, or because `admits()` says so.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from resilient_http.console.actions import ActionRefused
from resilient_http.console.changes import changed
from resilient_http.console.console import ALL, Console
from resilient_http.console.page import page, policy

NOT_STORED = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
JSON = {"Content-Type": "application/json", **NOT_STORED}
EVENTS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", **NOT_STORED}

Done = TypeVar("Done")

LARGEST = 10_000  # bytes of an action
STREAMS = 20  # at once, in a process; more are answered with one event each
BEAT = 1.0  # seconds between two events
LASTS = 10.0  # seconds of a stream: a server that is to end waits for no longer
AGAIN = 1.0  # seconds after which a browser asks for the next stream
LATER = 3.0  # and where there is one event in each


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered.

    Attributes:
        status: Of HTTP.
        body: All of it.
        headers: With the type of the body.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Web:
    """A console, as it is asked over HTTP. Thread-safe.

    Args:
        console: The console.

    Attributes:
        stream_headers: Those of events().
    """

    stream_headers: Mapping[str, str] = EVENTS

    def __init__(self, console: Console) -> None:
        self._console = console
        self._streams = 0

    def page(self, *, csrf: str = "", acts: bool = True) -> Reply:
        """The page.

        Args:
            csrf: What it is to send as X-CSRFToken; "" for nothing.
            acts: Whether who looks may act.
        """
        text = page(csrf=csrf, acts=acts and self._console.settings.actions)
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy(), **NOT_STORED}
        return Reply(200, text.encode(), {**headers, "X-Frame-Options": "DENY"})

    def error(self, status: int, message: str) -> Reply:
        """Why somebody is not let in."""
        return error(status, message)

    def snapshot(self, process: str | None = None) -> Reply:
        """How everything stands."""
        try:
            return told(200, self._console.snapshot(process or ALL))
        except KeyError as exc:
            return error(404, str(exc.args[0]))

    def settings(self, upstream: str | None = None) -> Reply:
        """The settings in force."""
        try:
            return told(200, {"upstream": upstream, "settings": self._console.explained(upstream or None)})
        except KeyError as exc:
            return error(404, str(exc.args[0]))

    def act(self, body: bytes, content_type: str | None, by: str) -> Reply:
        """Do what is asked for.

        Args:
            body: JSON; see actions.py.
            content_type: Of the request. Only JSON's is taken: a form of another site's cannot send it.
            by: Who asks; "" where the action is to say so.
        """
        if (content_type or "").partition(";")[0].strip().lower() != "application/json":
            return error(415, "the body of an action is JSON, with Content-Type: application/json")
        if len(body) > LARGEST:
            return error(413, f"an action has at most {LARGEST} bytes")
        try:
            action = json.loads(body)
        except (ValueError, RecursionError):
            return error(400, "the body is no JSON")
        try:
            return told(200, self._console.act(action, by))
        except ActionRefused as exc:
            return error(400, str(exc))

    def one_event(self, process: str | None = None) -> Reply:
        """A stream of one event, for servers that a longer one would take a worker from: the browser asks again."""
        try:
            snapshot = self._console.snapshot(process or ALL)
        except KeyError as exc:
            return Reply(200, _event("gone", {"error": str(exc.args[0])}, LATER), EVENTS)
        return Reply(200, _event("snapshot", snapshot, LATER), EVENTS)

    async def aside(self, work: Callable[..., Done], *arguments: Any) -> Done:
        """Have one of the above done beside an event loop."""
        return await aside(work, *arguments)

    async def events(self, process: str | None = None) -> AsyncIterator[bytes]:
        """A stream: how everything stands, then each second what has changed. Browsers ask again at its end.

        Where there are too many already, it is one event.
        """
        if self._streams >= STREAMS:
            yield (await aside(self.one_event, process)).body
            return
        self._streams += 1
        try:
            async with aclosing(self._events(process or ALL)) as events:
                async for event in events:
                    yield event
        finally:
            self._streams -= 1

    async def _events(self, process: str) -> AsyncGenerator[bytes, None]:
        before: dict[str, Any] | None = None
        ends = anyio.current_time() + LASTS
        while anyio.current_time() < ends:
            event, before = await aside(self._next_event, process, before)
            yield event
            if before is None:
                return
            await anyio.sleep(BEAT)

    def _next_event(self, process: str, before: dict[str, Any] | None) -> tuple[bytes, dict[str, Any] | None]:
        """It, and the snapshot that it brings a page to; None where there is none any more."""
        try:
            now = self._console.snapshot(process)
        except KeyError as exc:
            return _event("gone", {"error": str(exc.args[0])}, LATER), None
        if before is None:
            return _event("snapshot", now, AGAIN), now
        return _event("change", changed(before, now)), now


async def aside(work: Callable[..., Done], *arguments: Any) -> Done:
    """Have it done in a thread: hundreds of upstreams take longer than an event loop may stand still.

    The thread is none of those that the service's own endpoints may all be using, when the page is needed most.
    """
    return await anyio.to_thread.run_sync(partial(work, *arguments), limiter=anyio.CapacityLimiter(1))


def told(status: int, what: Any) -> Reply:
    """A reply in JSON."""
    return Reply(status, json.dumps(what, separators=(",", ":")).encode(), JSON)


def error(status: int, message: str) -> Reply:
    """A reply that says what is wrong."""
    more = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return Reply(status, json.dumps({"error": message}).encode(), {**JSON, **more})


def _event(kind: str, what: Any, again: float | None = None) -> bytes:
    retry = "" if again is None else f"retry: {round(again * 1000)}\n"
    # JSON in ASCII has no line breaks in it, so one line of data is enough.
    return f"{retry}event: {kind}\ndata: {json.dumps(what, separators=(',', ':'))}\n\n".encode()
