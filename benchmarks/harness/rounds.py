"""Rounds: every contender runs in each, so that a slow moment of the machine slows all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from harness.command import progress, progress_ends

Contender = TypeVar("Contender")
Measured = TypeVar("Measured")


def interleaved(
    contenders: Mapping[str, Contender], rounds: int, run: Callable[[Contender], Measured], *, what: str = ""
) -> dict[str, list[Measured]]:
    """What each contender gave, round by round.

    Args:
        what: Said on stderr before each run; nothing is said where it is empty.
    """
    measured: dict[str, list[Measured]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, contender in contenders.items():
            if what:
                progress(f"round {number + 1} of {rounds}: {what}, {name}")
            measured[name].append(run(contender))
    progress_ends()
    return measured


def microseconds(
    contenders: Mapping[str, Any], rounds: int, calls: int, run: Callable[[Any, int], float]
) -> dict[str, list[float]]:
    """CPU time per call of each contender in each round, after a round that does not count."""
    for contender in contenders.values():
        run(contender, calls)

    def one(contender: Any) -> float:
        gc.collect()
        return run(contender, calls) / calls * 1e6

    return interleaved(contenders, rounds, one)


def run_sync(call: Callable[[], object], calls: int) -> float:
    """CPU seconds of this process for so many calls."""
    started = time.process_time()
    for _ in range(calls):
        call()
    return time.process_time() - started


async def run_async(call: Callable[[], Awaitable[object]], calls: int) -> float:
    """The same in an event loop."""
    started = time.process_time()
    for _ in range(calls):
        await call()
    return time.process_time() - started


def ratio(own: Sequence[float], base: Sequence[float]) -> float | None:
    """Median of how many times the base of the same round it was; None where a base is nothing."""
    return statistics.median(mine / theirs for mine, theirs in zip(own, base, strict=True)) if all(base) else None


def added(own: Sequence[float], base: Sequence[float]) -> float:
    """Median of what is more than the base of the same round."""
    return statistics.median(mine - theirs for mine, theirs in zip(own, base, strict=True))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of values in order: the smallest one that so large a share of them does not exceed."""
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]
