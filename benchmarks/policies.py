"""What each policy costs a call by itself: one upstream with all policies off, and the same with one switched on.

A request goes through the transport to an engine that answers at once, in the place of one of ours: so it takes the way
of a call that would reach the network. Rounds are interleaved, and each round is compared with the plain one of the
same round; the table shows medians of this process's CPU time, that of its other threads included.

By a quantile a hedge is due here after a tenth of a millisecond, so that its thread is busier than over a network.
Over a transport of the user's a sync call that may be hedged takes another way, in threads; the last row is that one's.

    python benchmarks/policies.py
"""

from __future__ import annotations

import asyncio
import statistics
from typing import Any

import httpx
from harness.command import parse, parser
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import added, microseconds, run_async, run_sync
from overhead import URL, AsyncNull, Null

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
REQUEST = httpx.Request("GET", URL, extensions={"timeout": httpx.Timeout(None).as_dict()})
# What cannot be without another policy is compared with that.
TAKES = dict.fromkeys(("hedge", "hedge after 2 ms", "hedge by a quantile"), RETRY)


DOES_NOT_SHOW = (
    "What policies cost together: some of them share work, and all compete for the processor's caches.",
    "Waiting: nothing is refused, delayed or repeated here. It is what a policy costs a call that it lets through.",
)


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rounds", type=int, default=21, help="each runs once in each (default: 21)")
    own.add_argument("--calls", type=int, default=500, help="per policy and round (default: 500)")
    options = parse(own, {"rounds": 1, "calls": 5})
    report = Report(
        "policies",
        "What does each policy cost a call by itself?",
        options,
        method=f"CPU time; medians of {options.rounds} interleaved rounds of {options.calls} calls, each compared "
        f"with the same upstream with all policies off",
        does_not_show=DOES_NOT_SHOW,
    )
    times = measured(options.rounds, options.calls)
    theirs = over_theirs(options.rounds, options.calls)
    rows = [(name, *(cost(own, name) for own in times.values())) for name in ON if name != PLAIN]
    rows.append(("hedge, over a transport of the user's", cost(theirs, "hedge"), None))
    plain = [f"{statistics.median(each[PLAIN]):.1f}" for each in times.values()]
    columns = [(f"{kind}, µs per call", "+.1f") for kind in times]
    note = f"At most {GOAL:g} is the goal of each."
    report.table(Table("added by", columns, [*rows, ("all of the above off, in all", *plain)], note))
    for name, *costs in rows:
        report.goal(f"{name}: µs, the dearer way", max(cost for cost in costs if cost is not None), most=GOAL)
    report.panels = [panel(kind, own) for kind, own in times.items()]
    report.raw = times
    report.finish()


def measured(rounds: int, calls: int) -> dict[str, dict[str, list[float]]]:
    upstreams = {name: Resilience({"upstreams": {"payments": {**OFF, **own}}}) for name, own in ON.items()}
    sync = {name: one.transport() for name, one in upstreams.items()}
    in_loop = {name: one.async_transport() for name, one in upstreams.items()}
    EnginePool.engine = at_once
    with asyncio.Runner() as runner:
        return {
            "sync": microseconds(requests(sync), rounds, calls, run_sync),
            "async": microseconds(
                {name: lambda one=one: one.handle_async_request(REQUEST) for name, one in in_loop.items()},
                rounds,
                calls,
                lambda call, calls: runner.run(run_async(call, calls)),
            ),
        }


def over_theirs(rounds: int, calls: int) -> dict[str, list[float]]:
    names = (PLAIN, RETRY, "hedge")
    upstreams = {name: Resilience({"upstreams": {"payments": {**OFF, **ON[name]}}}) for name in names}
    sync = {name: one.transport(Null()) for name, one in upstreams.items()}
    return microseconds(requests(sync), rounds, calls, run_sync)


def requests(transports: dict[str, Any]) -> dict[str, Any]:
    return {name: lambda one=one: one.handle_request(REQUEST) for name, one in transports.items()}


class AtOnce(Null, AsyncNull):
    """Either engine, in the place of one of ours."""


def at_once(_: EnginePool, __: object) -> Any:
    """In the place of EnginePool.engine."""
    return AtOnce()


def cost(times: dict[str, list[float]], name: str) -> float:
    """Microseconds that a policy adds to what it takes to be there."""
    return added(times[name], times[TAKES.get(name, PLAIN)])


def panel(kind: str, times: dict[str, list[float]]) -> Panel:
    names = sorted((name for name in ON if name != PLAIN), key=lambda name: cost(times, name))
    bars = {name: cost(times, name) for name in names}
    return Panel(f"added to a call, {kind}", "µs", "", {kind: (list(bars.values()), range(len(bars)))}, names=names)


if __name__ == "__main__":
    main()
