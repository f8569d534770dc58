"""What each policy costs a call by itself: one upstream with all policies off, and the same with one switched on.

A request goes through the transport to an engine that answers at once, in the place of one of ours: so it takes the way
of a call that would reach the network. Rounds are interleaved, and each round is compared with the plain one of the
same round; the table shows medians of this process's CPU time, that of its other threads included.

By a quantile a hedge is due here after a tenth of a millisecond, so that its thread is busier than over a network.
Over a transport of the user's a sync call that may be hedged takes another way, in threads; the last row is that one's.

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
from resilient_http.engines.pool import EnginePool


async def passed_on(what: Any, proceed: Any) -> Any:
    return await proceed(what)


RETRY = "retry and budget"
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
    RETRY: {"retry": {}},
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
    "hedge": {"retry": {}, "hedge": {"delay": 1.0}},
    "hedge after 2 ms": {"retry": {}, "hedge": {"delay": 0.002}},
    "hedge by a quantile": {"retry": {}, "hedge": {"delay": "p99"}},
}
# What cannot be without another policy is compared with that.
TAKES = dict.fromkeys(("hedge", "hedge after 2 ms", "hedge by a quantile"), RETRY)


def main() -> None:
    parser = argparse.ArgumentParser(description="What each policy costs a call.")
    parser.add_argument("--rounds", type=int, default=21, help="each runs once in each (default: 21)")
    parser.add_argument("--calls", type=int, default=500, help="per policy and round (default: 500)")
    options = parser.parse_args()
    request = httpx.Request("GET", URL, extensions={"timeout": httpx.Timeout(None).as_dict()})
    upstreams = {name: Resilience({"upstreams": {"payments": {**OFF, **own}}}) for name, own in ON.items()}
    EnginePool.engine = at_once
    sync = {name: one.transport() for name, one in upstreams.items()}
    theirs = {name: upstreams[name].transport(Null()) for name in (PLAIN, RETRY, "hedge")}
    in_loop = {name: one.async_transport() for name, one in upstreams.items()}

    print_machine()
    with asyncio.Runner() as runner:

        def in_turns(transports: dict[str, Any]) -> dict[str, list[float]]:
            calls = {name: lambda one=one: one.handle_request(request) for name, one in transports.items()}
            return measure(run_sync, calls, options.rounds, options.calls)

        times = {
            "sync": in_turns(sync),
            "async": measure(
                lambda call, calls: runner.run(run_async(call, calls)),
                {name: lambda one=one: one.handle_async_request(request) for name, one in in_loop.items()},
                options.rounds,
                options.calls,
            ),
        }
        over_theirs = in_turns(theirs)
    print(f"{'added by':<40}{'sync':>10}{'async':>10}   µs per call; at most {GOAL:g} is the goal")
    for name in ON:
        if name != PLAIN:
            print(f"{name:<40}" + "".join(f"{added(times[kind], name):>10}" for kind in times))
    print(f"{'hedge, over a transport of the users':<40}{added(over_theirs, 'hedge'):>10}{'-':>10}")
    print(
        f"{'all of the above off':<40}" + "".join(f"{statistics.median(each[PLAIN]):>10.1f}" for each in times.values())
    )


def at_once(pool: EnginePool, _: object) -> Any:
    """In the place of EnginePool.engine."""
    return AsyncNull() if pool._is_async else Null()  # noqa: SLF001 - a benchmark may look


def added(times: dict[str, list[float]], name: str) -> str:
    beside = times[TAKES.get(name, PLAIN)]
    return f"{statistics.median(own - other for own, other in zip(times[name], beside, strict=True)):+.1f}"


if __name__ == "__main__":
    main()
