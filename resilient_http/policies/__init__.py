"""Policies: one layer of behaviour each, `async def` once for sync, async and simulation.

A policy of the call ring is called with `(call, proceed)`, one of the attempt ring with `(attempt, proceed)`. It awaits
nothing but `proceed(...)` and its port, and never imports another policy. `pipeline.py` orders them.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from resilient_http.call import Attempt, Call

CallProceed = Callable[[Call], Awaitable[Any]]
CallPolicy = Callable[[Call, CallProceed], Awaitable[Any]]
AttemptProceed = Callable[[Attempt], Awaitable[Any]]
AttemptPolicy = Callable[[Attempt, AttemptProceed], Awaitable[Any]]
