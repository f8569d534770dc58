"""The ways to call that live tests go through."""

from __future__ import annotations

import pytest

from tests.live.callers import Caller

WAYS = [Caller(kind, backend) for kind in ("sync", "asyncio", "trio") for backend in ("httpx", "httpx2")]
AIOHTTP = [Caller("asyncio", backend, "aiohttp") for backend in ("httpx", "httpx2")]
# What bytes do on their way; what is decided above the engine is decided alike over each.
ON_AIOHTTP = (
    "cancellation", "chaos", "client", "connections", "deadline", "deadline_table", "health", "hedge", "logical_host",
    "retry", "stall", "streams", "wire",
)  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`caller`: sync and async (asyncio, trio), httpx and httpx2; and where it matters the engine aiohttp."""
    if "caller" in metafunc.fixturenames:
        subject = metafunc.module.__name__.rpartition("test_")[2]
        ways = AIOHTTP if subject == "aiohttp_engine" else [*WAYS, AIOHTTP[0]] if subject in ON_AIOHTTP else WAYS
        metafunc.parametrize("caller", ways, ids=str)
