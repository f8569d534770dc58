"""What do calls notice of a thousand reloads of the settings, how fast is a change in force, and what do switches cost?

200 calls a second are made to nginx, by threads or by tasks; another node refuses connections, so its circuit is open.
Meanwhile the settings are replaced a thousand times by others: numbers of each policy, policies that come and go, an
upstream that comes and goes. Then documents are written, and the time is taken until the settings are in force that
they say. Last, a call is made over a transport that answers at once, before a kill switch was thrown, while one is, and
after it was lifted: CPU time of this process, in interleaved rounds.

    python benchmarks/reload.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from harness.command import parse, parser, progress, progress_ends
from harness.picture import Panel
from harness.report import Report, Row, Table
from harness.rounds import added, microseconds, run_sync
from harness.servers import nginx
from overhead import URL, Null

from resilient_http import Resilience
from tests.live.consul import Consul
from tests.live.etcd import Etcd, find_etcd
from tests.live.keepers import ByFunction, InConsul, InEtcd, InFile, InRedis, Keeper
from tests.live.redis import RedisServer, find_redis
from tests.live.reloading import KINDS, Outcome, reload_while_calling
from tests.live.servers import refused_url

PATIENCE = 10.0  # seconds that a change may take before the run is given up
WITHIN = 1.0  # seconds in which a change is to be in force
SWITCHED = "nothing was ever switched"

DOES_NOT_SHOW = (
    "Hundreds of upstreams: a reload composes the rings of those anew that have changed.",
    "How long Kubernetes takes to bring a ConfigMap to its mount, or a registry to tell its members.",
    "Consul itself: its place is taken by a server that was written from its documentation.",
)


def call_row(kind: str, outcome: Outcome) -> Row:
    (objects, blocks), *_, (objects_after, blocks_after) = outcome.objects
    return (
        f"{len(outcome.reloads)} reloads, {kind}",
        (len(outcome.quiet) + len(outcome.busy)) / outcome.seconds,
        len(outcome.busy),
        len(outcome.failed),
        *(_ms(share, part) for part in (outcome.quiet, outcome.busy) for share in (0.5, 0.99)),
        _ms(0.5, outcome.reloads),
        _ms(0.99, outcome.reloads),
        "kept" if outcome.open_circuit else "LOST",
        objects_after - objects,
        blocks_after - blocks,
    )


COLUMNS = [
    ("calls/s", ".0f"),
    ("calls during them", "d"),
    ("failed", "d"),
    ("before: p50 ms", ".1f"),
    ("before: p99 ms", ".1f"),
    ("during: p50 ms", ".1f"),
    ("during: p99 ms", ".1f"),
    ("a reload: p50 ms", ".1f"),
    ("a reload: p99 ms", ".1f"),
    ("open circuit", ""),
    ("more objects", "+d"),
    ("more blocks", "+d"),
]


def _ms(share: float, seconds: list[float]) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))] * 1000 if seconds else 0.0


def calls(options: argparse.Namespace, report: Report) -> None:
    rows: list[Row] = []
    with nginx() as url, refused_url() as dead:
        for kind in KINDS:
            progress(f"{options.reloads} reloads during calls, {kind}")
            every = options.seconds / options.reloads
            outcome = reload_while_calling(
                kind, url, dead, rate=options.rate, reloads=options.reloads, every=every, quiet=options.quiet
            )
            rows.append(call_row(kind, outcome))
            report.raw[kind] = {"failed": list(map(repr, outcome.failed))}
            report.goal(f"failed calls, {kind}", len(outcome.failed), most=0)
            slow = _ms(0.5, outcome.reloads)
            report.goal(f"a reload, {kind}, ms", slow, most=50)
    progress_ends()
    report.table(
        Table("settings", COLUMNS, rows, "Objects and blocks are counted after the first 50 reloads, and after all.")
    )


@contextmanager
def keepers(report: Report) -> Iterator[dict[str, Keeper]]:
    """Every place of a document that there is here."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found: dict[str, Keeper] = {"file": InFile(root), "function (asked every 0.1 s)": ByFunction()}
        found["consul"] = InConsul(stack.enter_context(Consul()))
        etcd, redis = find_etcd(), find_redis()
        if etcd is None:
            report.left_out("etcd", "not installed: apt-get install etcd-server")
        else:
            (root / "etcd").mkdir()
            found["etcd"] = InEtcd(stack.enter_context(Etcd(etcd, root / "etcd")))
        if redis is None:
            report.left_out("redis", "not installed: apt-get install redis-server")
        else:
            found["redis"] = InRedis(stack.enter_context(RedisServer(redis, root)))
        yield found


def in_force(options: argparse.Namespace, report: Report) -> None:
    rows: list[Row] = []
    with keepers(report) as found:
        for name, keeper in found.items():
            progress(f"changes in force: {name}")
            took = [seconds * 1000 for seconds in changes(keeper, options.changes)]
            rows.append((name, len(took), min(took), statistics.median(took), max(took)))
            report.raw[name] = took
            report.goal(f"a change is in force, {name}: the slowest, s", max(took) / 1000, most=WITHIN)
    progress_ends()
    columns = [("changes", "d"), ("least ms", ".0f"), ("median ms", ".0f"), ("most ms", ".0f")]
    note = "From the moment before the write to that at which a call would go by what it says."
    report.table(Table("document in", columns, rows, note))
    report.panels.append(
        Panel(
            "a change is in force",
            "milliseconds after the write",
            "",
            {"most": ([row[4] for row in rows], list(range(len(rows))))},
            names=[str(row[0]) for row in rows],
        )
    )


def changes(keeper: Keeper, count: int) -> Iterator[float]:
    """Seconds until each of so many documents is in force."""
    settings = {"watch": keeper.watch, "upstreams": {"payments": {"endpoints": ["http://10.0.0.1:8080"]}}}
    with Resilience(settings) as resilience:
        transport = Null()
        with resilience.client(transport=transport) as client:
            client.get("http://payments/")
            _until(lambda: resilience.status()["watch"]["age"] is not None)
            for number in range(count):
                total = 5.0 + number
                began = time.perf_counter()
                keeper.put({"upstreams": {"payments": {"timeout": {"total": total}}}})
                _until(lambda: resilience.settings.upstreams["payments"].timeout.total == total)  # noqa: B023
                yield time.perf_counter() - began
                time.sleep(0.3)  # so that a poll is not always as far away


def _until(condition: Callable[[], bool]) -> None:
    until = time.perf_counter() + PATIENCE
    while not condition():
        if time.perf_counter() > until:
            message = f"not within {PATIENCE:g} s"
            raise TimeoutError(message)
        time.sleep(0.001)


def switches(options: argparse.Namespace, report: Report) -> None:
    with ExitStack() as stack:

        def client(prepare: Callable[[Resilience], object], **root: Any) -> Any:
            settings = {"upstreams": {"payments": {"endpoints": ["http://10.0.0.1:8080"]}}, **root}
            resilience = stack.enter_context(Resilience(settings))
            prepare(resilience)
            made = stack.enter_context(resilience.client(transport=Null()))
            made.get(URL)
            return made

        def thrown_and_lifted(resilience: Resilience) -> None:
            resilience.switch("payments").shed(for_=600, by="the benchmark")
            resilience.switch("payments").lift(by="the benchmark")

        ways = {
            SWITCHED: client(lambda _: None),
            "one was thrown, and lifted": client(thrown_and_lifted),
            "retries are off": client(lambda it: it.switch("payments").retries_off(for_=6000, by="the benchmark")),
            "1 % is shed (of a call that is not)": client(
                lambda it: it.switch("payments").shed(for_=6000, by="the benchmark", share=1e-9)
            ),
            "a document is watched": client(lambda _: None, watch={"source": nothing, "interval": 60.0}),
        }
        measured = microseconds(
            ways, options.rounds, options.calls, lambda made, count: run_sync(lambda: made.get(URL), count)
        )
    rows = [
        (
            name,
            statistics.median(measured[name]),
            added(measured[name], measured[SWITCHED]) if name != SWITCHED else None,
        )
        for name in ways
    ]
    report.table(Table("a call, while", [("µs per call", ".1f"), ("added µs", "+.1f")], rows))
    lifted = next(figures[2] for figures in rows if figures[0].startswith("one was"))
    report.goal("what a switch adds that is not thrown, µs", lifted, most=1.0)


def nothing() -> None:
    """A document that is none."""


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rate", type=float, default=200.0, help="calls per second (default: 200)")
    own.add_argument("--reloads", type=int, default=1000, help="how many (default: 1000)")
    own.add_argument("--seconds", type=float, default=30.0, help="over which they are spread (default: 30)")
    own.add_argument("--quiet", type=float, default=5.0, help="seconds of calls before them (default: 5)")
    own.add_argument("--changes", type=int, default=20, help="documents for each source (default: 20)")
    own.add_argument("--rounds", type=int, default=15, help="of the calls with switches (default: 15)")
    own.add_argument("--calls", type=int, default=1000, help="of each in a round (default: 1000)")
    short = {"rate": 50.0, "reloads": 20, "seconds": 0.5, "quiet": 0.2, "changes": 2, "rounds": 2, "calls": 20}
    options = parse(own, short)
    report = Report(
        "reload",
        (__doc__ or "").partition("\n")[0],
        options,
        method=f"{options.rate:g} calls a second aimed at, {options.reloads} reloads within {options.seconds:g} s; "
        f"{options.changes} documents for each source; {options.rounds} rounds of {options.calls} calls with switches",
        does_not_show=DOES_NOT_SHOW,
        packages=["watchfiles", "redis"],
    )
    calls(options, report)
    in_force(options, report)
    switches(options, report)
    json.dumps(report.raw)
    report.finish()


if __name__ == "__main__":
    main()
