"""What the standard pipeline costs per call, and what others cost that do part of its work.

All contenders make the same GET, in one process, through a transport that answers at once; what differs from bare
httpx is the price of the layers above it. Rounds are interleaved: each contender runs in each round. The table shows
medians over the rounds, of this process's CPU time: nothing here waits, so that is what a call costs.

    python benchmarks/overhead.py              the table
    python benchmarks/overhead.py --profile    where the time goes that we add
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import statistics
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pybreaker
import tenacity
from harness.command import parse, parser
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import added, microseconds, ratio, run_async, run_sync
from httpx_retries import RetryTransport

from resilient_http import Resilience

GOAL = 15.0  # microseconds that we may add
URL = "http://payments/charges/42"
SETTINGS = {
    "upstreams": {"payments": {"endpoints": ["http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://10.0.0.3:8080"]}}
}
BARE = "bare"
OURS = "resilient_http, all policies, 3 endpoints"
RETRIES = "httpx-retries"
TENACITY = "tenacity and pybreaker"
PACKAGES = ("httpx-retries", "tenacity", "pybreaker")

DOES_NOT_SHOW = (
    "A share of what a real call costs: the transport answers at once, so a ratio here is the worst that can be.",
    (
        "Equal work: resilient_http resolves the logical host, keeps the deadline, asks the retry budget, holds "
        "a permit, "
        "chooses one of three endpoints, asks and tells its circuit, and writes the journal; the others do part of it."
    ),
    "Traces and listeners: no OpenTelemetry SDK is configured, and nobody listens.",
)

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


def show(report: Report, kind: str, times: dict[str, list[float]], goal: float | None = None) -> None:
    """A table of medians; with a goal, what ours adds is held against it."""
    bare = times[BARE]
    # Each round is compared with the bare calls of the same round: a slow moment slows both.
    rows = [(name, statistics.median(own), added(own, bare), ratio(own, bare)) for name, own in times.items()]
    note = "" if goal is not None else "No goal: httpx itself is in it."
    report.table(Table(kind, [("µs per call", ".1f"), ("added", "+.1f"), ("ratio", ".2f")], rows, note))
    report.raw[kind] = times
    if goal is not None:
        report.goal(f"{kind}: µs added by all policies", added(times[OURS], bare), most=goal)


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
    own = parser(__doc__ or "")
    own.add_argument("--rounds", type=int, default=21, help="each contender runs once in each (default: 21)")
    own.add_argument("--calls", type=int, default=500, help="per contender and round (default: 500)")
    own.add_argument("--profile", action="store_true", help="profile our path instead")
    options = parse(own, {"rounds": 2, "calls": 20})
    report = Report(
        "overhead",
        "What does the standard pipeline cost per call, and what do others cost that do part of its work?",
        options,
        method=f"CPU time; medians of {options.rounds} interleaved rounds of {options.calls} calls",
        does_not_show=DOES_NOT_SHOW,
        packages=PACKAGES,
        partial=options.profile,
    )
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
        kinds = (
            ("over the bare engine, sync", engines, run_sync, GOAL),
            ("over the bare engine, async", engines_in_loop, run_in_loop, GOAL),
            ("over client.get, sync", sync, run_sync, None),
            ("over client.get, async", in_loop, run_in_loop, None),
        )
        for kind, contenders, run, goal in kinds:
            show(report, kind, microseconds(contenders, options.rounds, options.calls, run), goal)
    report.panels = [spread(kind, times) for kind, times in report.raw.items()]
    report.finish()


def spread(kind: str, times: dict[str, list[float]]) -> Panel:
    """The rounds in order of what they took: a flat line is a quiet machine."""
    series = {name: (range(1, len(own) + 1), sorted(own)) for name, own in times.items()}
    return Panel(kind, "rounds, the fastest first", "µs per call", series)


if __name__ == "__main__":
    main()
