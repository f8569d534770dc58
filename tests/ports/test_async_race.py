"""The async race: both attempts may end before the loop comes to cancel one of them."""

from __future__ import annotations

import anyio
import httpx
import pytest

from resilient_http import Resilience


class Counted(httpx.AsyncByteStream):
    """A body that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def __aiter__(self):
        yield b"ok"

    async def aclose(self) -> None:
        self.closed = True


class Together(httpx.AsyncBaseTransport):
    """The first of two requests is answered in the same turn of the loop as the second."""

    def __init__(self) -> None:
        self.bodies: list[Counted] = []
        self._waiting: anyio.Event | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._waiting is None:
            self._waiting = anyio.Event()
            await self._waiting.wait()
        else:
            self._waiting.set()
            self._waiting = None
        self.bodies.append(Counted())
        return httpx.Response(200, stream=self.bodies[-1])


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_the_answer_that_came_too_late_is_closed(loop):
    settings = {"endpoints": ["http://n1", "http://n2"], "hedge": {"delay": 0.001}, "retry": {"budget": None}}
    resilience = Resilience({"upstreams": {"payments": settings}})
    transport = Together()

    async def main() -> None:
        async with resilience.async_client(transport=transport) as client:
            for _ in range(20):
                transport._waiting = None
                async with client.stream("GET", "http://payments/") as response:
                    assert await response.aread() == b"ok"

    anyio.run(main, backend=loop)
    assert len(transport.bodies) > 20
    assert all(body.closed for body in transport.bodies)
    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0
