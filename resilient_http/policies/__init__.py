"""Policies: one layer of behaviour each, `async def` once for sync, async and simulation.

A policy of the call ring is called with `(call, proceed)`, one of the attempt ring with `(attempt, proceed)`. It awaits
nothing but `proceed(...)` and its port, and never imports another policy. One that has nothing to do afterwards need
be no coroutine: it gives what `proceed(...)` gives. `pipeline.py` orders them.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from resilient_http.call import Attempt, Call
from resilient_http.errors import because

CallProceed = Callable[[Call], Awaitable[Any]]
AttemptProceed = Callable[[Attempt], Awaitable[Any]]


def said_by(function: Callable[..., Any], *what: Any) -> Any:
    """What a function of the user's says.

    Raises:
        RuntimeError: It let a StopIteration out, which would end the coroutine that asks it, with no word of it.
    """
    try:
        return function(*what)
    except StopIteration as exc:
        name = getattr(function, "__qualname__", function)
        raise because(RuntimeError(f"{name} raised StopIteration"), exc) from exc


class CallPolicy(Protocol):
    """A layer around a call."""

    def __call__(self, call: Call, proceed: CallProceed, /) -> Awaitable[Any]:
        """What the call ends with."""


class AttemptPolicy(Protocol):
    """A layer around each attempt."""

    def __call__(self, attempt: Attempt, proceed: AttemptProceed, /) -> Awaitable[Any]:
        """What the attempt ends with."""
