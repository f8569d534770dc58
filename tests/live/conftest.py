"""The ways to call that live tests go through."""

from __future__ import annotations

import pytest

from tests.live.callers import Caller

WAYS = [(kind, backend) for kind in ("sync", "asyncio", "trio") for backend in ("httpx", "httpx2")]


@pytest.fixture(params=WAYS, ids="-".join)
def caller(request) -> Caller:
    """Sync and async (asyncio, trio), httpx and httpx2."""
    return Caller(*request.param)
