"""What does hedging do to the slowest calls, at real nodes, and what does it cost in requests?

Calls are made at a constant rate, whether or not those before them were answered, to three nodes in processes of their
own. How long a node takes depends on the call's key, so that with and without hedging the same requests are slow. In
each round each way of calling has its turn.

    python benchmarks/tail.py
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from harness.command import parse, parser
from harness.pace import paced, requests_at
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import interleaved, quantile, ratio
from harness.servers import node

from resilient_http import Resilience

NODES = 3
WITHOUT = "no hedge"
WAYS: dict[str, dict[str, Any]] = {
    WITHOUT: {},
    "hedge after 0.05 s": {"hedge": {"delay": 0.05}},
    "hedge after p95": {"hedge": {"delay": "p95"}},
}
SCENES = {
    "usual": "Each node is slow now and then, by itself",
    "one": "One node of the three is ten times as slow",
    "work": "Some of the work is slow, on whatever node",
    "together": "All nodes stand still together, now and then",
}
HELPED = ("usual", "one")
WARM_UP = 200  # calls: p95 needs a hundred
SHARES = (0.5, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)

DOES_NOT_SHOW = (
    (
        "Your tail: this one is lognormal around 10 ms (sigma 0.3), and in 2 of 100 requests a Pareto tail from "
        "100 ms on "
        "(alpha 1.2, at most 3 s). What hedging is worth depends on how often slowness is a node's own."
    ),
    (
        "Load: the nodes bear any number of requests at once, so a second request slows down nobody. At nodes "
        "that are full it would."
    ),
    "The second digit of p99.9: a round has one or two calls beyond it, so it is taken over all rounds together.",
    "Sync code, where a hedge is made in a thread of ours.",
)


@dataclass(frozen=True)
class Turn:
    """What one way of calling did in one round.

    Attributes:
        waits: Seconds of each call, in order of length.
        requests: At the nodes, for each call.
        failed: Calls.
        late: The most seconds that a call was made later than it should have been.
    """

    waits: list[float]
    requests: float
    failed: int
    late: float


async def calls(scene: str, urls: Sequence[str], settings: dict[str, Any], options: argparse.Namespace) -> Turn:
    upstream = {"endpoints": list(urls), "timeout": {"attempt": 4.0, "read": 4.0}, **settings}
    waits: list[float] = []
    failed = 0
    resilience = Resilience({"upstreams": {"nodes": upstream}})
    async with resilience, resilience.async_client() as client:

        async def one(key: int) -> None:
            nonlocal failed
            began = time.perf_counter()
            response = await client.get(f"http://nodes/{scene}/{key}")
            waits.append(time.perf_counter() - began)
            failed += response.status_code != 200

        await paced(one, range(-WARM_UP, 0), options.rate)
        waits.clear()
        before = requests_at(urls)
        late = await paced(one, range(int(options.rate * options.seconds)), options.rate)
    return Turn(sorted(waits), (requests_at(urls) - before) / len(waits), failed, late)


def show(report: Report, scene: str, turns: dict[str, list[Turn]]) -> None:
    base = [quantile(turn.waits, 0.99) for turn in turns[WITHOUT]]
    rows = []
    for name, rounds in turns.items():
        together = sorted(wait for turn in rounds for wait in turn.waits)
        rows.append((
            name,
            *(statistics.median(quantile(turn.waits, share) for turn in rounds) * 1000 for share in (0.5, 0.99)),
            quantile(together, 0.999) * 1000,
            ratio([quantile(turn.waits, 0.99) for turn in rounds], base),
            statistics.median(turn.requests for turn in rounds),
            sum(turn.failed for turn in rounds),
        ))  # fmt: skip
    columns = [
        ("p50 ms", ".1f"),
        ("p99 ms", ".0f"),
        ("p99.9 ms", ".0f"),
        ("p99, times no hedge", ".2f"),
        ("requests per call", ".3f"),
        ("failed", "d"),
    ]
    late = max(turn.late for rounds in turns.values() for turn in rounds)
    note = "" if scene in HELPED else "Here hedging does not help. "
    report.table(Table(SCENES[scene], columns, rows, f"{note}Calls were made at most {late * 1000:.0f} ms too late."))
    report.panels.append(panel(scene, turns))


def panel(scene: str, turns: dict[str, list[Turn]]) -> Panel:
    series = {}
    for name, rounds in turns.items():
        together = sorted(wait for turn in rounds for wait in turn.waits)
        series[name] = ([1 / (1 - share) for share in SHARES], [quantile(together, share) for share in SHARES])
    x = "the slowest one of so many calls takes at least"
    return Panel(SCENES[scene], x, "seconds", series, log_x=True, log_y=True, ticks=[2, 10, 20, 50, 100, 200, 1000])


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rounds", type=int, default=3, help="each way has its turn in each (default: 3)")
    own.add_argument("--seconds", type=float, default=8.0, help="of a turn (default: 8)")
    own.add_argument("--rate", type=float, default=150.0, help="calls per second (default: 150)")
    own.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES), help="(default: all)")
    options = parse(own, {"rounds": 1, "seconds": 0.2, "rate": 500.0, "scenes": ["usual"]})
    report = Report(
        "tail",
        "What does hedging do to the slowest calls, at real nodes, and what does it cost in requests?",
        options,
        method=f"medians of {options.rounds} interleaved rounds of {options.seconds:g} s with {options.rate:g} calls a "
        f"second to {NODES} nodes",
        does_not_show=DOES_NOT_SHOW,
        partial=options.scenes != list(SCENES),
    )
    with ExitStack() as nodes, asyncio.Runner() as runner:
        urls = [nodes.enter_context(node("tail", name=f"node {n}", slow=n == 0)) for n in range(NODES)]
        for scene in options.scenes:
            turns = interleaved(
                WAYS,
                options.rounds,
                lambda settings, scene=scene: runner.run(calls(scene, urls, settings, options)),
                what=SCENES[scene],
            )
            show(report, scene, turns)
            report.raw[scene] = {
                name: [{**asdict(turn), "waits": len(turn.waits)} for turn in rounds] for name, rounds in turns.items()
            }
    report.finish()


if __name__ == "__main__":
    main()
