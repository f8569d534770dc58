"""Calls at a steady rate, by threads or by tasks, while the settings change again and again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from resilient_http import Resilience

KINDS = ("threads", "tasks")
WORKERS = 8
WARM_UP = 50  # reloads after which what is held is looked at for the first time


@dataclass
class Outcome:
    """What was seen.

    Attributes:
        quiet, busy: Seconds that each call took, before and during the reloads.
        failed: What calls failed with.
        reloads: Seconds that each reload took.
        open_circuit: Whether the circuit of the dead node is the one that it was, and as open.
        objects: Objects, and blocks of memory: after the first reloads, half way, and after all.
    """

    quiet: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    reloads: list[float] = field(default_factory=list)
    open_circuit: bool = False
    objects: list[tuple[int, int]] = field(default_factory=list)
    seconds: float = 0.0


def settings(url: str, dead: str, number: int) -> dict[str, Any]:
    """Settings that are others for each number, in numbers of every policy that has some, and that no call fails by."""
    odd = number % 2
    return {
        "upstreams": {
            "payments": {
                "endpoints": [{"url": url, "weight": 1 + odd}, dead],
                "timeout": {"total": 20.0 + number % 7, "attempt": 10.0},
                "retry": {"max_attempts": 3 + odd, "backoff": {"base": 0.01 + 0.001 * (number % 5)}},
                "circuit": {"open_for": 600.0, "max_open_for": 900.0, "window": 100 + number % 3},
                "concurrency": {"limit": 100 + number % 10},
                "rate_limit": {"rate": 100_000.0 + number} if odd else None,
                "hedge": {"delay": 5.0} if odd else None,
            },
            **({"search": {"endpoints": [url]}} if odd else {}),
        },
        "guards": {"db": {"timeout": {"total": 5.0 + number % 3}}},
    }


def reload_while_calling(
    kind: str, url: str, dead: str, *, rate: float, reloads: int, every: float, quiet: float = 1.0
) -> Outcome:
    """Make the calls, and the reloads.

    Args:
        kind: "threads" or "tasks".
        url: Of a node that answers.
        dead: Of a node that refuses connections.
        rate: Calls a second that are aimed at.
        reloads: How many.
        every: Seconds between two of them.
        quiet: Seconds of calls before the first.
    """
    outcome = Outcome()
    with Resilience(settings(url, dead, 0)) as resilience:
        _open_circuit(resilience, url, dead)
        circuit = resilience.circuits("payments")[dead]
        generation = circuit.generation
        beside = threading.Thread(target=lambda: _reload(resilience, url, dead, outcome, reloads, every, quiet))
        beside.start()
        began = time.monotonic()
        if kind == "threads":
            _in_threads(resilience, outcome, rate, beside.is_alive)
        else:
            asyncio.run(_in_tasks(resilience, outcome, rate, beside.is_alive))
        beside.join()
        outcome.seconds = time.monotonic() - began
        kept = resilience.circuits("payments")[dead]
        outcome.open_circuit = kept is circuit and kept.generation == generation and kept.current_state == "open"
    return outcome


def _open_circuit(resilience: Resilience, url: str, dead: str) -> None:
    """By calls that fail, while the dead node is the only one."""
    alone = settings(dead, dead, 0)
    alone["upstreams"]["payments"]["endpoints"] = [dead]
    resilience.reload(alone)
    with resilience.client() as client:
        while resilience.circuits("payments")[dead].closed:
            with contextlib.suppress(Exception):
                client.get("http://payments/")
    resilience.reload(settings(url, dead, 0))


def _reload(
    resilience: Resilience, url: str, dead: str, outcome: Outcome, reloads: int, every: float, quiet: float
) -> None:
    time.sleep(quiet)
    next_at = time.monotonic()
    for number in range(1, reloads + 1):
        began = time.perf_counter()
        resilience.reload(settings(url, dead, number), by="the test")
        outcome.reloads.append(time.perf_counter() - began)
        first = min(WARM_UP, reloads // 3)
        if number in (first, (first + reloads) // 2, reloads):
            gc.collect()
            outcome.objects.append((len(gc.get_objects()), sys.getallocatedblocks()))
        next_at += every
        time.sleep(max(0.0, next_at - time.monotonic()))


def _in_threads(resilience: Resilience, outcome: Outcome, rate: float, goes_on: Callable[[], bool]) -> None:
    def work() -> None:
        with resilience.client() as client:
            next_at = time.monotonic()
            while goes_on():
                began = time.perf_counter()
                try:
                    client.get("http://payments/").raise_for_status()
                except Exception as exc:  # noqa: BLE001 - whatever it is, it is told
                    outcome.failed.append(exc)
                _note(outcome, time.perf_counter() - began)
                next_at = max(next_at + WORKERS / rate, time.monotonic() - 0.5)
                time.sleep(max(0.0, next_at - time.monotonic()))

    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


async def _in_tasks(resilience: Resilience, outcome: Outcome, rate: float, goes_on: Callable[[], bool]) -> None:
    async def work(client: Any) -> None:
        next_at = time.monotonic()
        while goes_on():
            began = time.perf_counter()
            try:
                (await client.get("http://payments/")).raise_for_status()
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is told
                outcome.failed.append(exc)
            _note(outcome, time.perf_counter() - began)
            next_at = max(next_at + WORKERS / rate, time.monotonic() - 0.5)
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))

    async with resilience.async_client() as client:
        await asyncio.gather(*(work(client) for _ in range(WORKERS)))
        await resilience.aclose()


def _note(outcome: Outcome, took: float) -> None:
    (outcome.busy if outcome.reloads else outcome.quiet).append(took)
