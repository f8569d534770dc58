"""What the compiled build brings: the same calls by the modules as they stand, and compiled.

Each cell is a process of its own, which loads either; rounds are interleaved. The transport answers at once, and what
it takes by itself is taken off: what is left is ours. `make compiled` compiles, `make pure` takes that away again.

    python benchmarks/compiled.py
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from typing import Any

from harness import ROOT
from harness.command import parse, parser
from harness.machine import is_compiled
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import interleaved, ratio, run_async, run_sync

PURE, COMPILED, REFUSED = "as they stand", "compiled", "refused by open circuits"
DOES_NOT_SHOW = (
    "A network: everything here goes over a transport that answers at once. What a request costs is in throughput.",
)
MOST, MOST_REFUSED = 15.0, 25.0  # µs


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rounds", type=int, default=9, help="a process of each in each (default: 9)")
    own.add_argument("--calls", type=int, default=3000, help="of each kind in each process (default: 3000)")
    own.add_argument("--cell", choices=(PURE, COMPILED), help="print the figures of one process, as JSON")
    options = parse(own, {"rounds": 1, "calls": 20})
    if options.cell:
        if options.cell == PURE:
            load_sources()
        print(json.dumps(figures(options.calls)))
        return
    report = Report(
        "compiled",
        "What does the compiled build bring?",
        options,
        method=f"CPU time of {options.calls} calls; medians of {options.rounds} interleaved rounds",
        does_not_show=DOES_NOT_SHOW,
    )
    builds = {PURE: PURE}
    if is_compiled():
        builds[COMPILED] = COMPILED
    else:
        report.left_out(COMPILED, "nothing is compiled here; `make compiled` does that")
    rounds = interleaved(builds, options.rounds, lambda build: cell(build, options.calls), what="a process")
    rows = []
    for kind in rounds[PURE][0]:
        pure, compiled = ([one[kind] for one in rounds.get(build, ())] for build in (PURE, COMPILED))
        share = ratio(compiled, pure) if compiled else None
        rows.append((kind, statistics.median(pure), statistics.median(compiled) if compiled else None, share))
        for build, own in rounds.items():
            added = statistics.median(one[kind] for one in own)
            report.goal(f"{kind}, {build}: µs", added, most=MOST_REFUSED if kind == REFUSED else MOST)
    columns = [(PURE, ".1f"), (COMPILED, ".1f"), ("ratio", ".2f")]
    report.table(Table("µs that we add to a call", columns, rows))
    report.raw = rounds
    report.panels = [Panel("µs that we add to a call", "rounds", "µs", spread(rounds))]
    report.finish()


def spread(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Each kind by each build, round by round."""
    return {
        f"{kind}, {build}": (range(1, len(own) + 1), [one[kind] for one in own])
        for build, own in rounds.items()
        for kind in own[0]
        if "listener" not in kind
    }


def load_sources() -> None:
    """Have this process load the modules of resilient_http from their sources, compiled or not."""
    house, sources = str(ROOT / "resilient_http"), FileFinder.path_hook((SourceFileLoader, SOURCE_SUFFIXES))

    def hook(path: str) -> Any:
        if not path.startswith(house):
            raise ImportError
        return sources(path)

    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()


def cell(build: str, calls: int) -> dict[str, float]:
    """The figures of one process."""
    command = [sys.executable, __file__, "--cell", build, "--calls", str(calls)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)


def figures(calls: int) -> dict[str, float]:
    """Microseconds of CPU that we add to a call of each kind, in this process."""
    from overhead import SETTINGS, AsyncNull, Null  # not before it is known which build is loaded
    from pipeline import REQUEST

    from resilient_http import CircuitOpen, Resilience

    def heard(_: object) -> None:
        pass

    alone, listened, refusing = Resilience(SETTINGS), Resilience(SETTINGS, listeners=[heard]), Resilience(SETTINGS)
    for circuit in refusing.circuits("payments").values():
        circuit.force_open()
    refused = refusing.transport(Null())
    sync = {
        "sync": alone.transport(Null()).handle_request,
        "sync, with a listener": listened.transport(Null()).handle_request,
    }
    in_loop = {
        "asyncio": alone.async_transport(AsyncNull()).handle_async_request,
        "asyncio, with a listener": listened.async_transport(AsyncNull()).handle_async_request,
    }

    def refusal() -> None:
        with suppress(CircuitOpen):
            refused.handle_request(REQUEST)

    def median(run: Callable[[], float]) -> float:
        gc.collect()
        return statistics.median(run() for _ in range(5)) / (calls // 5) * 1e6

    null, async_null = Null().handle_request, AsyncNull().handle_async_request
    with asyncio.Runner() as runner:
        base = median(lambda: run_sync(lambda: null(REQUEST), calls // 5))
        async_base = median(lambda: runner.run(run_async(lambda: async_null(REQUEST), calls // 5)))
        found = {
            kind: median(lambda send=send: run_sync(lambda: send(REQUEST), calls // 5)) - base
            for kind, send in sync.items()
        }
        found |= {
            kind: median(lambda send=send: runner.run(run_async(lambda: send(REQUEST), calls // 5))) - async_base
            for kind, send in in_loop.items()
        }
    return found | {REFUSED: median(lambda: run_sync(refusal, calls // 5))}


if __name__ == "__main__":
    main()
