"""How many requests a second does a process make, and what does each cost, one at a time and many at once?

All contenders get the same small JSON from the same nginx over loopback, with as many connections as calls at once.
Each cell of a table is a process of its own: it counts the calls that end in a window of time once all connections are
there. Rounds are interleaved, and a ratio compares with bare httpx in the same round; the tables show medians.

    python benchmarks/throughput.py             what there are goals for
    python benchmarks/throughput.py --peers     and everybody else
    python benchmarks/throughput.py --choices   what is the user's to choose: engine, event loop, JSON
    python benchmarks/throughput.py --at 200    at one concurrency
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness import BENCHMARKS
from harness.command import parse, parser
from harness.contenders import (
    AIOHTTP,
    BARE,
    IN_TASKS,
    IN_THREADS,
    OF_THE_USERS,
    OURS,
    OURS_AIOHTTP,
    PACKAGES,
    Contender,
)
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import interleaved, ratio
from harness.servers import PATHS, nginx, nginx_version

TASKS, THREADS, AT_ONCE = (1, 10, 50, 200, 1000), (1, 8, 32), (50, 200)
WITH_GOALS = (BARE, OURS, OURS_AIOHTTP, AIOHTTP)
PATIENCE = 15.0  # seconds in which each worker should have had its first answer
HUNG = 120.0

# Contender, compared with whom, kind, at once, at least how many times as many requests.
GOALS = (
    (OURS, BARE, "tasks", 1, 0.95),
    (OURS, BARE, "tasks", 10, 0.95),
    (OURS, BARE, "tasks", 200, 10.0),
    (OURS, BARE, "threads", 32, 3.0),
    (OURS_AIOHTTP, BARE, "tasks", 200, 20.0),
    (OURS_AIOHTTP, AIOHTTP, "tasks", 50, 0.6),
    (OURS_AIOHTTP, AIOHTTP, "tasks", 200, 0.6),
)

DOES_NOT_SHOW = (
    (
        "Networks: over loopback a request costs processor time and nothing else. Where the other side takes "
        "milliseconds, "
        "the rates of all contenders come closer to each other; the processor time of each request does not."
    ),
    "Big bodies, TLS, HTTP/2, or connections that are opened for each request.",
    "Several endpoints: resilient_http has one here, as the others do.",
    (
        "What the processor has left: nginx and the client each have a core here. Where cores are fewer, or "
        "others use them, all rates fall."
    ),
    "Equal work: bare httpx keeps no deadline, no circuit and no journal, and what the engines alone do is less still.",
)

Figures = dict[tuple[str, int], list[dict[str, Any]]]


def measured(
    kind: str, contenders: Mapping[str, Contender], levels: Sequence[int], origin: str, options: Any
) -> Figures:
    """Contender and concurrency to what each round gave."""
    figures: Figures = {}
    for level in levels:

        def run(contender: Contender, level: int = level) -> dict[str, Any]:
            what = {"kind": kind, "contender": contender.name, "workers": level, "origin": origin}
            return cell({**what, "seconds": options.seconds, "patience": options.patience})

        rounds = interleaved(contenders, options.rounds, run, what=f"{level} {kind}")
        figures |= {(name, level): own for name, own in rounds.items()}
    return figures


def cell(what: dict[str, Any]) -> dict[str, Any]:
    """The figures of one process."""
    command = [sys.executable, "-m", "harness.cell", json.dumps(what)]
    finished = subprocess.run(
        command, cwd=BENCHMARKS, env=os.environ | PATHS, capture_output=True, text=True, timeout=HUNG, check=False
    )
    if not finished.stdout:
        sys.exit(f"{what['contender']} with {what['workers']} {what['kind']} gave no figures:\n{finished.stderr}")
    return json.loads(finished.stdout)


def table(title: str, figures: Figures, form: str, value: Callable[[str, int], float | None], note: str = "") -> Table:
    names, levels = list(dict.fromkeys(name for name, _ in figures)), list(dict.fromkeys(at for _, at in figures))
    return Table(
        title,
        [(f"{level:,}", form) for level in levels],
        [(name, *(value(name, level) for level in levels)) for name in names],
        note,
    )


def show(report: Report, kind: str, figures: Figures) -> None:
    def median(key: str) -> Callable[[str, int], float | None]:
        return lambda name, at: middle([one[key] for one in figures[name, at]])

    def to_bare(name: str, at: int) -> float | None:
        return times(figures, name, BARE, at)

    report.table(table(f"{kind}: requests per second, at once", figures, ",.0f", median("rate")))
    report.table(table(f"{kind}: CPU ms per request, at once", figures, ".2f", median("cpu_ms")))
    report.table(table(f"{kind}: requests, times bare httpx, at once", figures, ".2f", to_bare, told(figures)))


def told(figures: Figures) -> str:
    """What the figures alone would hide: failures, and windows that began too early."""
    failed = {name for (name, _), own in figures.items() if any(one["failed"] for one in own)}
    unsteady = {f"{name} at {at:,}" for (name, at), own in figures.items() if not all(one["steady"] for one in own)}
    sentences = []
    if failed:
        sentences.append(f"Calls failed, and are not counted: {', '.join(sorted(failed))}.")
    if unsteady:
        sentences.append(f"Not every worker had had an answer when the window began: {', '.join(sorted(unsteady))}.")
    return " ".join(sentences)


def middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def times(figures: Figures, name: str, base: str, at: int) -> float | None:
    if not {(name, at), (base, at)} <= figures.keys():
        return None
    return ratio([one["rate"] for one in figures[name, at]], [one["rate"] for one in figures[base, at]])


def panel(kind: str, figures: Figures) -> Panel:
    names, levels = list(dict.fromkeys(name for name, _ in figures)), list(dict.fromkeys(at for _, at in figures))
    series = {
        name: (levels, [middle([one["rate"] for one in figures[name, level]]) for level in levels]) for name in names
    }
    return Panel(f"{kind}", "at once", "requests per second", series, log_x=True, log_y=True, ticks=levels)


def takes_part(report: Report, contenders: Mapping[str, Contender], *, everybody: bool) -> dict[str, Contender]:
    part = {}
    for name, contender in contenders.items():
        if not everybody and name not in WITH_GOALS:
            continue
        if contender.missing:
            report.left_out(name, contender.missing)
        else:
            part[name] = contender
    return part


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rounds", type=int, default=3, help="each cell is measured once in each (default: 3)")
    own.add_argument("--seconds", type=float, default=1.5, help="of a window (default: 1.5)")
    own.add_argument("--patience", type=float, default=PATIENCE, help="seconds until it begins anyway (default: 15)")
    own.add_argument("--at", type=int, nargs="*", help="concurrencies, in tasks and in threads (default: all)")
    which = own.add_mutually_exclusive_group()
    which.add_argument("--peers", action="store_true", help="measure everybody else too")
    which.add_argument("--choices", action="store_true", help="measure what is the user's to choose, in tasks")
    options = parse(own, {"rounds": 1, "seconds": 0.2, "at": [8], "patience": 2.0})
    report = Report(
        "throughput_peers" if options.peers else "throughput_choices" if options.choices else "throughput",
        "How many requests a second does a process make, and what does each cost, one at a time and many at once?",
        options,
        method=f"medians of {options.rounds} interleaved rounds of {options.seconds:g} s, over loopback against nginx",
        does_not_show=DOES_NOT_SHOW,
        packages=PACKAGES,
        tools={"nginx": nginx_version()},
        partial=options.at is not None,
    )
    kinds = {
        "tasks": (takes_part(report, IN_TASKS, everybody=options.peers), options.at or TASKS),
        "threads": (takes_part(report, IN_THREADS, everybody=options.peers), options.at or THREADS),
    }
    if options.choices:
        kinds = {"tasks": (takes_part(report, OF_THE_USERS, everybody=True), options.at or AT_ONCE)}
    figures: dict[str, Figures] = {}
    with nginx() as origin:
        for kind, (contenders, levels) in kinds.items():
            figures[kind] = measured(kind, contenders, levels, origin, options)
            show(report, kind, figures[kind])
            report.panels.append(panel(kind, figures[kind]))
    for name, base, kind, at, least in () if options.choices else GOALS:
        value = times(figures[kind], name, base, at)
        report.goal(f"{name}, {at} {kind}, times {base}", value, least=least)
    report.raw = {kind: [[*key, rounds] for key, rounds in own.items()] for kind, own in figures.items()}
    report.finish()


if __name__ == "__main__":
    main()
