"""What hedging is worth where a whole takes as long as the slowest of its 1,000 keys.

The experiment of The Tail at Scale (J. Dean, L. A. Barroso, 2013), through the real policies on the virtual clock:
1,000 keys from 100 servers, a hedge after 10 ms, and the 99.9th percentile of 1,000 wholes, which is the slowest but
one. The servers' latencies are stated in tests/simulation/reads.py. Where each request is slow or not by itself, what
follows from the law for a hedge that is always sent is shown beside it.

It needs no server, comes out alike each time, and takes a quarter of an hour on two cores.

    python benchmarks/tail_at_scale.py
    python benchmarks/tail_at_scale.py --wholes 100      sooner; the quantile is then the slowest of all
"""

from __future__ import annotations

import gc
from concurrent.futures import ProcessPoolExecutor, as_completed

from harness.command import parse, parser, progress
from harness.picture import Panel
from harness.report import Report, Table

from tests.simulation.reads import KEYS, SLOWNESS, Law, quantile_of, read, whole

QUANTILE, WHOLES = 0.999, 1000
DOES_NOT_SHOW = (
    "Real nodes, sockets or processors: it is a simulation, of the real policies. tail.py has real nodes.",
    "What second requests do to servers that are full: these bear any number at once.",
)


def run(name: str, wholes: int, *, hedged: bool, seed: int) -> tuple[float, float]:
    """The quantile of a whole in seconds, and requests per key."""
    took, sent = [], 0
    gc.disable()  # it would look through all that is under way again and again, for half of the time
    for made in read(SLOWNESS[name](), wholes=wholes, hedged=hedged, seed=seed):
        took.append(max(one.took for one in made))
        sent += sum(one.journal.sent for one in made)
        if len(took) % 20 == 0:
            gc.collect()
    return quantile_of(took, QUANTILE), sent / (wholes * KEYS)


def by_law(name: str) -> str:
    law = SLOWNESS[name]()
    if not isinstance(law, Law):
        return ""
    return f"{whole(law.slower, QUANTILE):.2g} s, {whole(law.slower_hedged, QUANTILE):.2g} s"


def measured(wholes: int, seed: int) -> dict[tuple[str, bool], tuple[float, float]]:
    """What is slow, and whether it was hedged, to the quantile and the requests per key."""
    found = {}
    with ProcessPoolExecutor() as pool:
        runs = {
            pool.submit(run, name, wholes, hedged=hedged, seed=seed): (name, hedged)
            for name in SLOWNESS
            for hedged in (False, True)
        }
        for done in as_completed(runs):
            found[runs[done]] = done.result()
            progress(f"{len(found)} of {len(runs)} runs")
    return found


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--wholes", type=int, default=WHOLES, help=f"how many (default: {WHOLES})")
    own.add_argument("--seed", type=int, default=1, help="of all randomness (default: 1)")
    options = parse(own, {"wholes": 1})
    report = Report(
        "tail_at_scale",
        "What is hedging worth where a whole takes as long as the slowest of its 1,000 keys?",
        options,
        method=f"on the virtual clock, {options.wholes} wholes, the {QUANTILE:.1%} quantile; alike on every machine",
        does_not_show=DOES_NOT_SHOW,
        partial=options.wholes != WHOLES,
    )
    found = measured(options.wholes, options.seed)
    rows = []
    for name in SLOWNESS:
        (without, _), (hedged, requests) = found[name, False], found[name, True]
        rows.append((name, without, hedged, without / hedged, requests, by_law(name)))
    columns = [
        ("without, s", ".2g"),
        ("with, s", ".2g"),
        ("times", ".1f"),
        ("requests per key", ".3f"),
        ("by the law", ""),
    ]
    report.table(Table("what is slow", columns, rows))
    series = {
        told: ([found[name, hedged][0] for name in SLOWNESS], range(len(SLOWNESS)))
        for told, hedged in (("without", False), ("with a hedge", True))
    }
    report.panels = [Panel("a whole", "seconds", "", series, log_x=True, names=list(SLOWNESS), bars=False)]
    report.finish()


if __name__ == "__main__":
    main()
