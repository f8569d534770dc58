"""How many calls a second does the simulation make, and does it take more memory the longer it runs?

The settings are all defaults, with three nodes. Time is CPU time of this process, on one core. Scenarios take turns in
rounds; the memory is Python's own, at its peak, in a run of its own.

    python benchmarks/simulate.py
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import tracemalloc

from harness.command import parse, parser, progress
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import interleaved

from resilient_http import Settings
from resilient_http.simulate import Scenario, load_scenario, simulate

LEAST, GOAL = 10_000, 30_000  # calls a second
GROWTH = 1.1  # times the memory of a run half as long
SETTINGS = Settings(upstreams={"payments": {"endpoints": [f"http://10.0.0.{node}:8080" for node in (1, 2, 3)]}})
CALM = "calm"
SCENARIOS = (CALM, "dead-node", "brown-out", "slow-tier", "metastable")
DOES_NOT_SHOW = (
    "Other settings: hedges make more requests, and so do retries; a listener cannot be there.",
    "What the whole command takes: Python starts, and settings are read, in about half a second.",
)


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rounds", type=int, default=7, help="each scenario runs once in each (default: 7)")
    own.add_argument("--seconds", type=float, default=90.0, help="of the calm scenario, virtual (default: 90)")
    own.add_argument("--scenarios", nargs="*", default=SCENARIOS, help="which (default: five of them)")
    options = parse(own, {"rounds": 1, "seconds": 2.0, "scenarios": [CALM]})
    report = Report(
        "simulate",
        "How many calls a second does the simulation make, and does it take more memory the longer it runs?",
        options,
        method=f"CPU time; medians of {options.rounds} interleaved rounds",
        does_not_show=DOES_NOT_SHOW,
        packages=["pydantic"],
        partial=tuple(options.scenarios) != SCENARIOS,
    )
    show_speed(report, options)
    show_memory(report, options)
    report.finish()


def show_speed(report: Report, options: argparse.Namespace) -> None:
    scenarios = {name: scenario(name, options.seconds) for name in options.scenarios}
    measured = interleaved(scenarios, options.rounds, speed, what="simulated")
    rows = [
        (name, own[0][0], statistics.median(each for _, each, _ in own), own[0][2]) for name, own in measured.items()
    ]
    columns = [("calls", ",d"), ("calls/s", ",.0f"), ("requests a call", ".2f")]
    note = (
        "A refusal is an exception with its message, which costs more than an answer. The last one has ten processes."
    )
    report.table(Table("simulated", columns, rows, note))
    report.goal("calm: calls a second, at least", rows[0][2], least=LEAST)
    report.goal("calm: calls a second", rows[0][2], least=GOAL)
    report.raw["simulated"] = measured
    speeds = [row[2] for row in rows]
    panel = Panel("simulated", "calls/s", "", {"": (speeds, range(len(rows)))}, names=[row[0] for row in rows])
    report.panels.append(panel)


def show_memory(report: Report, options: argparse.Namespace) -> None:
    peak(scenario(CALM, 1.0))  # what is kept once
    rows = []
    for times in (2, 4, 8):
        progress(f"memory, {times} times as long")
        rows.append((f"{times * options.seconds:g} s", *peak(scenario(CALM, times * options.seconds))))
    note = "Kept are 240 slices of a run, and in each how many callers waited how long, to 4 %: those fill up."
    report.table(Table("memory of a run of", [("calls", ",d"), ("MB at the peak", ".2f")], rows, note))
    report.goal("MB at the peak, beside a run half as long: times", rows[2][2] / rows[1][2], most=GROWTH)
    report.raw["memory"] = rows


def scenario(name: str, seconds: float) -> Scenario:
    if name != CALM:
        return load_scenario(name)
    every = {"latency": {"median": 0.02, "sigma": 0.4}, "workers": 10, "queue": 100}
    return Scenario(phases=[{"duration": seconds, "rate": 300, "deadline": 2.0, "every": every}])


def speed(of: Scenario) -> tuple[int, float, float | None]:
    """Calls, calls a second, and requests a call."""
    began = time.process_time()
    total = simulate(SETTINGS, of).total
    return total.calls, total.calls / (time.process_time() - began), total.requests


def peak(of: Scenario) -> tuple[int, float]:
    """Calls, and megabytes."""
    gc.collect()
    tracemalloc.start()
    calls = simulate(SETTINGS, of).total.calls
    megabytes = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return calls, megabytes


if __name__ == "__main__":
    main()
