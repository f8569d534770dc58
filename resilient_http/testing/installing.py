"""Installing: what a test puts in the place of the network and of the clock, and takes away again.

Within virtual_time() the modules of this library have the clock's `time` for Python's; no other module has.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from resilient_http import inbound, scope
from resilient_http.resilience import Resilience, each_resilience
from resilient_http.testing.arguments import check
from resilient_http.testing.clock import VirtualClock
from resilient_http.testing.ports import VirtualAsyncPort, VirtualSyncPort
from resilient_http.testing.script import ScriptedUpstream

OURS = ("resilient_http", "resilient_http_django", "resilient_http_fastapi")
LOADED = (inbound, scope)  # with what is imported above: there, to be given the clock

_clock: list[VirtualClock] = []  # those in force, the newest last


@contextlib.contextmanager
def virtual_time(*, seed: int = 0) -> Iterator[VirtualClock]:
    """Let the time of every Resilience pass without waiting, for a with block. See docs/testing.md for what waits on.

    Clients with a `transport=` of their own go by it when they were made within.

    Args:
        seed: Of what is drawn within: backoff, and which endpoint is chosen.
    """
    clock = VirtualClock()
    with contextlib.ExitStack() as undo:
        _clock.append(clock)
        undo.callback(_clock.remove, clock)
        for module in _modules():
            undo.callback(setattr, module, "time", module.time)
            module.time = _Time(clock)  # type: ignore[attr-defined]
        undo.enter_context(each_resilience(lambda own: _replace(own, undo, lambda port: _by(port, clock, seed))))
        yield clock


@contextlib.contextmanager
def scripted(
    upstream: ScriptedUpstream, own: Resilience | None = None, *, everywhere: bool = False, all_asked: bool = True
) -> Iterator[ScriptedUpstream]:
    """Have the calls of a Resilience answered by a script, for a with block; at its end it is verified.

    Args:
        upstream: The script.
        own: Whose calls; None for those of clients that have it as `transport=`.
        everywhere: All of the process, those that begin within too: for an app that makes its own when it is needed.
        all_asked: Whether it is wrong that an answer was never asked for.

    Raises:
        ValueError: `own` is no Resilience, or is given beside `everywhere`.
        AssertionError: At the end: something was asked that was not in the script, or not asked that was.
    """
    fits = own is None or isinstance(own, Resilience)
    check("scripted(own)", own, "a Resilience, or None for clients that have the script as transport=", fits=fits)
    both = own is not None and everywhere
    check("scripted(own)", own, "everywhere=True means every Resilience; give one of the two", fits=not both)
    with contextlib.ExitStack() as undo:
        upstream.by(lambda: _clock[-1] if _clock else None)
        if everywhere:
            undo.enter_context(each_resilience(lambda each: _replace(each, undo, lambda port: port.over(upstream))))
        elif own is not None:
            _replace(own, undo, lambda port: port.over(upstream))
        yield upstream
        upstream.verify(all_asked=all_asked)


def _replace(own: Resilience, undo: contextlib.ExitStack, other: Callable[[Any], Any]) -> None:
    for name in ("sync_port", "async_port"):
        port = getattr(own, name)
        undo.callback(setattr, own, name, port)
        setattr(own, name, other(port))


def _by(port: Any, clock: VirtualClock, seed: int) -> Any:
    other = (VirtualAsyncPort if port.is_async else VirtualSyncPort).like(port, clock)
    other.rng = random.Random(seed)
    return other


def _modules() -> list[ModuleType]:
    ours = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in OURS]
    own = (__name__, VirtualClock.__module__)
    return [module for module in ours if vars(module).get("time") is time and module.__name__ not in own]


class _Time:
    """Python's `time`, but that it is the clock's."""

    def __init__(self, clock: VirtualClock) -> None:
        self.monotonic = clock.now
        self.time = clock.wall_now
        self.sleep = clock.sleep

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)
