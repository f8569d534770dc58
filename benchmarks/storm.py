"""What do the users of a service see while its upstream is out for ten seconds, and what does the upstream see?

Users arrive at the service at a constant rate from outside (k6), whether or not those before them were answered. The
service makes one call to the upstream for each. The upstream serves a few requests at a time and lets others wait in a
queue, and serves what it has taken in even when nobody waits for it any more. Ten seconds long it hangs, or answers
503. Every contender has its turn in each round, with a service and an upstream of its own, in processes of their own.

    python benchmarks/storm.py                  the upstream hangs
    python benchmarks/storm.py --outage 503     it answers 503 at once
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.request import urlopen

from harness.command import parse, parser
from harness.contenders import (
    AIOHTTP_RETRY,
    BARE,
    IN_TASKS,
    IN_THREADS,
    OURS,
    PACKAGES,
    REQUESTS,
    RETRIES,
    TENACITY,
    Contender,
    Target,
)
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import interleaved, quantile
from harness.servers import PATHS, ask, node
from harness.users import Visit, arriving, find_k6

from tests.live.processes import served

TURNS = {
    "httpx": ("tasks", BARE),
    "resilient_http": ("tasks", OURS),
    "httpx-retries": ("tasks", RETRIES),
    "tenacity": ("tasks", TENACITY),
    "aiohttp-retry": ("tasks", AIOHTTP_RETRY),
    "requests": ("threads", REQUESTS),
}
SLOTS, SERVICE_TIME, QUEUE = 8, 0.05, 400  # of the upstream: 160 requests a second
RATE = 100
PATIENCE = 1.0  # seconds within which an answer is good; users wait twice as long, to be seen
ATTEMPT = 0.5
WARM_UP = 5  # calls, before users come
STARTING = 30.0  # seconds that k6 may take
WELL, IN_A_ROW = 0.95, 3  # share of good answers, for so many seconds, from which on all is well again

DOES_NOT_SHOW = (
    (
        "Several nodes of the upstream: with one that is left, a balancer goes there, and most users see nothing "
        "(python -m example_project tells that story)."
    ),
    "Processes of the service beside each other: there is one, so a circuit learns from all calls that are made.",
    (
        "Other capacities: how far the upstream is from its limit, and how long its queue is, decides how long a "
        "storm lasts after the outage. Here 100 requests a second come to one that bears 160."
    ),
    (
        "The best settings for this outage: each contender makes up to three attempts of 0.5 s (bare httpx one), "
        "and is else as it comes, but that the breaker opens for 5 s as ours does, and not for 60."
    ),
)


@dataclass(frozen=True)
class Storm:
    """How long the parts of a turn are, in seconds, and what happens in the middle one."""

    before: float
    outage: float
    after: float
    kind: str

    @property
    def seconds(self) -> float:
        return self.before + self.outage + self.after


@dataclass(frozen=True)
class Turn:
    """What one contender did in one round, second by second from the first arrival on.

    Attributes:
        arrived: Users.
        good: Those of them who had a good answer in time.
        upstream: Requests that the upstream got.
        waits: Seconds that each user waited who came in the outage, in order of length.
        missed: Users who should have come, and could not.
    """

    arrived: list[int]
    good: list[int]
    upstream: list[int]
    waits: list[float]
    missed: int

    def share(self, begin: float, end: float) -> float:
        """Of the users who came in these seconds: how many had a good answer."""
        span = slice(int(begin), int(end))
        return sum(self.good[span]) / max(1, sum(self.arrived[span]))

    def amplified(self, begin: float, end: float) -> float:
        """Requests at the upstream for each user who came in these seconds."""
        span = slice(int(begin), int(end))
        return sum(self.upstream[span]) / max(1, sum(self.arrived[span]))

    def well_again(self, storm: Storm) -> float:
        """Seconds from the end of the outage until all is well, infinite when it was not in this run."""
        end = int(storm.before + storm.outage)
        for second in range(end, int(storm.seconds) - IN_A_ROW + 1):
            if all(self.share(at, at + 1) >= WELL for at in range(second, second + IN_A_ROW)):
                return float(second - end)
        return math.inf


def take_turn(kind: str, contender: Contender, storm: Storm) -> Turn:
    with (
        tempfile.TemporaryDirectory() as directory,
        node("limited", slots=SLOTS, seconds=SERVICE_TIME, queue=QUEUE) as upstream,
    ):
        target = Target(upstream, attempt=ATTEMPT, total=PATIENCE)
        what = {"kind": kind, "contender": contender.name, "target": asdict(target)}
        command = ["uvicorn", "--fd", "FD", "--log-level", "critical", "--no-access-log", "harness.service:app"]
        with served(command, PATHS | {"SERVICE": json.dumps(what)}) as service:
            for _ in range(WARM_UP):
                urlopen(service.url, timeout=PATIENCE * 10).close()
            came = arrived_at(upstream)
            with arriving(
                f"{service.url}/", rate=RATE, seconds=storm.seconds, patience=2 * PATIENCE, directory=Path(directory)
            ) as users:
                began = first_arrival(upstream, came)
                sleep_until(began + storm.before)
                ask(f"{upstream}/_outage/{storm.kind}")
                sleep_until(began + storm.before + storm.outage)
                ask(f"{upstream}/_outage/none")
        arrived = ask(f"{upstream}/_account")["arrived"]
    return turn_of(users.visits, {int(tenth): count for tenth, count in arrived.items()}, users.missed, began, storm)


def first_arrival(upstream: str, came: int) -> float:
    """When a user was seen at the upstream, in wall-clock seconds."""
    until = time.monotonic() + STARTING
    while arrived_at(upstream) == came:
        if time.monotonic() > until:
            sys.exit(f"k6 has sent nobody within {STARTING:g} s")
        time.sleep(0.01)
    return time.time()


def arrived_at(upstream: str) -> int:
    return sum(ask(f"{upstream}/_account")["arrived"].values())


def sleep_until(wall_clock: float) -> None:
    time.sleep(max(0.0, wall_clock - time.time()))


def turn_of(visits: Sequence[Visit], tenths: dict[int, int], missed: int, began: float, storm: Storm) -> Turn:
    seconds = math.ceil(storm.seconds)
    arrived, good, upstream, waits = [0] * seconds, [0] * seconds, [0] * seconds, []
    for visit in visits:
        second = int(visit.sent - began)
        if visit.sent >= began and second < seconds:
            arrived[second] += 1
            good[second] += visit.status == 200 and visit.took <= PATIENCE
            if storm.before <= visit.sent - began < storm.before + storm.outage:
                waits.append(visit.took)
    for tenth, count in tenths.items():
        second = math.floor(tenth / 10 - began)
        if 0 <= second < seconds:
            upstream[second] += count
    return Turn(arrived, good, upstream, sorted(waits), missed)


def show(report: Report, turns: dict[str, list[Turn]], storm: Storm) -> None:
    out, end = storm.before, storm.before + storm.outage
    rows = []
    for name, rounds in turns.items():
        again = statistics.median(turn.well_again(storm) for turn in rounds)
        rows.append((
            name,
            statistics.median(turn.share(0, out) for turn in rounds),
            statistics.median(turn.share(out, end) for turn in rounds),
            statistics.median(turn.share(end, storm.seconds) for turn in rounds),
            f"{again:.0f}" if math.isfinite(again) else f"over {storm.after - IN_A_ROW:.0f}",
            statistics.median(turn.amplified(out, end) for turn in rounds),
            statistics.median(turn.amplified(end, storm.seconds) for turn in rounds),
            statistics.median(quantile(turn.waits, 0.99) for turn in rounds),
        ))  # fmt: skip
    columns = [
        ("good before", ".1%"),
        ("in the outage", ".1%"),
        ("after it", ".1%"),
        ("well again after, s", ""),
        ("upstream requests per user, in it", ".2f"),
        ("after it", ".2f"),
        ("p99 wait in it, s", ".2f"),
    ]
    missed = sum(turn.missed for rounds in turns.values() for turn in rounds)
    note = f"Good: 200 within {PATIENCE:g} s. Well again: {WELL:.0%} good for {IN_A_ROW} s in a row."
    if missed:
        note += f" The machine was too slow to send {missed} requests: do not trust this run."
    report.table(Table("contender", columns, rows, note))


def panels(turns: dict[str, list[Turn]], storm: Storm) -> list[Panel]:
    span = (storm.before, storm.before + storm.outage, f"outage ({storm.kind})")

    def series(key: str) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
        return {
            name: (
                [second + 0.5 for second in range(int(storm.seconds))],
                [statistics.median(counts) for counts in zip(*(getattr(turn, key) for turn in rounds), strict=True)],
            )
            for name, rounds in turns.items()
        }

    return [
        Panel("good answers", "seconds", "per second", series("good"), span=span),
        Panel("requests at the upstream", "seconds", "per second", series("upstream"), span=span),
    ]


def known(name: str) -> str:
    if name not in TURNS:
        message = f"no such contender: {name}"
        raise argparse.ArgumentTypeError(message)
    return name


def chosen(report: Report, options: argparse.Namespace) -> dict[str, tuple[str, Contender]]:
    part = {}
    for name in options.contenders:
        kind, contender = TURNS[name]
        found = (IN_TASKS if kind == "tasks" else IN_THREADS)[contender]
        if found.missing:
            report.left_out(contender, found.missing)
        else:
            part[contender] = (kind, found)
    return part


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument(
        "contenders", nargs="*", type=known, default=list(TURNS), help=f"of {', '.join(TURNS)} (default: all)"
    )
    own.add_argument("--rounds", type=int, default=3, help="each contender has its turn in each (default: 3)")
    own.add_argument("--outage", choices=["hang", "503"], default="hang", help="(default: hang)")
    own.add_argument("--before", type=float, default=3.0, help="seconds (default: 3)")
    own.add_argument("--lasts", type=float, default=10.0, help="seconds of outage (default: 10)")
    own.add_argument("--after", type=float, default=15.0, help="seconds (default: 15)")
    options = parse(own, {"contenders": ["resilient_http"], "rounds": 1, "before": 1.0, "lasts": 1.0, "after": 1.0})
    find_k6()
    storm = Storm(options.before, options.lasts, options.after, options.outage)
    report = Report(
        "storm" if storm.kind == "hang" else f"storm_{storm.kind}",
        "What do the users of a service see while its upstream is out for ten seconds, and what does the upstream see?",
        options,
        method=f"medians of {options.rounds} rounds; {RATE} users a second from outside, to an upstream that bears "
        f"{SLOTS / SERVICE_TIME:.0f} requests a second and lets {QUEUE} wait; after {storm.before:g} s it "
        f"{'hangs' if storm.kind == 'hang' else 'answers 503'} for {storm.outage:g} s",
        does_not_show=DOES_NOT_SHOW,
        packages=[*PACKAGES, "uvicorn", "starlette", "k6"],
        partial=options.contenders != list(TURNS),
    )
    turns = interleaved(chosen(report, options), options.rounds, lambda one: take_turn(*one, storm), what=storm.kind)
    show(report, turns, storm)
    report.panels = panels(turns, storm)
    report.raw = {name: [asdict(turn) | {"waits": None} for turn in rounds] for name, rounds in turns.items()}
    report.finish()


if __name__ == "__main__":
    main()
