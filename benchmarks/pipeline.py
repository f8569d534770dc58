"""What the pipeline costs where somebody looks on, where it refuses, where upstreams are many, and where threads are.

    the standard pipeline, over a transport that answers at once: alone, with a listener, with an OpenTelemetry SDK that
        samples nothing, and with one that records both spans of each call
    a refusal by an open circuit, to the exception
    ten upstreams called among ten thousand, beside ten among ten; and ten thousand called in turn
    a hundred thousand hosts that the settings do not know
    32 threads through one upstream, beside 32 upstreams
    `import resilient_http`, beside `import httpx`, in fresh interpreters

Rounds are interleaved; what is compared is compared within its round.

    python benchmarks/pipeline.py
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
from harness.command import parse, parser, progress
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import added, interleaved, microseconds, ratio, run_async, run_sync
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from overhead import SETTINGS, URL, AsyncNull, Null

from resilient_http import CircuitOpen, Resilience

ADDED, SAMPLED, RECORDED, REFUSED = 15.0, 20.0, 80.0, 25.0  # µs; the goals
FLAT, CONTENDED, IMPORTED, GROWN = 1.1, 0.9, 1.3, 5.0  # ratios, and MB
FEW, MANY, CALLED = 10, 10_000, 10
THREADS = 32
BARE, ALONE, LISTENER, TRACED = "bare", "all policies", "and a listener", "and an SDK that samples nothing"
RECORDING = "and an SDK that records every span"
REQUEST = httpx.Request("GET", URL, extensions={"timeout": httpx.Timeout(None).as_dict()})

DOES_NOT_SHOW = (
    "A network: everything here goes over a transport that answers at once, in one process.",
    "What listeners and exporters do: the listener here does nothing, and spans go nowhere.",
    (
        "Caches of the processor: ten thousand upstreams that are called in turn cost more, because the state of each "
        "is cold; the last row of that table shows how much."
    ),
)


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rounds", type=int, default=21, help="each contender runs once in each (default: 21)")
    own.add_argument("--calls", type=int, default=500, help="per contender and round (default: 500)")
    own.add_argument("--many", type=int, default=MANY, help=f"upstreams (default: {MANY})")
    own.add_argument("--hosts", type=int, default=100_000, help="hosts that no settings know (default: 100000)")
    own.add_argument("--seconds", type=float, default=0.5, help="per round of threads (default: 0.5)")
    options = parse(own, {"rounds": 1, "calls": 10, "many": 100, "hosts": 1100, "seconds": 0.05})
    report = Report(
        "pipeline",
        "What does the pipeline cost where somebody looks on, where it refuses, where upstreams are many, and where "
        "threads are?",
        options,
        method=f"CPU time, where no other is named; medians of {options.rounds} interleaved rounds",
        does_not_show=DOES_NOT_SHOW,
        packages=["opentelemetry-sdk", "pybreaker"],
    )
    show_imports(report, min(options.rounds, 7))
    show_onlookers(report, options)
    show_refusals(report, options)
    show_strangers(report, options)  # before the memory of many upstreams comes back
    show_many(report, options)
    show_threads(report, options)
    report.finish()


def show_onlookers(report: Report, options: argparse.Namespace) -> None:
    def heard(_: object) -> None:
        pass

    alone, listened = Resilience(SETTINGS), Resilience(SETTINGS, listeners=[heard])
    sync = {BARE: Null(), ALONE: alone.transport(Null()), LISTENER: listened.transport(Null())}
    in_loop = {
        BARE: AsyncNull(), ALONE: alone.async_transport(AsyncNull()), LISTENER: listened.async_transport(AsyncNull())
    }  # fmt: skip
    traced, traced_in_loop = alone.transport(Null()), alone.async_transport(AsyncNull())

    def with_sdk(provider: TracerProvider, transport: Any) -> Callable[[], Any]:
        # The provider of a process can be set only once; so it is put in and taken out beneath the public setter.
        def call() -> Any:
            trace._TRACER_PROVIDER = provider  # noqa: SLF001
            try:
                return transport.handle_request(REQUEST)
            finally:
                trace._TRACER_PROVIDER = None  # noqa: SLF001

        return call

    def with_sdk_in_loop(provider: TracerProvider, transport: Any) -> Callable[[], Any]:
        async def call() -> Any:
            trace._TRACER_PROVIDER = provider  # noqa: SLF001
            try:
                return await transport.handle_async_request(REQUEST)
            finally:
                trace._TRACER_PROVIDER = None  # noqa: SLF001

        return call

    recording = TracerProvider()
    recording.add_span_processor(SpanProcessor())  # without one the SDK records nothing
    providers = {TRACED: TracerProvider(sampler=ALWAYS_OFF), RECORDING: recording}
    kinds: dict[str, tuple[dict[str, Any], Any]] = {}
    with asyncio.Runner() as runner:
        kinds["sync"] = (
            {name: lambda one=one: one.handle_request(REQUEST) for name, one in sync.items()}
            | {name: with_sdk(provider, traced) for name, provider in providers.items()},
            run_sync,
        )
        kinds["async"] = (
            {name: lambda one=one: one.handle_async_request(REQUEST) for name, one in in_loop.items()}
            | {name: with_sdk_in_loop(provider, traced_in_loop) for name, provider in providers.items()},
            lambda call, calls: runner.run(run_async(call, calls)),
        )
        for kind, (contenders, run) in kinds.items():
            times = microseconds(contenders, options.rounds, options.calls, run)
            bare = times[BARE]
            rows = [(name, statistics.median(own), added(own, bare)) for name, own in times.items()]
            report.table(Table(f"looked on, {kind}", [("µs per call", ".1f"), ("added to bare", "+.1f")], rows))
            report.goal(f"{kind}: µs added, with a listener", added(times[LISTENER], bare), most=ADDED)
            report.goal(f"{kind}: µs that the SDK adds to it", added(times[TRACED], times[ALONE]), most=SAMPLED)
            recorded = added(times[RECORDING], times[ALONE])
            report.goal(f"{kind}: µs that the SDK adds to it, recording", recorded, most=RECORDED)
            report.raw[f"looked on, {kind}"] = times
            bars = {name: added(own, bare) for name, own in times.items() if name != BARE}
            report.panels.append(
                Panel(f"added, {kind}", "µs", "", {kind: (list(bars.values()), range(len(bars)))}, names=list(bars))
            )


def show_refusals(report: Report, options: argparse.Namespace) -> None:
    resilience = Resilience(SETTINGS)
    for circuit in resilience.circuits("payments").values():
        circuit.open()
    transport = resilience.transport(Null())

    def refused() -> None:
        with suppress(CircuitOpen):
            transport.handle_request(REQUEST)

    times = microseconds({"refused": refused}, options.rounds, options.calls, run_sync)["refused"]
    row = ("three circuits are open, sync", statistics.median(times))
    report.table(Table("refused", [("µs to the exception", ".1f")], [row]))
    report.goal("µs to CircuitOpen", row[1], most=REFUSED)
    report.raw["refused"] = times


def show_many(report: Report, options: argparse.Namespace) -> None:
    few, many = transport_of(FEW), transport_of(options.many)
    requests = [REQUEST.__class__("GET", f"http://u{n}/", extensions=REQUEST.extensions) for n in range(options.many)]
    contenders = {
        f"{CALLED} of {FEW}": in_turn(few, requests[:CALLED]),
        f"{CALLED} of {options.many}": in_turn(many, requests[:CALLED]),
        f"all {options.many} in turn": in_turn(many, requests),
    }
    gc.freeze()  # else each collection between two rounds would look at all that ten thousand upstreams are
    times = microseconds(contenders, options.rounds, options.calls, run_sync)
    gc.unfreeze()
    base = times[f"{CALLED} of {FEW}"]
    rows = [(name, statistics.median(own), ratio(own, base)) for name, own in times.items()]
    report.table(Table("upstreams called", [("µs per call", ".1f"), ("ratio", ".2f")], rows))
    report.goal(f"{options.many} upstreams beside {FEW}: times", rows[1][2], most=FLAT)
    report.raw["upstreams called"] = times


def transport_of(count: int) -> Any:
    progress(f"{count} upstreams are built")
    upstreams = {f"u{number}": {"endpoints": [f"http://10.0.0.1:{1000 + number}"]} for number in range(count)}
    return Resilience({"upstreams": upstreams}).transport(Null())


def in_turn(transport: Any, requests: Sequence[Any]) -> Callable[[], Any]:
    turn = cycle(requests)
    return lambda: transport.handle_request(next(turn))


def show_strangers(report: Report, options: argparse.Namespace) -> None:
    """Hosts without settings: how much memory each thousand of them leaves behind."""
    resilience = Resilience()
    transport, rows = resilience.transport(Null()), []
    before, step = resident(), max(1, options.hosts // 5)
    for number in range(options.hosts):
        transport.handle_request(httpx.Request("GET", f"http://h{number}.test/"))
        if (number + 1) % step == 0:
            rows.append((f"after {number + 1} hosts", len(resilience.status()["upstreams"]), resident() - before))
    report.table(Table("hosts that no settings know", [("kept", "d"), ("MB more than before", ".1f")], rows))
    grown = rows[-1][2] - rows[0][2]
    report.goal("hosts that no settings know: MB grown from the first fifth of them to the last", grown, most=GROWN)
    report.raw["strangers"] = rows


def resident() -> float:
    """Megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def show_threads(report: Report, options: argparse.Namespace) -> None:
    one, own = f"{THREADS} threads through one upstream", f"{THREADS} threads through {THREADS} upstreams"
    names = {one: ["u0"] * THREADS, own: [f"u{number}" for number in range(THREADS)]}
    rates = interleaved(names, min(options.rounds, 11), lambda each: calls_a_second(each, options.seconds))
    rows = [(name, statistics.median(each), ratio(each, rates[own])) for name, each in rates.items()]
    report.table(Table("threads", [("calls/s", ".0f"), ("ratio", ".2f")], rows))
    report.goal("one upstream beside its own for each thread: times", rows[0][2], least=CONTENDED)
    report.raw["threads"] = rates


def calls_a_second(names: Sequence[str], seconds: float) -> float:
    """Calls a second, of a thread for each name."""
    upstreams = {name: {"endpoints": ["http://10.0.0.1:8080"]} for name in set(names)}
    transport = Resilience({"upstreams": upstreams}).transport(Null())
    done, over = [0] * len(names), threading.Event()

    def work(number: int) -> None:
        request = httpx.Request("GET", f"http://{names[number]}/", extensions=REQUEST.extensions)
        while not over.is_set():
            transport.handle_request(request)
            done[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(len(names))]
    for worker in workers:
        worker.start()
    time.sleep(seconds / 5)
    before, began = sum(done), time.perf_counter()
    time.sleep(seconds)
    rate = (sum(done) - before) / (time.perf_counter() - began)
    over.set()
    for worker in workers:
        worker.join()
    return rate


def show_imports(report: Report, rounds: int) -> None:
    statements = ("import httpx", "import resilient_http", "from resilient_http import Resilience")
    times = interleaved({each: each for each in statements}, rounds, import_time, what="a fresh interpreter")
    base = times["import httpx"]
    rows = [(name, statistics.median(own) * 1000, ratio(own, base)) for name, own in times.items()]
    note = "A name is loaded when it is first asked for; the last row is all that a service needs."
    report.table(Table("imported", [("ms", ".0f"), ("ratio", ".2f")], rows, note))
    report.goal("import resilient_http beside import httpx: times", rows[1][2], most=IMPORTED)
    report.raw["imported"] = times


def import_time(statement: str) -> float:
    """Seconds."""
    code = f"import time; began = time.perf_counter()\n{statement}\nprint(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
