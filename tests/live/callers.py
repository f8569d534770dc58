"""One test body for sync and async, for httpx and httpx2.

A body is written once, as `async def body(client)`. In sync code its client's methods never suspend, so it is driven by
a single step, as the library drives its own policies.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
import trio

from resilient_http import Resilience
from resilient_http.ports.sync import drive

# For the event loop that services choose; it is no dependency of the tests.
UVLOOP = {"use_uvloop": os.environ.get("TESTS_LOOP") == "uvloop"}


class SyncSteps:
    """A sync client whose methods can be awaited."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def request(self, method: str, url: str, **options: Any) -> Any:
        return self.client.request(method, url, **options)

    async def get(self, url: str, **options: Any) -> Any:
        return self.client.get(url, **options)

    async def post(self, url: str, **options: Any) -> Any:
        return self.client.post(url, **options)

    async def stream(self, method: str, url: str, **options: Any) -> tuple[Any, bytes]:
        """The response, and its whole body, streamed."""
        with self.client.stream(method, url, **options) as response:
            return response, b"".join(response.iter_bytes())

    async def open_stream(self, url: str) -> Any:
        """A streamed response that the test closes."""
        return self.client.send(self.client.build_request("GET", url), stream=True)

    async def read(self, response: Any) -> bytes:
        """The rest of a streamed response."""
        return response.read()

    async def close_stream(self, response: Any) -> None:
        response.close()


class AsyncSteps:
    """An async client with the same methods."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def request(self, method: str, url: str, **options: Any) -> Any:
        return await self.client.request(method, url, **options)

    async def get(self, url: str, **options: Any) -> Any:
        return await self.client.get(url, **options)

    async def post(self, url: str, **options: Any) -> Any:
        return await self.client.post(url, **options)

    async def stream(self, method: str, url: str, **options: Any) -> tuple[Any, bytes]:
        async with self.client.stream(method, url, **options) as response:
            return response, b"".join([chunk async for chunk in response.aiter_bytes()])

    async def open_stream(self, url: str) -> Any:
        return await self.client.send(self.client.build_request("GET", url), stream=True)

    async def read(self, response: Any) -> bytes:
        return await response.aread()

    async def close_stream(self, response: Any) -> None:
        await response.aclose()


def count_tasks() -> int:
    """How many tasks live in the loop that runs this; in sync code none does."""
    with suppress(RuntimeError):
        return len(asyncio.all_tasks())
    with suppress(RuntimeError):
        return trio.lowlevel.current_statistics().tasks_living
    return 0


@dataclass(frozen=True)
class Caller:
    """How a test calls: "sync", "asyncio" or "trio", over "httpx" or "httpx2", with engine "default" or "aiohttp"."""

    kind: str
    backend: str
    engine: str = "default"

    def __str__(self) -> str:
        return "-".join(
            (self.kind, self.backend) if self.engine == "default" else (self.kind, self.backend, self.engine)
        )

    @property
    def module(self) -> Any:
        """The package: httpx, or httpx2."""
        return importlib.import_module(self.backend)

    @property
    def errors(self) -> Any:
        """Where the exceptions over this backend come from."""
        return importlib.import_module("resilient_http" if self.backend == "httpx" else "resilient_http.httpx2")

    def resilience(self, settings: Any = None, **options: Any) -> Resilience:
        return Resilience({"backend": self.backend, "engine": self.engine, **(settings or {})}, **options)

    def run(self, resilience: Resilience, body: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
        """Run the body with a client of `resilience`, made with these options; close both afterwards."""
        if self.kind == "sync":
            with resilience, resilience.client(**options) as client:
                return drive(body(SyncSteps(client)))  # type: ignore[arg-type]

        async def in_loop() -> Any:
            async with resilience, resilience.async_client(**options) as client:
                return await body(AsyncSteps(client))

        return anyio.run(in_loop, backend=self.kind, backend_options=UVLOOP if self.kind == "asyncio" else {})
