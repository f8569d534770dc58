"""Pace: calls at a constant rate, whether or not those before them were answered, and what reached the nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from harness.servers import ask


async def paced(call: Callable[[int], Awaitable[object]], keys: Sequence[int], rate: float) -> float:
    """Make the calls at that rate, and wait for the last one; gives by how much one was made too late."""
    began, late = time.monotonic(), 0.0
    async with asyncio.TaskGroup() as tasks:
        for number, key in enumerate(keys):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            late = max(late, time.monotonic() - due)
            tasks.create_task(_made(call, key))
    return late


async def _made(call: Callable[[int], Awaitable[object]], key: int) -> None:
    await call(key)


def requests_at(urls: Sequence[str]) -> int:
    """How many requests have reached these nodes."""
    return sum(ask(f"{url}/_account")["requests"] for url in urls)
