"""Growth: what a process holds, looked at again and again, and whether there comes to be more of it.

Of the samples after the warm-up, the median of the last third is compared with the median of the first third. What
holds more than that and a tolerance has grown. Tolerances are a share and an amount:

    resident memory      10 % and 8 MB (the allocator keeps what it once had, and fills its gaps slowly)
    allocated blocks     2 % and 2,000 (Python's own, of which strings and numbers are some that no collector sees)
    open sockets         10 % and 5
    threads, tasks       2 of each
    objects in all       2 % and 500
    objects of a type    5 % and 50 (of types that come to have 100)

At a hundred calls a second, a minute finds an object that one call in thirty leaves behind, and thirty minutes one that
one call in a thousand does.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import statistics
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEGABYTE = 1_000_000
TOLERANCES = {
    "memory, MB": (0.1, 8.0),
    "blocks": (0.02, 2000.0),
    "sockets": (0.1, 5.0),
    "threads": (0.0, 2.0),
    "tasks": (0.0, 2.0),
    "objects": (0.02, 500.0),
}
OF_A_TYPE = (0.05, 50.0)
FEW, KEPT = 100, 20


@dataclass(frozen=True)
class Compared:
    """One thing in the first and in the last third."""

    what: str
    first: float
    last: float
    allowed: float

    @property
    def grown(self) -> bool:
        return self.last > self.allowed


def sample() -> dict[str, float]:
    """What this process holds now."""
    gc.collect()
    _give_back()
    blocks = sys.getallocatedblocks()
    types = Counter(type(thing) for thing in gc.get_objects())
    return {
        "memory, MB": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE,
        "blocks": blocks,
        "sockets": sum(_is_socket(entry) for entry in list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "objects": sum(types.values()),
        **{f"{kind.__module__}.{kind.__qualname__}": count for kind, count in types.items() if count >= KEPT},
    }


def _give_back() -> None:
    """Have the C library return what it does not need, where it is one that can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _is_socket(entry: Path) -> bool:
    try:
        return str(entry.readlink()).startswith("socket:")
    except OSError:
        # The directory was open while it was listed.
        return False


class Samples:
    """Samples in a file, so that to keep them takes no memory of the process."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def take(self, **more: float) -> dict[str, float]:
        taken = {**more, **sample()}
        with self._file.open("a") as file:
            file.write(json.dumps(taken) + "\n")
        return taken

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file.read_text().splitlines()]


def compared(samples: Sequence[dict[str, float]], about: Sequence[str]) -> list[Compared]:
    """Everything that was sampled, in order of its growth beyond what is allowed.

    Args:
        samples: After the warm-up.
        about: Keys that say something about the sample, and are nothing that it holds.
    """
    third = max(1, len(samples) // 3)
    names = dict.fromkeys(name for one in samples for name in one if name not in about)
    found = []
    for name in names:
        first, last = (_median(part, name) for part in (samples[:third], samples[-third:]))
        if name not in TOLERANCES and max(first, last) < FEW:
            continue
        share, amount = TOLERANCES.get(name, OF_A_TYPE)
        found.append(Compared(name, first, last, first * (1 + share) + amount))
    return sorted(found, key=lambda one: one.allowed - one.last)


def _median(samples: Sequence[dict[str, float]], name: str) -> float:
    return statistics.median(one.get(name, 0.0) for one in samples)
