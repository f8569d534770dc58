"""What each policy costs a call by itself: one upstream with all policies off, and the same with one switched on.

A request goes through the transport to an engine that answers at once. Rounds are interleaved, and each round is
compared with the plain one of the same round; the table shows medians of CPU time.

    python benchmarks/policies.py
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from typing import Any

import httpx
from overhead import URL, AsyncNull, Null, measure, print_machine, run_async, run_sync

from resilient_http import Resilience


async def passed_on(what: Any, proceed: Any) -> Any:
    return await proceed(what)


GOAL = 5.0  # microseconds that a policy may add
PLAIN = "none"
OFF: dict[str, Any] = {
    "endpoints": ["http://10.0.0.1:8080"],
    "retry": None,
    "circuit": None,
    "timeout": {"total": None, "attempt": None, "connect": None, "read": None, "write": None},
    "propagate": "none",
}
ON: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "deadline (timeout.total)": {"timeout": {**OFF["timeout"], "total": 10.0}},
    "attempt timeout and phases": {"timeout": {"total": None}},
    "retry and budget": {"retry": {}},
    "circuit": {"circuit": {}},
    "balance over three endpoints": {"endpoints": [f"http://10.0.0.{node}:8080" for node in (1, 2, 3)]},
    "headers (attempt_header)": {"attempt_header": "x-envoy-attempt-count"},
    "headers (priority_header)": {"priority_header": "x-priority"},
    "rate limit": {"rate_limit": {"rate": 1e9}},
    "adaptive concurrency": {"concurrency": {"adaptive": {}}},
    "concurrency, observed": {"concurrency": {"observe": True}},
    "pauses of routes": {"pauses": {"route": 60.0}},
    "fallback, fixed": {"fallback": {"response": {"body": []}}},
    "fallback, stale (in memory)": {"fallback": {"stale": {}}},
    "middleware in the call ring": {"middleware": {"call": [passed_on]}},
    "middleware in the attempt ring": {"middleware": {"attempt": [passed_on]}},
    "hedge and retry": {"retry": {}, "hedge": {"delay": 1.0}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What each policy costs a call.")
    parser.add_argument("--rounds", type=int, default=21, help="each runs once in each (default: 21)")
    parser.add_argument("--calls", type=int, default=500, help="per policy and round (default: 500)")
    options = parser.parse_args()
    request = httpx.Request("GET", URL, extensions={"timeout": httpx.Timeout(None).as_dict()})
    upstreams = {name: Resilience({"upstreams": {"payments": {**OFF, **own}}}) for name, own in ON.items()}
    sync = {name: one.transport(Null()) for name, one in upstreams.items()}
    in_loop = {name: one.async_transport(AsyncNull()) for name, one in upstreams.items()}

    print_machine()
    with asyncio.Runner() as runner:
        times = {
            "sync": measure(
                run_sync,
                {name: lambda one=one: one.handle_request(request) for name, one in sync.items()},
                options.rounds,
                options.calls,
            ),
            "async": measure(
                lambda call, calls: runner.run(run_async(call, calls)),
                {name: lambda one=one: one.handle_async_request(request) for name, one in in_loop.items()},
                options.rounds,
                options.calls,
            ),
        }
    print(f"{'added by':<40}{'sync':>10}{'async':>10}   µs per call; at most {GOAL:g} is the goal")
    for name in ON:
        if name != PLAIN:
            print(f"{name:<40}" + "".join(f"{added(times[kind], name):>10}" for kind in times))
    print(
        f"{'all of the above off':<40}" + "".join(f"{statistics.median(each[PLAIN]):>10.1f}" for each in times.values())
    )


def added(times: dict[str, list[float]], name: str) -> str:
    if name not in times:
        return "-"
    return f"{statistics.median(own - plain for own, plain in zip(times[name], times[PLAIN], strict=True)):+.1f}"


if __name__ == "__main__":
    main()
