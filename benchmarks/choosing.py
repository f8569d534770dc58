"""What does choosing an endpoint cost, by balancer and number of endpoints, and what to settle the attempt?

Nothing is sent: the endpoints of an upstream are asked for one, with its circuit's permit, and told how it went. Half
of them have other weights than the rest, which is the dearer case. CPU time of this process; rounds are interleaved.

    python benchmarks/choosing.py
"""

from __future__ import annotations

import random
import statistics
import time
from functools import partial
from typing import Any

from harness.command import parse, parser
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import interleaved

from resilient_http.state.balancers.ewma import ewma
from resilient_http.state.balancers.p2c import P2C
from resilient_http.state.balancers.ring import Ring
from resilient_http.state.balancers.weighted import Weighted
from resilient_http.state.circuit import Circuit
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.endpoints import Endpoints
from resilient_http.state.outcome import Outcome

BALANCERS: dict[str, Any] = {"p2c": P2C, "ewma": ewma, "weighted": Weighted, "hash": Ring}
GOALS = {10: 5.0, 1000: 10.0}  # microseconds that choosing may cost

DOES_NOT_SHOW = (
    "Endpoints of which most are down: then more of them are asked before one is found.",
    "What it costs to arrange them anew when they change: a ring of a thousand takes half a second.",
    "What the rest of the pipeline costs: benchmarks/pipeline.py.",
)


def fleet(balancer: Any, count: int) -> Endpoints:
    members = [
        Endpoint("http", f"10.0.{number // 250}.{number % 250}", 8080, weight=1.0 + number % 2, circuit=Circuit())
        for number in range(count)
    ]
    return Endpoints(members, balancer)


def round_of(endpoints: Endpoints, calls: int, *, repeat: bool) -> tuple[float, float]:
    """Microseconds to choose, and to settle."""
    rng = random.Random(1)
    tried = endpoints.members[:1] if repeat else ()
    keys = [f"user-{number}" for number in range(calls)]
    chosen = []
    began = time.process_time()
    for number, key in enumerate(keys):
        choice = endpoints.choose(number / 1000, rng, tried, key=key)
        chosen.append(choice)
    between = time.process_time()
    for choice in chosen:
        if choice is not None:
            member, permit = choice
            endpoints.settle(member, permit, Outcome.SUCCESS, calls / 1000, answered=0.01, took=0.01)
    ended = time.process_time()
    return (between - began) / calls * 1e6, (ended - between) / calls * 1e6


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rounds", type=int, default=15, help="each is measured in each (default: 15)")
    own.add_argument("--calls", type=int, default=2000, help="in a round (default: 2000)")
    options = parse(own, {"rounds": 2, "calls": 50})
    report = Report(
        "choosing",
        "What does choosing an endpoint cost, by balancer and number of endpoints, and what to settle the attempt?",
        options,
        method=f"medians of {options.rounds} interleaved rounds of {options.calls} choices",
        does_not_show=DOES_NOT_SHOW,
    )
    for count, goal in GOALS.items():
        fleets = {name: fleet(balancer, count) for name, balancer in BALANCERS.items()}
        first = interleaved(fleets, options.rounds, partial(round_of, calls=options.calls, repeat=False))
        again = interleaved(fleets, options.rounds, partial(round_of, calls=options.calls, repeat=True))
        rows = [
            (
                name,
                statistics.median(choosing for choosing, _ in first[name]),
                statistics.median(choosing for choosing, _ in again[name]),
                statistics.median(settling for _, settling in first[name]),
            )
            for name in BALANCERS
        ]
        columns = [("to choose, µs", ".1f"), ("for a repeat, µs", ".1f"), ("to settle, µs", ".1f")]
        report.table(Table(f"{count:,} endpoints", columns, rows))
        for name, choosing, *_ in rows:
            report.goal(f"choosing among {count:,} by {name}, µs", choosing, most=goal)
        series = {"first": ([row[1] for row in rows], [float(place) for place in range(len(rows))])}
        report.panels.append(Panel(f"{count:,} endpoints", "µs to choose", "", series, names=list(BALANCERS)))
        report.raw[str(count)] = {"first": first, "repeat": again}
    report.finish()


if __name__ == "__main__":
    main()
