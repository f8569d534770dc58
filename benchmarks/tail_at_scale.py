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

import argparse
import gc
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.simulation.reads import KEYS, SLOWNESS, Law, quantile_of, read, whole

QUANTILE = 0.999


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


def main() -> None:
    parser = argparse.ArgumentParser(description="What hedging is worth for a whole of 1,000 keys.")
    parser.add_argument("--wholes", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="of all randomness (default: 1)")
    options = parser.parse_args()
    found: dict[tuple[str, bool], tuple[float, float]] = {}
    with ProcessPoolExecutor() as pool:
        runs = {
            pool.submit(run, name, options.wholes, hedged=hedged, seed=options.seed): (name, hedged)
            for name in SLOWNESS
            for hedged in (False, True)
        }
        for done in as_completed(runs):
            found[runs[done]] = done.result()
            print(f"{len(found)} of {len(runs)} runs", end="\r", file=sys.stderr, flush=True)

    print(f"{'what is slow':44} {'without':>8} {'with':>8} {'times':>6} {'requests per key':>17}  {'by the law'}")
    for name in SLOWNESS:
        (without, _), (hedged, requests) = found[name, False], found[name, True]
        times = without / hedged
        print(f"{name:44} {without:6.2g} s {hedged:6.2g} s {times:6.1f} {requests:17.3f}  {by_law(name)}")


if __name__ == "__main__":
    main()
