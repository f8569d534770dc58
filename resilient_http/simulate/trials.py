"""Trials: what an upstream does when its nodes fail, found out by having them fail, on the virtual clock.

Calls come at a steady rate, and every node answers in 20 ms; when enough is known of them all, nodes fail.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from resilient_http.call import Attempt
from resilient_http.errors import DeadlineExceeded, Refused
from resilient_http.ports.simulated import SimulatedFailure, SimulatedReply
from resilient_http.settings.models import UpstreamSettings
from resilient_http.simulate.world import World, simulable, within_limits
from resilient_http.state.circuit import Circuit
from resilient_http.state.outcome import Fault
from resilient_http.state.retry_budget import RetryBudget
from resilient_http.upstreams.nodes import circuit_rules
from resilient_http.upstreams.upstream import Upstream

USUAL = 0.02  # seconds of an answer
KNOWN, KNOWN_FOR = 3000, 30.0  # calls, or seconds, after which nodes fail
HORIZON, MOST = 60.0, 10_000  # seconds, or calls, for which it is then looked on
SEED = 1
REFUSES: tuple[float, Fault] = (0.001, Fault.UNREACHABLE)
HANGS: tuple[float, Fault] = (1e9, Fault.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The first call that is refused.

    Attributes:
        after: Seconds from the moment at which nodes failed.
        why: Name of the exception: CircuitOpen, Saturated or RateLimited.
    """

    after: float
    why: str


class Trial:
    """One run.

    Args:
        name: The upstream's.
        settings: Its settings.
        rate: Calls a second.
        failing: Positions of the nodes that fail.
        fate: What becomes of requests to them then.
    """

    def __init__(
        self, name: str, settings: UpstreamSettings, rate: float, failing: Collection[int], fate: tuple[float, Fault]
    ) -> None:
        own, _ = simulable(settings)
        self._rate = rate
        self._failing = {own.endpoints[place].url for place in failing}
        self._fate = fate
        self._fails_at = min(KNOWN_FOR, KNOWN / rate)
        self._world = World(name, own, self._respond, seed=SEED)
        self._upstream: Upstream = self._world.upstreams[0]
        self._refusal: Refusal | None = None
        self._lost = 0

    @property
    def lasts(self) -> float:
        """Seconds for which it is looked on."""
        return min(HORIZON, MOST / self._rate)

    def until_open(self) -> tuple[float | None, int]:
        """Seconds until the circuits of all that fail have opened, or None, and the requests they got till then."""
        circuits = [each.circuit for each in self._upstream.endpoints.members if each.url in self._failing]
        after = self._watched(lambda: all(circuit is not None and not circuit.closed for circuit in circuits))
        return after, self._lost

    def until_refused(self) -> Refusal | None:
        """The first call that is refused; None when none was."""
        self._watched(lambda: self._refusal is not None)
        return self._refusal

    def _watched(self, over: Callable[[], bool]) -> float | None:
        """Seconds until it is over, to one call."""
        port, number, at = self._world.port, 0, 0.0
        while at < self._fails_at + self.lasts:
            at = number / self._rate
            port.run(until=at)
            if at > self._fails_at and over():
                return round(at - self._fails_at, 6)
            port.start(self._call(), at=at)
            number += 1
        return None

    def _respond(self, attempt: Attempt, now: float) -> tuple[float, SimulatedReply | Fault]:
        failing = now >= self._fails_at and attempt.chosen.url in self._failing
        self._lost += failing
        return within_limits(attempt, *(self._fate if failing else (USUAL, SimulatedReply())))

    async def _call(self) -> None:
        port = self._world.port
        try:
            await self._upstream.pipeline.run(self._world.open_call(self._upstream))
        except Refused as exc:
            if self._refusal is None and port.now() >= self._fails_at:
                self._refusal = Refusal(round(port.now() - self._fails_at, 6), type(exc).__name__)
        except (DeadlineExceeded, SimulatedFailure):
            pass


class Drawn(random.Random):
    """Draws the same share of every range.

    Args:
        share: 0 for the least of it, 1 for the most.
    """

    def __init__(self, share: float) -> None:
        super().__init__(0)
        self._share = share

    def random(self) -> float:
        """The share."""
        return self._share


def rests(settings: UpstreamSettings, share: float, *, most: int = 32) -> list[float]:
    """Seconds that a circuit rests the first time, and after each probe that fails, until they grow no more.

    Args:
        settings: The upstream's.
        share: Of the range of its jitter: 0 for the least, 1 for the most.
        most: How many times it is looked at.
    """
    if settings.circuit is None:
        return []
    now = 0.0
    found: list[float] = []
    circuit = Circuit(rules=circuit_rules(settings.circuit), rng=Drawn(share), clock=lambda: now)
    circuit.open()
    while len(found) < most and (len(found) < 2 or found[-1] > found[-2]):
        found.append(circuit.retry_in(now) or 0.0)
        now += found[-1]
        permit = circuit.acquire(now)
        if permit is None:
            break
        circuit.open()  # as after a probe that failed
    return found[:-1] if len(found) > 1 and found[-1] == found[-2] else found


def repeats(settings: UpstreamSettings, rate: float, most: int) -> float:
    """Repeats a second that the retry budget lets through when all calls fail.

    Args:
        settings: The upstream's.
        rate: Calls a second.
        most: Repeats that one call would make.
    """
    retry = settings.retry
    if retry is None or retry.budget is None:
        return rate * most
    budget, calls = RetryBudget(retry.budget.ratio, retry.budget.floor), math.ceil(min(60.0 * rate, 2.0 * MOST))
    allowed = counted = 0
    for number in range(calls):
        now = number / rate
        budget.deposit(now)
        granted = 0
        while granted < most and budget.withdraw(now):
            granted += 1
        if number >= calls // 2:  # what it had at the beginning is spent
            counted += 1
            allowed += granted
    return rate * allowed / counted if counted else 0.0
