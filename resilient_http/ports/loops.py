"""Loops: connections of an event loop are closed when that loop ends, whoever runs it.

Nothing tells a library that a loop ends. But asyncio (asyncio.run, uvicorn, asgiref) and trio finalize the asynchronous
generators that are left then. So for each loop one generator waits for just that. It matters most where loops are many:
Django runs an async view under WSGI in a loop of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any
from weakref import WeakSet

from resilient_http.engines.loop import has_ended, running_loop
from resilient_http.engines.pool import EnginePool

_waiting: dict[Any, tuple[AsyncGenerator[None, None], WeakSet[EnginePool]]] = {}


async def close_with_loop(pool: EnginePool) -> None:
    """Have the engines of `pool` closed when the running loop ends. Never suspends."""
    pool.closes_with_loop = True
    loop = running_loop()
    if loop not in _waiting:
        for ended in filter(has_ended, list(_waiting)):
            _waiting.pop(ended, None)
        pools: WeakSet[EnginePool] = WeakSet()
        generator = _until_end(loop, pools)
        _waiting[loop] = generator, pools
        await anext(generator)
    _waiting[loop][1].add(pool)


async def _until_end(loop: Any, pools: WeakSet[EnginePool]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        _waiting.pop(loop, None)
        for pool in list(pools):
            for engine in pool.take_all():
                await engine.aclose()
