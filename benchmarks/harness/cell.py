"""Cell: one contender at one concurrency, in a process of its own that ends when the figures are there.

    python -m harness.cell '{"kind": "tasks", "contender": "httpx", "workers": 50, "origin": "http://...", ...}'

Each worker makes one call after the other. Calls are counted in a window of time in which all of them are under way; it
begins when each worker has had its first answer, so that the connections are there, or after `patience`. Where too few
calls end in the window, it is prolonged, up to four times.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.contenders import IN_TASKS, IN_THREADS, OF_THE_USERS, AsyncCall, Contender, SyncCall, Target

LOOK = 0.05
ENOUGH, MOST_WINDOWS = 100, 4


@dataclass
class Count:
    """What the workers have done. A worker counts in slots of its own, so threads need no lock."""

    workers: int
    done: list[int] = field(init=False)
    failed: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.done, self.failed = [0] * self.workers, [0] * self.workers

    @property
    def all_began(self) -> bool:
        return all(self.done)


@dataclass(frozen=True)
class Window:
    """When it begins and ends, decided from looks that come when the machine lets them."""

    count: Count
    seconds: float
    patience: float

    def looks(self) -> Any:
        """A generator: asks for each further look by yielding, and returns the figures."""
        until = time.monotonic() + self.patience
        while not self.count.all_began and time.monotonic() < until:
            yield
        steady = self.count.all_began
        began, done, cpu = time.monotonic(), sum(self.count.done), time.process_time()
        while True:
            passed, more = time.monotonic() - began, sum(self.count.done) - done
            if passed >= self.seconds and (more >= ENOUGH or passed >= MOST_WINDOWS * self.seconds):
                break
            yield
        spent = time.process_time() - cpu
        return {
            "rate": more / passed,
            "cpu_ms": spent / more * 1000 if more else None,
            "calls": more,
            "failed": sum(self.count.failed),
            "steady": steady,
        }


async def in_tasks(call: AsyncCall, window: Window) -> dict[str, Any]:
    async def work(number: int) -> None:
        while True:
            try:
                good = await call() == 200
            except Exception:  # noqa: BLE001 - whatever kind it is, it is counted
                good = False
            (window.count.done if good else window.count.failed)[number] += 1

    tasks = [asyncio.create_task(work(number)) for number in range(window.count.workers)]
    looks = window.looks()
    while True:
        try:
            next(looks)
        except StopIteration as end:
            # Kept alive until here: the loop holds tasks weakly.
            return {**end.value, "workers": len(tasks)}
        await asyncio.sleep(LOOK)


def in_threads(call: SyncCall, window: Window) -> dict[str, Any]:
    def work(number: int) -> None:
        while True:
            try:
                good = call() == 200
            except Exception:  # noqa: BLE001 - whatever kind it is, it is counted
                good = False
            (window.count.done if good else window.count.failed)[number] += 1

    for number in range(window.count.workers):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    looks = window.looks()
    while True:
        try:
            next(looks)
        except StopIteration as end:
            return {**end.value, "workers": window.count.workers}
        time.sleep(LOOK)


async def run_tasks(open_: Callable[[Target], Any], target: Target, window: Window) -> None:
    async with open_(target) as call:
        _say(await in_tasks(call, window))


def main() -> None:
    what = json.loads(sys.argv[1])
    target = Target(what["origin"], connections=what["workers"])
    window = Window(Count(what["workers"]), what["seconds"], what["patience"])
    if what["kind"] == "tasks":
        contender = (IN_TASKS | OF_THE_USERS)[what["contender"]]
        with asyncio.Runner(loop_factory=loop_of(contender)) as runner:
            runner.run(run_tasks(contender.open, target, window))
    else:
        with contextlib.ExitStack() as stack:
            _say(in_threads(stack.enter_context(IN_THREADS[what["contender"]].open(target)), window))


def loop_of(contender: Contender) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if not contender.uvloop:
        return None
    import uvloop

    return uvloop.new_event_loop


def _say(figures: dict[str, Any]) -> None:
    print(json.dumps(figures), flush=True)
    # Here, and now: closing a thousand connections is not what is measured, and takes some contenders very long.
    os._exit(0)


if __name__ == "__main__":
    main()
