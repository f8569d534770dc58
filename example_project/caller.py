"""Caller: a user of the shop, who waits only so long.

It speaks HTTP/1.0 over a plain socket, a connection for each request, so that neither httpx nor the library has a part
in what is measured.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

LONGEST = 15.0
"""Seconds after which an answer is not waited for any more. Callers wait past their deadline, to measure by how much it
was overrun."""

DEADLINE_HEADER = "x-envoy-expected-rq-timeout-ms"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a user, and what came of it.

    Attributes:
        order: Its number; unique.
        act: The act of the story that it fell into.
        sent: When, in monotonic seconds.
        took: Seconds from then to the end of the answer.
        deadline: Seconds that the caller has; he says so in a header.
        status: 200 when all went well; 0 when there was no answer.
    """

    order: int
    act: str
    sent: float
    took: float
    deadline: float
    status: int

    @property
    def ok(self) -> bool:
        """Whether it was answered, and in time."""
        return self.status == 200 and self.took <= self.deadline

    @property
    def overrun(self) -> float:
        """Seconds that the answer came too late."""
        return max(0.0, self.took - self.deadline)


async def visit(url: str, order: int, act: str, deadline: float) -> Visit:
    """Send one request, and wait for the answer however long it takes."""
    sent = time.monotonic()
    try:
        status, _ = await fetch(url, {DEADLINE_HEADER: f"{deadline * 1000:.0f}"})
    except OSError:
        status = 0
    return Visit(order, act, sent, time.monotonic() - sent, deadline, status)


async def fetch(url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """GET: the status and the body.

    Raises:
        OSError: No answer (also within LONGEST), or a broken one.
    """
    parts = urlsplit(url)
    fields = {"Host": parts.netloc, **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    async with asyncio.timeout(LONGEST):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(f"GET {parts.path} HTTP/1.0\r\n{head}\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
    status_line, _, rest = answer.partition(b"\r\n")
    version, _, status = status_line[:12].partition(b" ")
    if not version.startswith(b"HTTP/1.") or not status.isdigit():
        message = f"not the status line of an answer: {status_line[:40]!r}"
        raise ConnectionResetError(message)
    return int(status), rest.partition(b"\r\n\r\n")[2]
