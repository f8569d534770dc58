"""What the standard pipeline costs per call, and what others cost that do part of its work.

All contenders make the same GET, in one process, through a transport that answers at once; what differs from bare
httpx is the price of the layers above it. Rounds are interleaved: each contender runs in each round. The table shows
medians over the rounds, of this process's CPU time: nothing here waits, so that is what a call costs.

    python benchmarks/overhead.py              the table
    python benchmarks/overhead.py --profile    where the time goes that we add
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import os
import platform
import pstats
import statistics
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pybreaker
import tenacity
from httpx_retries import RetryTransport

from resilient_http import Resilience

GOAL = 30.0  # microseconds that we may add
URL = "http://payments/charges/42"
SETTINGS = {
    "upstreams": {"payments": {"endpoints": ["http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://10.0.0.3:8080"]}}
}
BARE = "bare"
OURS = "resilient_http, all policies, 3 endpoints"
RETRIES = "httpx-retries"
TENACITY = "tenacity and pybreaker"
PACKAGES = ("httpx", "httpx-retries", "tenacity", "pybreaker")

Sync = Callable[[], httpx.Response]
Async = Callable[[], Awaitable[httpx.Response]]


class Null(httpx.BaseTransport):
    """Answers at once."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"{}")


class AsyncNull(httpx.AsyncBaseTransport):
    """Answers at once."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"{}")


def sync_engines(resilience: Resilience) -> dict[str, Sync]:
    """One request through each transport: the pipeline and nothing else, over the bare engine."""
    bare = Null()
    ours = resilience.transport(Null())
    retries = RetryTransport(transport=Null())
    retrying = tenacity.Retrying(**_rules())
    breaker = pybreaker.CircuitBreaker()
    request = httpx.Request("GET", URL, extensions={"timeout": httpx.Timeout(None).as_dict()})
    return {
        BARE: lambda: bare.handle_request(request),
        OURS: lambda: ours.handle_request(request),
        RETRIES: lambda: retries.handle_request(request),
        TENACITY: lambda: retrying(breaker.call, bare.handle_request, request),
    }


def async_engines(resilience: Resilience) -> dict[str, Async]:
    bare = AsyncNull()
    ours = resilience.async_transport(AsyncNull())
    retries = RetryTransport(transport=AsyncNull())
    retrying = tenacity.AsyncRetrying(**_rules())
    breaker = pybreaker.CircuitBreaker()
    request = httpx.Request("GET", URL, extensions={"timeout": httpx.Timeout(None).as_dict()})

    async def guarded() -> httpx.Response:
        with breaker.calling():
            return await bare.handle_async_request(request)

    return {
        BARE: lambda: bare.handle_async_request(request),
        OURS: lambda: ours.handle_async_request(request),
        RETRIES: lambda: retries.handle_async_request(request),
        TENACITY: lambda: retrying(guarded),
    }


def sync_contenders(resilience: Resilience) -> dict[str, Sync]:
    """The whole of client.get(), httpx's own work included."""
    bare = httpx.Client(transport=Null())
    ours = resilience.client(transport=Null())
    retries = httpx.Client(transport=RetryTransport(transport=Null()))
    retrying = tenacity.Retrying(**_rules())
    breaker = pybreaker.CircuitBreaker()
    return {
        BARE: lambda: bare.get(URL),
        OURS: lambda: ours.get(URL),
        RETRIES: lambda: retries.get(URL),
        TENACITY: lambda: retrying(breaker.call, bare.get, URL),
    }


def async_contenders(resilience: Resilience) -> dict[str, Async]:
    bare = httpx.AsyncClient(transport=AsyncNull())
    ours = resilience.async_client(transport=AsyncNull())
    retries = httpx.AsyncClient(transport=RetryTransport(transport=AsyncNull()))
    retrying = tenacity.AsyncRetrying(**_rules())
    breaker = pybreaker.CircuitBreaker()

    async def guarded() -> httpx.Response:
        # pybreaker's call() does not know coroutines, and its call_async() is for tornado.
        with breaker.calling():
            return await bare.get(URL)

    return {
        BARE: lambda: bare.get(URL),
        OURS: lambda: ours.get(URL),
        RETRIES: lambda: retries.get(URL),
        TENACITY: lambda: retrying(guarded),
    }


def _rules() -> dict[str, Any]:
    return {
        "stop": tenacity.stop_after_attempt(3),
        "wait": tenacity.wait_random_exponential(0.1, 5.0),
        "retry": tenacity.retry_if_exception_type(httpx.TransportError)
        | tenacity.retry_if_result(lambda response: response.status_code >= 500),
    }


def measure(run: Callable[[Any, int], float], contenders: dict[str, Any], rounds: int, calls: int) -> dict[str, list]:
    """Microseconds per call of each contender in each round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        run(call, calls)
    for _ in range(rounds):
        for name, call in contenders.items():
            gc.collect()
            times[name].append(run(call, calls) / calls * 1e6)
    return times


def run_sync(call: Sync, calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        call()
    return time.process_time() - started


async def run_async(call: Async, calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        await call()
    return time.process_time() - started


def print_table(kind: str, times: dict[str, list[float]], goal: float | None = None) -> None:
    print(f"{kind:<45}{'µs per call':>12}{'added':>9}{'ratio':>8}")
    bare = times[BARE]
    for name, own in times.items():
        # Each round is compared with the bare calls of the same round: a slow moment slows both.
        pairs = list(zip(own, bare, strict=True))
        added = statistics.median(mine - theirs for mine, theirs in pairs)
        ratio = statistics.median(mine / theirs for mine, theirs in pairs)
        print(f"{name:<45}{statistics.median(own):>12.1f}{added:>+9.1f}{ratio:>8.2f}")
        if name == OURS and goal is not None:
            verdict = f"at most {goal:g} µs added: {'kept' if added <= goal else 'MISSED'}"
    print(f"{verdict if goal is not None else 'no goal: httpx itself is in it'}\n")


def print_machine() -> None:
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    print(f"{platform.python_implementation()} {platform.python_version()}; {packages}")
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, {_processor()}\n")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def print_profile(kind: str, run: Callable[[Any, int], float], contenders: dict[str, Any], calls: int) -> None:
    """The functions in which a call of ours spends more than a bare one; in both, functions of httpx's own too."""
    bare, ours = (_own_times(run, contenders[name], calls) for name in (BARE, OURS))
    added = {
        place: (count - bare.get(place, (0.0, 0.0))[0], own - bare.get(place, (0.0, 0.0))[1])
        for place, (count, own) in ours.items()
    }
    print(f"{kind}: what we add, per call, under cProfile, which inflates small functions")
    print(f"{'calls':>7}{'own µs':>8}  where")
    for place, (count, own) in sorted(added.items(), key=lambda item: -item[1][1])[:25]:
        print(f"{count:>7.2f}{own:>8.2f}  {_place(*place)}")
    print(f"{'':>7}{sum(own for _, own in added.values()):>8.2f}  in all\n")


def _own_times(run: Callable[[Any, int], float], call: Any, calls: int) -> dict[tuple[str, int, str], Any]:
    """Calls, and microseconds in the function itself, per call of the contender."""
    run(call, calls)
    profiler = cProfile.Profile()
    # A collection would be booked on whatever function it happens to interrupt.
    gc.collect()
    gc.disable()
    profiler.runcall(run, call, calls)
    gc.enable()
    stats: Any = pstats.Stats(profiler)
    return {place: (each[1] / calls, each[2] / calls * 1e6) for place, each in stats.stats.items()}


def _place(file: str, line: int, function: str) -> str:
    return function if file == "~" else f"{'/'.join(Path(file).parts[-3:])}:{line} {function}"


def main() -> None:
    parser = argparse.ArgumentParser(description="What the standard pipeline costs per call.")
    parser.add_argument("--rounds", type=int, default=21, help="each contender runs once in each (default: 21)")
    parser.add_argument("--calls", type=int, default=500, help="per contender and round (default: 500)")
    parser.add_argument("--profile", action="store_true", help="profile our path instead")
    options = parser.parse_args()

    print_machine()
    with Resilience(SETTINGS) as resilience, asyncio.Runner() as runner:
        sync = sync_contenders(resilience)
        in_loop = async_contenders(resilience)
        engines, engines_in_loop = sync_engines(resilience), async_engines(resilience)

        def run_in_loop(call: Async, calls: int) -> float:
            return runner.run(run_async(call, calls))

        if options.profile:
            calls = options.rounds * options.calls
            print_profile("sync", run_sync, sync, calls)
            print_profile("async (asyncio)", run_in_loop, in_loop, calls)
            return
        print(f"medians of {options.rounds} interleaved rounds of {options.calls} calls\n")
        print_table("over the bare engine, sync", measure(run_sync, engines, options.rounds, options.calls), GOAL)
        asynchronous = measure(run_in_loop, engines_in_loop, options.rounds, options.calls)
        print_table("over the bare engine, async", asynchronous, GOAL)
        print_table("over client.get, sync", measure(run_sync, sync, options.rounds, options.calls))
        print_table("over client.get, async", measure(run_in_loop, in_loop, options.rounds, options.calls))


if __name__ == "__main__":
    main()
