"""Live change: in the middle of an outage a timeout and the retry budget are changed in a real etcd.

The calls are made here, by an async client, to three nodes that are processes. One node hangs, one answers 503, one is
well. Circuits, which would take the bad ones out by themselves, are off, and the nodes are called in turn, so that what
is seen is what the settings do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from example_project.cluster import UVICORN, BrokenDownError
from example_project.registry import start_etcd
from example_project.screen import GREEN, RED, Screen
from example_project.service import Service
from resilient_http import Resilience, deadline
from resilient_http.events import Event, SettingsReloaded
from tests.live.etcd import Etcd

KEY = "/demo/resilience"
RATE = 50.0  # calls per second
PATIENCE = 1.0  # seconds that a caller has
KEPT, BROKEN = 0, 1
OWN: dict[str, Any] = {
    "timeout": {"total": 5.0, "attempt": 2.0},
    "retry": {"budget": {"ratio": 0.02, "floor": 0.0}},
    "circuit": None,
    "balance": "weighted",
}
QUICKER: dict[str, Any] = {"upstreams": {"payments": {"timeout": {"attempt": 0.2}}}}
MORE: dict[str, Any] = {
    "upstreams": {"payments": {"timeout": {"attempt": 0.2}, "retry": {"budget": {"ratio": 1.0}}}},
}
OUTAGE = "node 1 hangs, node 2 answers 503"


@dataclass
class Act:
    """What is done, and what callers saw until the next one.

    Attributes:
        told: What is done, for the terminal.
        moods: What nodes are told to do.
        document: What is put into etcd, or None for nothing.
        took: Seconds of each call.
        good: How many calls were answered 200 in time.
        requests: That were sent for them.
        in_force: Seconds from the write to the reload.
        changes: What was reloaded.
    """

    told: str
    moods: Mapping[int, str] = field(default_factory=dict)
    document: Mapping[str, Any] | None = None
    took: list[float] = field(default_factory=list)
    good: int = 0
    requests: int = 0
    in_force: float | None = None
    changes: tuple[str, ...] = ()


def acts() -> list[Act]:
    """The story."""
    return [
        Act("all nodes are well"),
        Act(OUTAGE, moods={0: "drip", 1: "fail"}),
        Act("etcd: timeout.attempt 2 -> 0.2 s", document=QUICKER),
        Act("etcd: retry.budget.ratio 0.02 -> 1", document=MORE),
        Act("all are well; etcd: {}", moods={0: "well", 1: "well"}, document={}),
    ]


async def live_change(directory: Path, screen: Screen, *, quick: bool = False) -> int:
    """Tell it; 0 when the changes were in force, and callers were better off for it.

    Raises:
        BrokenDownError: etcd is missing, or something did not start.
    """
    screen.line("Starting an etcd and three nodes ...")
    with ExitStack() as stack:
        etcd = await start_etcd(stack)
        nodes = [_node(number, directory) for number in (1, 2, 3)]
        for node in nodes:
            stack.callback(node.kill)
            node.start()
        await asyncio.gather(*map(_answers, nodes))
        return await _tell(etcd, nodes, screen, seconds=2.5 if quick else 6.0)


async def _tell(etcd: Etcd, nodes: list[Service], screen: Screen, *, seconds: float) -> int:
    story = acts()
    here = [story[0]]
    payments = {**OWN, "endpoints": [node.url for node in nodes]}
    settings = {"upstreams": {"payments": payments}, "watch": {"etcd": {"url": etcd.url, "key": KEY}}}
    written: list[float] = []

    def show(event: Event) -> None:
        if isinstance(event, SettingsReloaded):
            here[0].in_force, here[0].changes = time.monotonic() - written[-1], event.changes
            for change in event.changes:
                screen.line(f"      -> {change}  ({here[0].in_force * 1000:.0f} ms after the write)")

    screen.line(
        f"{RATE:g} calls a second to http://payments/, whose callers have {PATIENCE:g} s, for {seconds:g} s each:"
    )
    resilience = Resilience(settings, listeners=[show])
    async with resilience, resilience.async_client() as client, asyncio.TaskGroup() as calls:
        for act in story:
            screen.line(f"  {act.told}")
            here[0] = act
            for node, mood in act.moods.items():
                await _tell_mood(nodes[node], mood)
            if act.document is not None:
                written.append(time.monotonic())
                await asyncio.to_thread(etcd.put, KEY, act.document)
            await _traffic(act, client, calls, seconds)
    screen.line()
    for line in table(story):
        screen.line(line)
    screen.line()
    return _judge(story, screen)


def _judge(story: list[Act], screen: Screen) -> int:
    well, outage, quicker, more, after = map(success, story)
    late = [act.told for act in story if act.document is not None and act.in_force is None]
    if late or not outage < more or min(well, after) < 0.9:
        screen.line(screen.paint(f"not as it should be: {', '.join(late) or 'see the table'}", RED))
        return BROKEN
    slowest = " -> ".join(_ms(_p99(act)) for act in story[1:3])
    told = f"the slowest calls took {slowest} by the first change, success rose {_percent(quicker)} -> {_percent(more)}"
    screen.line(screen.paint(f"{told} by the second; nothing was deployed, no process started anew", GREEN))
    return KEPT


async def _traffic(act: Act, client: Any, calls: asyncio.TaskGroup, seconds: float) -> None:
    began = time.monotonic()
    number = 0
    while time.monotonic() < began + seconds:
        calls.create_task(_call(act, client, number))
        number += 1
        await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))


async def _call(act: Act, client: Any, number: int) -> None:
    began = time.monotonic()
    try:
        with deadline(PATIENCE):
            response = await client.get(f"http://payments/fees/{number}")
        journal = response.extensions["resilient_http"]
        act.good += response.status_code == 200
    except httpx.HTTPError as error:
        journal = getattr(error, "journal", None)
    act.requests += 0 if journal is None else journal.sent
    act.took.append(time.monotonic() - began)


def table(story: list[Act]) -> list[str]:
    """Lines for the terminal."""
    columns: dict[str, Callable[[Act], str]] = {
        "": lambda act: act.told,
        "calls": lambda act: str(len(act.took)),
        "success": lambda act: _percent(success(act)),
        "p50": lambda act: _ms(sorted(act.took)[len(act.took) // 2]),
        "p99": lambda act: _ms(_p99(act)),
        "requests per call": lambda act: f"{act.requests / len(act.took):.2f}",
        "in force after": lambda act: "" if act.in_force is None else _ms(act.in_force),
    }
    rows = [list(columns), *([show(act) for show in columns.values()] for act in story)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def success(act: Act) -> float:
    """Share of the calls that were answered 200 in time."""
    return act.good / max(1, len(act.took))


def _p99(act: Act) -> float:
    return sorted(act.took)[int(0.99 * len(act.took))]


def _percent(share: float) -> str:
    # Never rounded up to a hundred.
    return f"{int(share * 1000) / 10:.1f} %"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _node(number: int, directory: Path) -> Service:
    name = f"node {number}"
    return Service(
        name, [*UVICORN, "example_project.node.app:app"], {"NODE_NAME": name}, directory / f"node-{number}.log"
    )


async def _answers(node: Service) -> None:
    until = time.monotonic() + 20.0
    async with httpx.AsyncClient() as client:
        while node.running and time.monotonic() < until:
            with suppress(httpx.HTTPError):
                await client.get(f"{node.url}/")
                return
            await asyncio.sleep(0.05)
    message = f"{node.name} did not start; its log is {node.log}"
    raise BrokenDownError(message)


async def _tell_mood(node: Service, mood: str) -> None:
    async with httpx.AsyncClient() as client:
        await client.get(f"{node.url}/control/{mood}")
