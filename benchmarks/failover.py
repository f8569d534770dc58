"""What do calls notice when one of three nodes dies, or hangs, and how soon is it used again when it is back?

200 calls a second that may be repeated are made to three nodes in processes of their own, by threads or by tasks,
whether or not those before them were answered. One node is killed with SIGKILL and started again, or stopped with
SIGSTOP and resumed. Settings are the defaults, but for how long a circuit is open, an attempt may take and a slow start
lasts.

    python benchmarks/failover.py
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import asdict
from typing import Any

from harness.command import parse, parser, progress, progress_ends
from harness.picture import Panel
from harness.report import Report, Row, Table

from tests.live.failover import KINDS, NODES, OUTAGES, RUN, Made, Outcome, Plan, fail_over, p

JITTER = 1.2  # of circuit.open_for
SLICE = 0.5  # seconds of a point of the picture

DOES_NOT_SHOW = (
    "A machine that dies with its kernel: that sends no resets, so that calls under way there hang, as with SIGSTOP.",
    (
        "A fleet at its limit: the two nodes that are left bear any number of requests at once. Where they do not, "
        "limit what they are given (`concurrency`)."
    ),
    (
        "Calls that must not be repeated: those that a dying node had taken fail, and the others go elsewhere all the "
        "same, because they provably were not sent."
    ),
)


def row(kind: str, outage: str, outcome: Outcome) -> Row:
    calls = outcome.calls
    return (
        f"{outage}, {kind}",
        len(calls),
        len(outcome.failed),
        statistics.fmean(call.attempts for call in calls),
        max(call.attempts for call in calls),
        *(_ms(share, part) for part in (outcome.before, outcome.during, outcome.after) for share in (0.5, 0.99)),
        _ms(0.99, outcome.settled),
        outcome.back_in,
    )


def _ms(share: float, calls: list[Made]) -> float | None:
    return p(share, calls) * 1000 if calls else None


COLUMNS = [
    ("calls", "d"),
    ("failed", "d"),
    ("attempts per call", ".3f"),
    ("most attempts", "d"),
    ("before: p50 ms", ".0f"),
    ("before: p99 ms", ".0f"),
    ("during: p50 ms", ".0f"),
    ("during: p99 ms", ".0f"),
    ("after: p50 ms", ".0f"),
    ("after: p99 ms", ".0f"),
    ("during, once an attempt's time has passed: p99 ms", ".0f"),
    ("back in use after s", ".2f"),
]


def panel(title: str, outcomes: dict[str, Outcome]) -> Panel:
    series = {}
    for name, outcome in outcomes.items():
        slices: dict[int, list[Made]] = {}
        for call in outcome.calls:
            slices.setdefault(int(call.at / SLICE), []).append(call)
        points = sorted(slices.items())
        series[name] = ([place * SLICE for place, _ in points], [p(0.99, calls) for _, calls in points])
    one = next(iter(outcomes.values()))
    span = (one.fell, one.rose, title)
    return Panel(f"{title}: the slowest of a hundred calls", "seconds", "seconds", series, log_y=True, span=span)


def goals(report: Report, outcomes: dict[tuple[str, str], Outcome], plan: Plan) -> None:
    every = list(outcomes.values())
    report.goal("calls that failed", sum(len(one.failed) for one in every), most=0)
    report.goal("attempts of one call", max(call.attempts for one in every for call in one.calls), most=2)
    ratios = [p(0.99, one.settled) / p(0.99, one.before) for one in every if one.settled and one.before]
    report.goal("p99 after one attempt's time, times the p99 before", max(ratios, default=None), most=2)
    waits = [one.back_in for one in every]
    slowest = None if None in waits else max(wait for wait in waits if wait is not None)
    least = JITTER * plan.open_for + plan.slow_start
    report.goal("seconds until the node is back in use (open_for with its jitter, and slow start)", slowest, most=least)


def run(options: argparse.Namespace, plan: Plan, report: Report) -> None:
    outcomes: dict[tuple[str, str], Outcome] = {}
    for outage in OUTAGES:
        for kind in KINDS:
            progress(f"{outage}, {kind}")
            outcomes[kind, outage] = fail_over(kind, outage, plan)
    progress_ends()
    late = max(call.at - call.due for one in outcomes.values() for call in one.calls)
    note = (
        f"Back in use: at least half of its share of {RUN} calls in a row. "
        f"Calls were made at most {late * 1000:.0f} ms too late."
    )
    rows = [row(kind, outage, outcome) for (kind, outage), outcome in outcomes.items()]
    report.table(Table("What happens to one node of three", COLUMNS, rows, note))
    for outage in OUTAGES:
        report.panels.append(panel(outage, {kind: outcomes[kind, outage] for kind in KINDS}))
    goals(report, outcomes, plan)
    report.raw = {f"{outage}, {kind}": facts(outcome) for (kind, outage), outcome in outcomes.items()}


def facts(outcome: Outcome) -> dict[str, Any]:
    repeated = [asdict(call) for call in outcome.calls if call.attempts != 1 or call.error]
    return {"fell": outcome.fell, "rose": outcome.rose, "back_in": outcome.back_in, "repeated": repeated}


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rate", type=float, default=200.0, help="calls per second (default: 200)")
    own.add_argument("--takes", type=float, default=0.05, help="seconds that a node takes (default: 0.05)")
    own.add_argument("--attempt", type=float, default=1.0, help="seconds that an attempt may take (default: 1)")
    own.add_argument("--open-for", type=float, default=2.0, help="circuit.open_for (default: 2)")
    own.add_argument("--slow-start", type=float, default=2.0, help="balance.slow_start (default: 2)")
    own.add_argument("--before", type=float, default=5.0, help="seconds before the outage (default: 5)")
    own.add_argument("--down", type=float, default=8.0, help="seconds of the outage (default: 8)")
    own.add_argument("--warm-up", type=float, default=1.0, help="seconds that do not count (default: 1)")
    own.add_argument("--after", type=float, default=8.0, help="seconds after it (default: 8)")
    short = {
        "warm_up": 0.2,
        "before": 0.4,
        "down": 0.8,
        "after": 0.8,
        "attempt": 0.3,
        "open_for": 0.2,
        "slow_start": 0.2,
    }
    options = parse(own, {"rate": 60.0, **short})
    names = ("rate", "takes", "before", "down", "after", "attempt", "open_for", "slow_start", "warm_up")
    plan = Plan(**{name: getattr(options, name) for name in names})
    report = Report(
        "failover",
        "What do calls notice when one of three nodes dies, or hangs, and how soon is it used again when it is back?",
        options,
        method=f"one run each, of {plan.rate:g} calls a second to {NODES} nodes that take {plan.takes * 1000:g} ms; an "
        f"attempt may take {plan.attempt:g} s, a circuit is open for {plan.open_for:g} s, slow start lasts "
        f"{plan.slow_start:g} s, the outage {plan.down:g} s",
        does_not_show=DOES_NOT_SHOW,
    )
    run(options, plan, report)
    report.finish()


if __name__ == "__main__":
    main()
