"""Does anything grow in a process that makes calls for a long time, many of which fail?

Threads and tasks, over both engines, make calls of all kinds to three nodes in processes of their own, which answer,
answer 503, drip, reset and go away for a while, and to addresses where nobody is. For each look the traffic pauses, so
that what is counted is what calls have left behind. It ends with 1, and names what has grown, when after the warm-up
there is more of anything; how much more is too much stands in harness/growth.py.

    python benchmarks/soak.py                                   thirty minutes
    python benchmarks/soak.py --minutes 1 --warm-up 0.33        what CI runs
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness.command import parse, parser, progress
from harness.growth import TOLERANCES, Compared, Samples, compared
from harness.picture import Panel
from harness.report import Report, Table
from harness.servers import ask, node

from resilient_http import AsyncClient, Client, Resilience, deadline

NODES, THREADS, TASKS = 3, 4, 8
OVER_AIOHTTP = 4  # tasks beside those
PAUSE = 0.01  # seconds between two calls of a worker
STILL = 10.0  # seconds within which all calls have ended that were under way
AWAY, BETWEEN = 1.0, 3.0  # seconds that a node is away, and from one to the next
STRANGERS = 1000  # unnamed upstreams that are kept
ROWS, TYPES = 12, 6
ABOUT = ("minutes", "calls", "failed")

DOES_NOT_SHOW = (
    "That nothing leaks: it shows that these calls leave nothing behind, in so many minutes, beyond the tolerance.",
    "httpx2, TLS, proxies, HTTP/2, trio, listeners, OpenTelemetry's SDK, circuits and rates that are shared in Redis.",
    "How fast calls are: the workers wait between them, and stop for each look.",
)

# Kind to its weight. Most calls are good, so that circuits close again and there is traffic to leave something behind.
KINDS = {
    "good": 60,
    "POST": 8,
    "big body": 5,
    "left half way": 5,
    "503": 4,
    "reset": 4,
    "drip": 4,
    "cut short": 4,
    "hedged": 4,
    "stranger": 2,
    "loop of its own": 1,
}


class Traffic:
    """Workers that make calls while the gate is open.

    Args:
        resilience: With the upstreams `service` and `hedged`.
        port: Where no address but 127.0.0.1 is listened on.
    """

    def __init__(self, resilience: Resilience, port: int) -> None:
        self.resilience = resilience
        self.calls: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.gate = threading.Event()
        self.ended = False
        self._under_way = 0
        self._lock = threading.Lock()
        self._port = port
        self._strangers = itertools.count(2)

    async def pause(self) -> None:
        """Close the gate, and wait until no call is under way."""
        self.gate.clear()
        until = time.monotonic() + STILL
        while self._under_way:
            if time.monotonic() > until:
                sys.exit(f"{self._under_way} calls had not ended {STILL:g} s after the traffic was stopped")
            await asyncio.sleep(0.01)

    def stranger(self) -> str:
        """An origin that nobody has called before, and that refuses connections."""
        number = next(self._strangers)
        return f"http://127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:{self._port}/"

    def work_in_thread(self, client: Client, seed: int) -> None:
        rng = random.Random(seed)
        while not self.ended:
            if self.gate.wait(0.1):
                kind = chosen(rng)
                with self._counted(kind):
                    IN_THREAD[kind](self, client)
                time.sleep(PAUSE)

    async def work_in_task(self, client: AsyncClient, seed: int) -> None:
        rng = random.Random(seed)
        while not self.ended:
            if self.gate.is_set():
                kind = chosen(rng)
                with self._counted(kind):
                    await IN_TASK[kind](self, client)
            await asyncio.sleep(PAUSE)

    @contextlib.contextmanager
    def _counted(self, kind: str) -> Any:
        with self._lock:
            self._under_way += 1
            self.calls[kind] += 1
        failure = ""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted by its name
            failure = f"status {error}" if isinstance(error, Unwanted) else type(error).__name__
        finally:
            with self._lock:
                self._under_way -= 1
                if failure:
                    self.failures[kind, failure] += 1


class Unwanted(Exception):
    """An answer that is none."""


def chosen(rng: random.Random) -> str:
    return rng.choices(list(KINDS), list(KINDS.values()))[0]


def wanted(response: Any) -> None:
    if response.status_code != 200:
        raise Unwanted(response.status_code)


def get(path: str, within: float | None = None) -> Callable[[Traffic, Client], None]:
    def call(traffic: Traffic, client: Client) -> None:
        with deadline(within) if within else contextlib.nullcontext():
            wanted(client.get(f"http://{path}"))

    return call


def get_async(path: str, within: float | None = None) -> Callable[[Traffic, AsyncClient], Awaitable[None]]:
    async def call(traffic: Traffic, client: AsyncClient) -> None:
        with deadline(within) if within else contextlib.nullcontext():
            wanted(await client.get(f"http://{path}"))

    return call


def post(traffic: Traffic, client: Client) -> None:
    wanted(client.post("http://service/ok", json={"amount": 12.5}))


async def post_async(traffic: Traffic, client: AsyncClient) -> None:
    wanted(await client.post("http://service/ok", json={"amount": 12.5}))


def leave_half_way(traffic: Traffic, client: Client) -> None:
    with client.stream("GET", "http://service/big") as response:
        next(response.iter_bytes(1000))


async def leave_half_way_async(traffic: Traffic, client: AsyncClient) -> None:
    async with client.stream("GET", "http://service/big") as response:
        async for _ in response.aiter_bytes(1000):
            break


async def cancel(traffic: Traffic, client: AsyncClient) -> None:
    async with asyncio.timeout(0.05):
        await client.get("http://service/slow")


def strange(traffic: Traffic, client: Client) -> None:
    client.get(traffic.stranger())


async def strange_async(traffic: Traffic, client: AsyncClient) -> None:
    await client.get(traffic.stranger())


def in_loop(traffic: Traffic, client: Client) -> None:
    """As asgiref's async_to_sync does it: a loop for one call."""

    async def call() -> None:
        async with traffic.resilience.async_client() as own:
            wanted(await own.get("http://service/ok"))

    asyncio.run(call())


async def in_loop_async(traffic: Traffic, client: AsyncClient) -> None:
    async with traffic.resilience.async_client() as own:
        wanted(await own.get("http://service/ok"))


IN_THREAD: dict[str, Callable[[Traffic, Client], None]] = {
    "good": get("service/ok"),
    "POST": post,
    "big body": get("service/big"),
    "left half way": leave_half_way,
    "503": get("service/503"),
    "reset": get("service/reset"),
    "drip": get("service/drip", 0.2),
    "cut short": get("service/slow", 0.05),
    "hedged": get("hedged/slow"),
    "stranger": strange,
    "loop of its own": in_loop,
}
IN_TASK: dict[str, Callable[[Traffic, AsyncClient], Awaitable[None]]] = {
    "good": get_async("service/ok"),
    "POST": post_async,
    "big body": get_async("service/big"),
    "left half way": leave_half_way_async,
    "503": get_async("service/503"),
    "reset": get_async("service/reset"),
    "drip": get_async("service/drip", 0.2),
    "cut short": cancel,
    "hedged": get_async("hedged/slow"),
    "stranger": strange_async,
    "loop of its own": in_loop_async,
}


def settings(urls: Sequence[str], engine: str = "default") -> dict[str, Any]:
    # Circuits open when a node is away, and for as long as that.
    known = {"endpoints": list(urls), "retry": {}, "circuit": {"open_for": AWAY / 2, "max_open_for": AWAY}}
    return {
        "engine": engine,
        # Of strangers: nobody will be there a moment later.
        "defaults": {"retry": None},
        "upstreams": {"service": known, "hedged": {**known, "hedge": {"delay": 0.1}}},
    }


async def change_nodes(all_of_them: Sequence[Resilience], urls: Sequence[str]) -> None:
    """One node after the other goes away and comes back, and leaves the settings meanwhile."""
    for number in itertools.count():
        away = urls[number % len(urls)]
        with contextlib.suppress(OSError):
            await asyncio.to_thread(ask, f"{away}/_down/{AWAY}")
        for resilience in all_of_them:
            resilience.reload(settings([url for url in urls if url != away], resilience.settings.engine))
        await asyncio.sleep(BETWEEN / 2)
        for resilience in all_of_them:
            resilience.reload(settings(urls, resilience.settings.engine))
        await asyncio.sleep(BETWEEN / 2)


async def soak(
    resilience: Resilience,
    over_aiohttp: Resilience,
    urls: Sequence[str],
    options: argparse.Namespace,
    samples: Samples,
) -> Traffic:
    traffic = Traffic(resilience, int(urls[0].rpartition(":")[2]))
    async with over_aiohttp, resilience.async_client() as in_tasks, over_aiohttp.async_client() as others:
        with resilience.client() as in_threads:
            for number in range(options.strangers):
                # So that from the beginning each new one takes the place of an old one of its kind.
                with contextlib.suppress(Exception):
                    if number % (THREADS + TASKS) < THREADS:
                        strange(traffic, in_threads)
                    else:
                        await strange_async(traffic, in_tasks)
                with contextlib.suppress(Exception):
                    await strange_async(traffic, others)
            began = time.monotonic()
            threads = [
                threading.Thread(target=traffic.work_in_thread, args=(in_threads, seed)) for seed in range(THREADS)
            ]
            for thread in threads:
                thread.start()
            background = [asyncio.create_task(traffic.work_in_task(in_tasks, THREADS + n)) for n in range(TASKS)]
            more = range(THREADS + TASKS, THREADS + TASKS + OVER_AIOHTTP)
            background += [asyncio.create_task(traffic.work_in_task(others, seed)) for seed in more]
            background.append(asyncio.create_task(change_nodes((resilience, over_aiohttp), urls)))
            try:
                await look_again_and_again(traffic, samples, began, options)
            finally:
                traffic.ended = True
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                for thread in threads:
                    await asyncio.to_thread(thread.join)
    return traffic


async def look_again_and_again(traffic: Traffic, samples: Samples, began: float, options: argparse.Namespace) -> None:
    while (passed := time.monotonic() - began) < options.minutes * 60:
        traffic.gate.set()
        await asyncio.sleep(options.every)
        await traffic.pause()
        json.dumps(traffic.resilience.status())
        taken = samples.take(minutes=passed / 60, calls=traffic.calls.total(), failed=traffic.failures.total())
        progress(f"{passed:5.0f} s: " + ", ".join(f"{name} {taken[name]:,.0f}" for name in ("calls", *TOLERANCES)))


def show(report: Report, traffic: Traffic, samples: Sequence[dict[str, Any]], found: Sequence[Compared]) -> None:
    rows = [
        (
            kind,
            traffic.calls[kind],
            sum(count for (of, _), count in traffic.failures.items() if of == kind),
            "  ".join(f"{name} {count}" for (of, name), count in traffic.failures.most_common() if of == kind) or "-",
        )
        for kind in KINDS
    ]
    report.table(Table("calls", [("made", ",d"), ("failed", ",d"), ("how", "")], rows))
    held = [(name, ".1f" if name == "memory, MB" else ",d") for name in TOLERANCES]
    step, digits = max(1, len(samples) // ROWS), 1 if samples[-1]["minutes"] > 5 else 2
    over_time = [
        (f"{one['minutes']:.{digits}f}", *(one[name] for name, _ in [("calls", ""), *held]))
        for one in samples[step - 1 :: step]
    ]
    report.table(Table("minutes", [("calls", ",d"), *held], over_time))
    types = Counter({name: count for name, count in samples[-1].items() if "." in name}).most_common(TYPES)
    report.table(
        Table(
            "objects of a type, by minutes",
            [(name.removeprefix("builtins."), ",d") for name, _ in types],
            [
                (f"{one['minutes']:.{digits}f}", *(one.get(name, 0) for name, _ in types))
                for one in samples[step - 1 :: step]
            ],
        )
    )
    columns = [("first third", ",.1f"), ("last third", ",.1f"), ("allowed", ",.1f"), ("", "")]
    most = [one for one in found if one.what in TOLERANCES or one.grown] or found
    others = [one for one in found if one not in most][:8]
    report.table(
        Table(
            "after the warm-up",
            columns,
            [(one.what, one.first, one.last, one.allowed, "GROWN" if one.grown else "") for one in [*most, *others]],
            f"{len(found)} things were looked at; shown are those, and the {len(others)} types nearest to what is "
            "allowed.",
        )
    )
    passed = [one["minutes"] for one in samples]
    report.panels = [
        Panel(name, "minutes", "", {name: (passed, [one[name] for one in samples])}, marks=False, height=1.5)
        for name in TOLERANCES
    ]


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--minutes", type=float, default=30.0, help="in all (default: 30)")
    own.add_argument("--warm-up", type=float, default=1.0, help="minutes of them that do not count (default: 1)")
    own.add_argument("--every", type=float, help="seconds of traffic between two looks (default: 5, of short runs 1)")
    own.add_argument("--strangers", type=int, default=STRANGERS, help=argparse.SUPPRESS)
    options = parse(own, {"minutes": 0.02, "warm_up": 0.0, "every": 0.3, "strangers": 10})
    options.every = options.every or (5.0 if options.minutes >= 5 else 1.0)
    if not Path("/proc/self/statm").exists():
        sys.exit("this needs /proc, to see memory and sockets: run it on Linux")
    report = Report(
        "soak",
        "Does anything grow in a process that makes calls for a long time, many of which fail?",
        options,
        method=f"{options.minutes:g} minutes, of which {options.warm_up:g} to warm up; {THREADS} threads, "
        f"{TASKS} tasks, and {OVER_AIOHTTP} over the engine aiohttp; every {BETWEEN:g} s one of {NODES} nodes goes "
        f"away for {AWAY:g} s, and out of the settings",
        does_not_show=DOES_NOT_SHOW,
        partial=options.minutes < 30,
    )
    with ExitStack() as stack:
        urls = [stack.enter_context(node("moody")) for _ in range(NODES)]
        resilience, over_aiohttp = (
            stack.enter_context(Resilience(settings(urls))),
            Resilience(settings(urls, "aiohttp")),
        )
        samples = Samples(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "samples")
        traffic = asyncio.run(soak(resilience, over_aiohttp, urls, options, samples))
        taken = samples.read()
    found = compared([one for one in taken if one["minutes"] >= options.warm_up], ABOUT)
    show(report, traffic, taken, found)
    report.raw = {
        "compared": [[one.what, one.first, one.last, one.allowed] for one in found],
        "over time": taken[:: max(1, len(taken) // ROWS)],
    }
    grown = [one.what for one in found if one.grown]
    report.goal("things that grew by more than is allowed", float(len(grown)), most=0)
    report.finish()
    if grown and not options.quick:
        sys.exit(f"\nhas grown: {', '.join(grown)}")


if __name__ == "__main__":
    main()
