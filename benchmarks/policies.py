"""What each policy costs a call by itself: one upstream with all policies off, and the same with one switched on.

A request goes through the transport to an engine that answers at once. Rounds are interleaved, and each round is
compared with the plain one of the same round; the table shows medians of CPU time.

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
    rows = [(name, *(added(times[kind][name], times[kind][PLAIN]) for kind in times)) for name in ON if name != PLAIN]
    plain = [f"{statistics.median(each[PLAIN]):.1f}" for each in times.values()]
    columns = [(f"{kind}, µs per call", "+.1f") for kind in times]
    note = f"At most {GOAL:g} is the goal of each."
    report.table(Table("added by", columns, [*rows, ("all of the above off, in all", *plain)], note))
    report.panels = [panel(kind, own) for kind, own in times.items()]
    report.raw = times
    report.finish()


def measured(rounds: int, calls: int) -> dict[str, dict[str, list[float]]]:
    request = httpx.Request("GET", URL, extensions={"timeout": httpx.Timeout(None).as_dict()})
    upstreams = {name: Resilience({"upstreams": {"payments": {**OFF, **own}}}) for name, own in ON.items()}
    sync = {name: one.transport(Null()) for name, one in upstreams.items()}
    in_loop = {name: one.async_transport(AsyncNull()) for name, one in upstreams.items()}
    with asyncio.Runner() as runner:
        return {
            "sync": microseconds(
                {name: lambda one=one: one.handle_request(request) for name, one in sync.items()},
                rounds,
                calls,
                run_sync,
            ),
            "async": microseconds(
                {name: lambda one=one: one.handle_async_request(request) for name, one in in_loop.items()},
                rounds,
                calls,
                lambda call, calls: runner.run(run_async(call, calls)),
            ),
        }


def panel(kind: str, times: dict[str, list[float]]) -> Panel:
    names = sorted((name for name in ON if name != PLAIN), key=lambda name: added(times[name], times[PLAIN]))
    bars = {name: added(times[name], times[PLAIN]) for name in names}
    return Panel(f"added to a call, {kind}", "µs", "", {kind: (list(bars.values()), range(len(bars)))}, names=names)


if __name__ == "__main__":
    main()
