"""Nodes: they join and leave through a real etcd while calls are made, and no call fails.

The calls are made here, by an async client; the nodes are processes, and etcd is one too. A node is known by a key that
lives as long as its lease: who is killed lets it lapse.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from example_project.cluster import UVICORN, BrokenDownError
from example_project.registry import start_etcd
from example_project.screen import GREEN, RED, Screen
from example_project.service import Service
from resilient_http import Resilience
from resilient_http.events import Event
from tests.live.etcd import Etcd

PREFIX = "/demo/payments/"
LEASE = 2  # seconds
RATE = 100.0  # calls per second
KEPT, BROKEN = 0, 1


@dataclass
class Act:
    """What is done, and what callers saw until the next one.

    Attributes:
        told: What is done, for the terminal.
        began: Monotonic seconds.
        took: Seconds of each call.
        failed: Why calls failed.
        requests: That were sent for them.
        answered: How many calls each node answered.
    """

    told: str
    began: float = 0.0
    took: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    requests: int = 0
    answered: Counter[str] = field(default_factory=Counter)


class Nodes:
    """Nodes of payments, and the etcd that knows them.

    Attributes:
        found: Names of those that who calls has heard of.
    """

    def __init__(self, etcd: Etcd, directory: Path) -> None:
        self.etcd = etcd
        self.found: set[str] = set()
        self._directory = directory
        self._services: dict[int, Service] = {}
        self._leases: dict[int, str] = {}

    def url(self, number: int) -> str:
        return self._services[number].url

    def name_of(self, url: str) -> str:
        """What people call the node of a URL."""
        return next((f"node {number}" for number, service in self._services.items() if service.url == url), url)

    async def join(self, number: int) -> None:
        """Start a node, and have it known once it answers."""
        if number not in self._services:
            log = self._directory / f"node-{number}.log"
            argv = [*UVICORN, "example_project.node.app:app"]
            self._services[number] = Service(f"node {number}", argv, {"NODE_NAME": f"node {number}"}, log)
        service = self._services[number]
        service.start()
        await self._answers(service)
        self._leases[number] = await asyncio.to_thread(self.etcd.lease, LEASE)
        known = {"url": service.url}
        await asyncio.to_thread(self.etcd.put, f"{PREFIX}{number}", known, self._leases[number])

    async def is_found(self, number: int) -> None:
        """Wait until who calls has heard of it, for ten seconds at most."""
        until = time.monotonic() + 10.0
        while f"node {number}" not in self.found and time.monotonic() < until:  # noqa: ASYNC110 - a thread tells it
            await asyncio.sleep(0.05)

    async def leave(self, number: int) -> None:
        """As a node that is taken out for a new version: it says so first, and stops when nobody asks it any more."""
        self._leases.pop(number)
        await asyncio.to_thread(self.etcd.delete, f"{PREFIX}{number}")
        await asyncio.sleep(0.5)
        self._services[number].ask_to_stop()

    async def die(self, number: int) -> None:
        """SIGKILL. Its lease lapses."""
        self._leases.pop(number)
        self._services[number].kill()

    async def keep_leases(self) -> None:
        """Keep those alive that have not gone, for ever."""
        while True:
            for lease in list(self._leases.values()):
                with suppress(httpx.HTTPError):  # etcd may be away
                    await asyncio.to_thread(self.etcd.ask, "/lease/keepalive", {"ID": lease})
            await asyncio.sleep(LEASE / 4)

    def stop(self) -> None:
        for service in self._services.values():
            service.kill()

    async def _answers(self, service: Service) -> None:
        until = time.monotonic() + 20.0
        async with httpx.AsyncClient() as client:
            while service.running and time.monotonic() < until:
                with suppress(httpx.HTTPError):
                    await client.get(f"{service.url}/")
                    return
                await asyncio.sleep(0.05)
        message = f"{service.name} did not start; its log is {service.log}"
        raise BrokenDownError(message)


def acts(nodes: Nodes) -> list[tuple[Act, Callable[[], Awaitable[object]]]]:
    """The story."""

    async def both(one: Awaitable[object], other: Awaitable[object]) -> None:
        await asyncio.gather(one, other)

    async def etcd_dies() -> None:
        await asyncio.to_thread(nodes.etcd.kill)

    async def etcd_is_back() -> None:
        await asyncio.to_thread(nodes.etcd.start)
        await nodes.join(5)
        await nodes.is_found(5)  # the watch comes back when its back-off says so

    return [
        (Act("nodes 1 and 2 are there"), _nothing),
        (Act("node 3 joins"), lambda: nodes.join(3)),
        (Act("node 1 leaves"), lambda: nodes.leave(1)),
        (Act("node 2 is killed (SIGKILL)"), lambda: nodes.die(2)),
        (Act("nodes 2 and 4 join"), lambda: both(nodes.join(2), nodes.join(4))),
        (Act("etcd is killed (SIGKILL)"), etcd_dies),
        (Act("etcd is back, node 5 joins"), etcd_is_back),
    ]


async def _nothing() -> None:
    """As started."""


async def demonstrate_nodes(directory: Path, screen: Screen, *, quick: bool = False) -> int:
    """Tell it; 0 when no call failed.

    Raises:
        BrokenDownError: etcd is missing, or something did not start.
    """
    screen.line("Starting an etcd and two nodes ...")
    with ExitStack() as stack:
        nodes = Nodes(await start_etcd(stack), directory)
        stack.callback(nodes.stop)
        return await _tell(nodes, screen, seconds=1.5 if quick else 4.0)


async def _tell(nodes: Nodes, screen: Screen, *, seconds: float) -> int:
    await asyncio.gather(nodes.join(1), nodes.join(2))
    story = acts(nodes)
    screen.line(f"{RATE:g} calls a second to http://payments/, for {seconds:g} s and more each:")
    settings = {"upstreams": {"payments": {"discovery": {"etcd": {"url": nodes.etcd.url, "prefix": PREFIX}}}}}
    resilience = Resilience(settings, listeners=[lambda event: _show(event, nodes, screen)])
    keeping = asyncio.create_task(nodes.keep_leases())
    try:
        async with resilience, resilience.async_client() as client, asyncio.TaskGroup() as calls:
            for act, do in story:
                await _play(act, do, client, calls, screen, seconds)
    finally:
        keeping.cancel()
    told = [act for act, _ in story]
    screen.line()
    for line in table(told, nodes):
        screen.line(line)
    failed = [why for act in told for why in act.failed]
    screen.line()
    made = sum(len(act.took) for act in told)
    if failed:
        screen.line(screen.paint(f"{len(failed)} of {made} calls failed: {failed[0]}", RED))
        return BROKEN
    screen.line(screen.paint(f"{made} calls, none failed", GREEN))
    return KEPT


async def _play(
    act: Act,
    do: Callable[[], Awaitable[object]],
    client: Any,
    calls: asyncio.TaskGroup,
    screen: Screen,
    seconds: float,
) -> None:
    screen.line(f"  {act.told}")
    act.began = time.monotonic()
    doing = asyncio.ensure_future(do())
    number = 0
    while not doing.done() or time.monotonic() < act.began + seconds:
        calls.create_task(_call(act, client, number))
        number += 1
        await asyncio.sleep(max(0.0, act.began + number / RATE - time.monotonic()))
    await doing


async def _call(act: Act, client: Any, number: int) -> None:
    began = time.monotonic()
    try:
        response = await client.get(f"http://payments/fees/{number}")
        journal = response.extensions["resilient_http"]
        if response.status_code != 200:
            act.failed.append(str(journal))
        act.answered[journal.attempts[-1].endpoint] += 1
    except httpx.HTTPError as error:
        journal = getattr(error, "journal", None)
        act.failed.append(str(error))
    act.requests += 0 if journal is None else journal.sent
    act.took.append(time.monotonic() - began)


def _show(event: Event, nodes: Nodes, screen: Screen) -> None:
    kind = type(event).__name__
    if kind == "EndpointsChanged":
        added, removed = (list(map(nodes.name_of, urls)) for urls in (event.added, event.removed))  # type: ignore[attr-defined]
        nodes.found.update(added)
        words = [f"{', '.join(names)} {what}" for names, what in ((added, "found"), (removed, "gone")) if names]
        screen.line(f"      -> {'; '.join(words)}")
    elif kind in {"CircuitOpened", "CircuitClosed"}:
        verb = "opens" if kind == "CircuitOpened" else "closes"
        screen.line(f"      -> the circuit of {nodes.name_of(event.endpoint)} {verb}")  # type: ignore[attr-defined]
    elif kind in {"DiscoveryFailed", "DiscoveryRestored"}:
        screen.line(f"      -> etcd {'is away: the nodes stay' if kind == 'DiscoveryFailed' else 'answers again'}")


def table(told: list[Act], nodes: Nodes) -> list[str]:
    """Lines for the terminal."""
    head = ["", "calls", "failed", "p99", "requests per call", "answered by"]
    rows = [
        [
            act.told,
            str(len(act.took)),
            str(len(act.failed)),
            f"{sorted(act.took)[int(0.99 * len(act.took))] * 1000:.0f} ms",
            f"{act.requests / len(act.took):.3f}",
            ", ".join(f"{nodes.name_of(url)} {count}" for url, count in sorted(act.answered.items(), key=_by_count)),
        ]
        for act in told
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, *rows]:
        first, *figures, last = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in figures), last[0]]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _by_count(item: tuple[str, int]) -> int:
    return -item[1]
